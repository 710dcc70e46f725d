/** Redis servers of our own, on free ports of this host. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { Redis } from "ioredis";

/** A server that can be stopped, paused and started again. */
export interface RedisServer {
  readonly port: number;
  /** Stops it by SIGTERM, as an administrator does, or by another signal. Its files stay. */
  readonly stop: (signal?: "SIGKILL") => Promise<void>;
  /** Starts it again on the same port with the same files. */
  readonly start: () => Promise<void>;
  /** Pauses the process: connections stay open, and nothing is answered until `resume`. */
  readonly pause: () => void;
  readonly resume: () => void;
  /** Sends a command on a connection of its own and returns the reply. */
  readonly command: <R = string>(name: string, ...args: readonly string[]) => Promise<R>;
  /** Kills it and removes its files. */
  readonly remove: () => Promise<void>;
}

/**
 * Starts an empty server and waits until it answers. Each write is on disk before it is acknowledged, unless `args`, which
 * are arguments of `redis-server`, say otherwise.
 *
 * @throws {Error} if there is no redis-server, or it ends
 */
export async function startRedis(...args: readonly string[]): Promise<RedisServer> {
  const folder = mkdtempSync(join(tmpdir(), "onappupdate-redis-"));
  let port = await freePort();
  const options = (): string[] => [
    ...["--port", String(port), "--bind", "127.0.0.1", "--dir", folder],
    ...["--save", "", "--appendonly", "yes", "--appendfsync", "always", ...args],
  ];
  let server: ChildProcess;
  let guard: ChildProcess | undefined;
  let ended: Promise<unknown> = Promise.resolve();

  /** Returns false if another process has taken the port. */
  async function tryStart(): Promise<boolean> {
    server = spawn("redis-server", options(), { stdio: ["ignore", "pipe", "ignore"] });
    let log = "";
    const isUp = await new Promise<boolean>((resolve, reject) => {
      server.on("error", (error) => {
        const wanted = "wanted version 6.2 or later on the PATH (apt-get install redis-server, brew install redis)";
        reject(new Error(`cannot start redis-server, ${wanted}: ${error.message}`));
      });
      ended = new Promise((resolve) => server.on("close", resolve));
      server.on("close", (code) => {
        if (/Address already in use/.test(log)) resolve(false);
        else reject(new Error(`redis-server ended with exit code ${code}:\n${log}`));
      });
      server.stdout!.on("data", (text) => {
        log += text;
        if (/Ready to accept connections/.test(log)) resolve(true);
      });
    });
    if (!isUp) return false;
    // Kills the server and removes its files if this process ends without a line to the guard. It works in the background
    // of its shell, because Deno kills its own children when it ends.
    const script = `exec 3<&0; (read -r line <&3 || { kill -9 ${server.pid}; rm -rf "$0"; }) & wait`;
    guard = spawn("sh", ["-c", script, folder], { stdio: ["pipe", "ignore", "ignore"] });
    guard.stdin!.on("error", () => {});
    return true;
  }

  async function start(): Promise<void> {
    for (let tries = 0; !await tryStart(); tries++) {
      if (tries === 100) throw new Error(`cannot start redis-server: port ${port} is taken`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async function stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    if (server.exitCode === null && server.signalCode === null) process.kill(server.pid!, signal);
    await ended;
    guard?.stdin?.end("\n");
  }

  try {
    // Another process may have taken the port since it was free.
    for (let tries = 0; !await tryStart(); tries++) {
      if (tries === 100) throw new Error("cannot start redis-server: 100 ports that were free are taken");
      port = await freePort();
    }
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  return {
    port,
    start,
    stop,
    pause: () => void process.kill(server.pid!, "SIGSTOP"),
    resume: () => void process.kill(server.pid!, "SIGCONT"),
    command: (name, ...args) => sendCommand(port, name, ...args),
    remove: async () => {
      await stop("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Sends one command to the server at `port`, on a connection of its own, and returns the reply. */
export async function sendCommand<R = string>(port: number, name: string, ...args: readonly string[]): Promise<R> {
  const connection = new Redis(port, "127.0.0.1", { retryStrategy: null });
  try {
    return await connection.call(name, ...args) as R;
  } finally {
    connection.disconnect();
  }
}

/**
 * Returns a free port below those that the system assigns to connections, which could take the port of a server that is
 * started again. The port 10,000 above it, where a node of a cluster listens as well, is free, too. It is random, so that
 * test files that run at once do not all choose the same.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 10_000);
    if (await isFree(port) && await isFree(port + 10_000)) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  if (!await listens(server, port)) return false;
  server.close();
  await once(server, "close");
  return true;
}

/** Makes a server listen on a port; returns false if the port is taken. */
export async function listens(server: Server, port: number): Promise<boolean> {
  server.listen(port, "127.0.0.1");
  return await once(server, "listening").then(() => true, ({ code }) => {
    if (code === "EADDRINUSE") return false;
    throw new Error(`cannot listen on port ${port}: ${code}`);
  });
}
