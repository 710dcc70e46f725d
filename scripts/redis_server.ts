/** Redis servers of our own, on free ports of this host. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";

/** A server that runs. */
export interface RedisServer {
  readonly port: number;
  /** Ends it; resolves when it is gone. */
  readonly stop: () => Promise<void>;
}

/**
 * Starts a server that keeps nothing unless `args` say otherwise, with its files in `folder`.
 *
 * @throws {Error} when there is no redis-server, or it ends
 */
export async function startRedis(args: readonly string[] = [], folder: string = tmpdir()): Promise<RedisServer> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  const options = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", ...args];
  const server = spawn("redis-server", options, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(server, "exit");
  await new Promise<void>((resolve, reject) => {
    server.on("error", (cause) => {
      reject(new Error("cannot start redis-server, wanted it on the PATH (apt-get install redis-server)", { cause }));
    });
    server.on("exit", (code) => reject(new Error(`redis-server ended with exit code ${code}`)));
    server.stdout.setEncoding("utf8").on("data", (text: string) => {
      if (text.includes("Ready to accept connections")) resolve();
    });
  });
  return {
    port,
    stop: async () => {
      server.kill("SIGKILL");
      await ended;
    },
  };
}
