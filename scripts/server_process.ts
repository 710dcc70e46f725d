/** Database servers of our own, on free ports of this host. They end with the process that started them. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

/** The way to run a server. */
export interface ServerProgram {
  /** Its program. */
  readonly command: string;
  /** Returns its arguments. Its files go into `folder`, which is removed with the server. */
  readonly args: (port: number, folder: string) => readonly string[];
  /** Printed when it accepts connections. */
  readonly ready: RegExp;
  /** Printed before it ends because the port, or another resource that will be free again, is taken. */
  readonly taken: RegExp;
  /** The package to install if the command is missing. */
  readonly wanted: string;
  /** Asks it to end soon, whatever its clients do. */
  readonly stopSignal: NodeJS.Signals;
  /** User and group that it runs as. @default those of this process */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** Prepares the folder before the first start. */
  readonly prepare?: (folder: string) => Promise<void>;
}

/** A server that can be stopped, paused and started again. */
export interface ServerProcess {
  readonly port: number;
  /** Stops it as an administrator does, or by another signal. Its files stay. */
  readonly stop: (signal?: "SIGKILL") => Promise<void>;
  /** Starts it again on the same port with the same files. */
  readonly start: () => Promise<void>;
  /** Sends it a signal. */
  readonly signal: (name: NodeJS.Signals) => void;
  /** Kills it and removes its files. */
  readonly remove: () => Promise<void>;
}

/**
 * Starts a server and waits until it accepts connections.
 *
 * @throws {Error} if there is no such program, or it ends
 */
export async function startServer(program: ServerProgram): Promise<ServerProcess> {
  const { command, args, ready, taken, wanted, stopSignal, user = {}, prepare } = program;
  const folder = mkdtempSync(join(tmpdir(), `onappupdate-${command.split("/").at(-1)}-`));
  let port = await freePort();
  let server: ChildProcess;
  let guard: ChildProcess | undefined;
  let ended: Promise<unknown> = Promise.resolve();

  /** Returns false if another process has taken the port. */
  async function tryStart(): Promise<boolean> {
    server = spawn(command, args(port, folder), { stdio: ["ignore", "pipe", "pipe"], cwd: folder, ...user });
    let log = "";
    const isUp = await new Promise<boolean>((resolve, reject) => {
      server.on("error", (error) => reject(new Error(`cannot start ${command}, wanted ${wanted}: ${error.message}`)));
      ended = new Promise((resolve) => server.on("close", resolve));
      server.on("close", (code) => {
        if (taken.test(log)) resolve(false);
        else reject(new Error(`${command} ended with exit code ${code}:\n${log}`));
      });
      for (const stream of [server.stdout!, server.stderr!]) {
        stream.on("data", (text) => {
          log += text;
          if (ready.test(log)) resolve(true);
        });
      }
    });
    if (!isUp) return false;
    // Kills the server and removes its files if this process ends without a line to the guard. It works in the background
    // of its shell, because Deno kills its own children when it ends.
    const script =
      `exec 3<&0; (read -r line <&3 || { kill -9 ${server.pid}; rm -rf "$0" || { sleep 1; rm -rf "$0"; }; }) & wait`;
    guard = spawn("sh", ["-c", script, folder], { stdio: ["pipe", "ignore", "ignore"] });
    guard.stdin!.on("error", () => {});
    return true;
  }

  async function start(): Promise<void> {
    for (let tries = 0; !await tryStart(); tries++) {
      if (tries === 100) throw new Error(`cannot start ${command}: port ${port} is taken`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async function stop(signal: NodeJS.Signals = stopSignal): Promise<void> {
    if (server.exitCode === null && server.signalCode === null) process.kill(server.pid!, signal);
    await ended;
    guard?.stdin?.end("\n");
  }

  try {
    await prepare?.(folder);
    // Another process may have taken the port since it was free.
    for (let tries = 0; !await tryStart(); tries++) {
      if (tries === 100) throw new Error(`cannot start ${command}: 100 ports that were free are taken`);
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
    signal: (name) => void process.kill(server.pid!, name),
    remove: async () => {
      await stop("SIGKILL");
      // Its children may still write for a moment.
      rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
    },
  };
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
