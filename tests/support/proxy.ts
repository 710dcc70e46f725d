/** A proxy that injects faults between a client and its server. */
import type { Buffer } from "node:buffer";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { freePort, listens } from "../../scripts/server_process.ts";
import { until } from "./until.ts";

export interface Proxy {
  readonly port: number;
  /** Delays every reply by `ms` milliseconds. */
  readonly delay: (ms: number) => void;
  /** Closes the connection instead of replying to the next write, which is done. Awaits `meanwhile` before it closes it. */
  readonly loseReply: (meanwhile?: () => unknown) => void;
  /** Closes all connections and accepts no new ones. */
  readonly stop: () => Promise<void>;
  /** Accepts connections again. */
  readonly start: () => Promise<void>;
  /** The bytes that the client has sent. */
  readonly sent: () => string;
}

/**
 * Starts a proxy between clients and the server at the port `target`. `isWritten` says whether data of the server is, or
 * contains, the reply to a write.
 */
export async function startProxy(target: number, isWritten: (data: Buffer) => boolean): Promise<Proxy> {
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
      if (lose !== undefined && isWritten(data as Buffer)) {
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
