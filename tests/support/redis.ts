/** Real Redis servers on this host, alone or as a cluster, and a proxy that hurts what passes. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { Cluster, Redis } from "ioredis";
import { createClient, createCluster } from "redis";
import type { IoredisClient, NodeRedisClient } from "@b24/onappupdate/redis-storage";
import { until } from "./until.ts";

export type RedisLibrary = "node-redis" | "ioredis";

export interface OpenClient {
  readonly client: NodeRedisClient | IoredisClient;
  readonly close: () => void;
}

/** A client of `library` for the server at a port, or for a cluster with nodes at several ports; as its users make it. */
export async function connectRedis(library: RedisLibrary, ports: readonly number[]): Promise<OpenClient> {
  const nodes = ports.map((port) => ({ host: "127.0.0.1", port }));
  // Both report lost connections here, which the tests cause.
  const ignore = (): void => {};
  if (library === "ioredis") {
    const client = nodes.length === 1 ? new Redis(nodes[0]!) : new Cluster(nodes);
    client.on("error", ignore);
    return { client, close: () => client.disconnect() };
  }
  const client = nodes.length === 1
    ? createClient({ socket: nodes[0]! })
    : createCluster({ rootNodes: nodes.map((socket) => ({ socket })) });
  client.on("error", ignore);
  await client.connect();
  return { client, close: () => client.destroy() };
}

export interface RedisServer {
  readonly port: number;
  /** Ends it, as its administrator would, or by another signal; what was written stays. */
  readonly stop: (signal?: "SIGKILL") => Promise<void>;
  /** Starts it again, on its port, with what was written. */
  readonly start: () => Promise<void>;
  /** Has it hang: connections stay, and nothing is answered until `resume`. */
  readonly pause: () => void;
  readonly resume: () => void;
  /** Sends a command, on a connection of its own, and gives the reply. */
  readonly command: <R = string>(name: string, ...args: readonly string[]) => Promise<R>;
  /** Ends it and removes its files. */
  readonly remove: () => Promise<void>;
}

/** A server with nothing in it, once it answers. Each write is on its disk before it is acknowledged. */
export async function startRedis(...args: readonly string[]): Promise<RedisServer> {
  const folder = mkdtempSync(join(tmpdir(), "onappupdate-redis-"));
  const port = await freePort();
  const options = [
    ...["--port", String(port), "--bind", "127.0.0.1", "--dir", folder],
    ...["--save", "", "--appendonly", "yes", "--appendfsync", "always", ...args],
  ];
  let server: ChildProcess;
  let guard: ChildProcess | undefined;
  let ended: Promise<unknown> = Promise.resolve();

  /** Whether it runs: somebody who looks for a free port may have this one just now. */
  async function begin(): Promise<boolean> {
    server = spawn("redis-server", options, { stdio: ["ignore", "pipe", "ignore"] });
    let log = "";
    const isUp = await new Promise<boolean>((resolve, reject) => {
      server.on("error", (error) => {
        const reason = "cannot start redis-server, wanted Redis 5 or later on the PATH (apt-get install redis-server)";
        reject(new Error(`${reason}: ${error.message}`));
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
    // Ends the server and removes its files when this process is gone without a line to it. In the background of its shell,
    // as Deno takes its own children along when it ends.
    const script = `exec 3<&0; (read -r line <&3 || { kill -9 ${server.pid}; rm -rf "$0"; }) & wait`;
    guard = spawn("sh", ["-c", script, folder], { stdio: ["pipe", "ignore", "ignore"] });
    guard.stdin!.on("error", () => {});
    return true;
  }

  const start = (): Promise<void> => until(`redis-server gets port ${port}`, begin);

  async function stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    if (server.exitCode === null && server.signalCode === null) process.kill(server.pid!, signal);
    await ended;
    guard?.stdin?.end("\n");
  }

  try {
    await start();
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
    command: async <R>(name: string, ...args: readonly string[]) => {
      const connection = new Redis(port, "127.0.0.1", { retryStrategy: null });
      try {
        return await connection.call(name, ...args) as R;
      } finally {
        connection.disconnect();
      }
    },
    remove: async () => {
      await stop("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export interface RedisCluster {
  readonly ports: readonly number[];
  readonly nodes: readonly RedisServer[];
  /** Ends all nodes and removes their files. */
  readonly remove: () => Promise<void>;
}

/** Three masters that share the slots. */
export async function startCluster(): Promise<RedisCluster> {
  const nodes: RedisServer[] = [];
  const remove = async (): Promise<void> => void await Promise.all(nodes.map((node) => node.remove()));
  try {
    const buses: number[] = [];
    for (const [i, slots] of [["0", "5460"], ["5461", "10922"], ["10923", "16383"]].entries()) {
      buses.push(await freePort());
      // Without --appendonly, so that a slow disk does not look like a node that is gone.
      const node = await startRedis(
        ...["--cluster-enabled", "yes", "--cluster-port", String(buses[i]), "--cluster-announce-ip", "127.0.0.1"],
        ...["--appendonly", "no", "--cluster-config-file", "nodes.conf"],
      );
      nodes.push(node);
      await node.command("CLUSTER", "ADDSLOTSRANGE", ...slots);
      if (i > 0) await node.command("CLUSTER", "MEET", "127.0.0.1", String(nodes[0]!.port), String(buses[0]));
    }
    for (const node of nodes) {
      await until("all nodes of the cluster know each other", async () => {
        const info = await node.command("CLUSTER", "INFO");
        return /cluster_state:ok/.test(info) && /cluster_known_nodes:3/.test(info);
      });
    }
  } catch (error) {
    await remove();
    throw error;
  }
  return { nodes, ports: nodes.map(({ port }) => port), remove };
}

export interface RedisProxy {
  readonly port: number;
  /** Holds every reply back for so long, in milliseconds. */
  readonly delay: (ms: number) => void;
  /** The next write is done, and instead of its reply the connection ends. `meanwhile` is awaited before it ends. */
  readonly loseReply: (meanwhile?: () => unknown) => void;
  /** Ends all connections and takes no new ones. */
  readonly stop: () => Promise<void>;
  /** Takes connections again. */
  readonly start: () => Promise<void>;
  /** What the client has sent. */
  readonly sent: () => string;
}

/** Between a client and the server at `target`. */
export async function startProxy(target: number): Promise<RedisProxy> {
  const port = await freePort();
  const sockets = new Set<Socket>();
  let delayMs = 0;
  let lose: { readonly meanwhile: () => unknown } | undefined;
  let sent = "";
  const server = createServer((client) => {
    const upstream = connect(target, "127.0.0.1");
    for (const [socket, other] of [[client, upstream], [upstream, client]] as const) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.on("data", (data) => {
      sent += data.toString("latin1");
      upstream.write(data);
    });
    upstream.on("data", async (data) => {
      // Of all that the storage and the clients ask for, only its writes are answered by a number.
      if (lose !== undefined && data[0] === ":".charCodeAt(0)) {
        const { meanwhile } = lose;
        lose = undefined;
        await meanwhile();
        return void client.destroy();
      }
      if (delayMs === 0) return void client.write(data);
      setTimeout(() => client.destroyed || client.write(data), delayMs);
    });
  });
  const start = async (): Promise<void> => {
    if (server.listening) return;
    await until(`the proxy gets port ${port}`, () => listens(server, port));
  };
  await start();
  return {
    port,
    start,
    stop: async () => {
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
    delay: (ms) => void (delayMs = ms),
    loseReply: (meanwhile = () => {}) => void (lose = { meanwhile }),
    sent: () => sent,
  };
}

/**
 * Below those that the system gives to connections: they could take the port of a server that is started again. By chance,
 * as test files that run at once in one process must not all choose the same.
 */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const server = createServer();
    if (!await listens(server, port)) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}

/** Has a server listen; resolves to whether nobody else does. */
async function listens(server: Server, port: number): Promise<boolean> {
  server.listen(port, "127.0.0.1");
  return await once(server, "listening").then(() => true, ({ code }) => {
    if (code === "EADDRINUSE") return false;
    throw new Error(`cannot listen on port ${port}: ${code}`);
  });
}
