/** Redis servers of our own. */
import { Redis } from "ioredis";
import { type ServerProcess, startServer } from "./server_process.ts";

/** A server that can be stopped, paused and started again. */
export interface RedisServer extends Omit<ServerProcess, "signal"> {
  /** Pauses the process: connections stay open, and nothing is answered until `resume`. */
  readonly pause: () => void;
  readonly resume: () => void;
  /** Sends a command on a connection of its own and returns the reply. */
  readonly command: <R = string>(name: string, ...args: readonly string[]) => Promise<R>;
}

/**
 * Starts an empty server and waits until it answers. Each write is on disk before it is acknowledged, unless `args`, which
 * are arguments of `redis-server`, say otherwise.
 *
 * @throws {Error} if there is no redis-server, or it ends
 */
export async function startRedis(...args: readonly string[]): Promise<RedisServer> {
  const server = await startServer({
    command: "redis-server",
    args: (port, folder) => [
      ...["--port", String(port), "--bind", "127.0.0.1", "--dir", folder],
      ...["--save", "", "--appendonly", "yes", "--appendfsync", "always", ...args],
    ],
    ready: /Ready to accept connections/,
    taken: /Address already in use/,
    wanted: "version 6.2 or later on the PATH (apt-get install redis-server, brew install redis)",
    stopSignal: "SIGTERM",
  });
  return {
    ...server,
    pause: () => server.signal("SIGSTOP"),
    resume: () => server.signal("SIGCONT"),
    command: (name, ...args) => sendCommand(server.port, name, ...args),
  };
}

/** Sends one command to the server at `port`, on a connection of its own, and returns the reply, however long it takes. */
export async function sendCommand<R = string>(port: number, name: string, ...args: readonly string[]): Promise<R> {
  // By default, the connection fails if other work keeps this process from noticing it for 10 seconds.
  const connection = new Redis(port, "127.0.0.1", { retryStrategy: null, connectTimeout: 0 });
  try {
    return await connection.call(name, ...args) as R;
  } finally {
    connection.disconnect();
  }
}
