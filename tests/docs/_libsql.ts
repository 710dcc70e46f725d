/**
 * A database of SQLite in the process of the tests, with the interface of libSQL's client, and the way to it for the
 * processes that they start: a statement a line, as JSON, and a reply a line.
 */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { type LibsqlClient, SCHEMA } from "../../examples/_libsql_storage.ts";

/** A database with the table in it. */
export interface Libsql {
  readonly client: LibsqlClient;
  /** Runs statements that return nothing. */
  readonly exec: (sql: string) => void;
  /** The address for other processes. */
  readonly port: number;
  readonly close: () => void;
}

export async function startLibsql(): Promise<Libsql> {
  const database = new DatabaseSync(":memory:");
  database.exec(SCHEMA);
  const client: LibsqlClient = {
    execute: async ({ sql, args }) => {
      // Replies arrive later, as those of a server do.
      await new Promise((resolve) => setTimeout(resolve, 0));
      const rows = database.prepare(sql).all(...args) as Record<string, unknown>[];
      // libSQL's client returns buffers for blobs.
      return {
        rows: rows.map((row) =>
          row["key"] === undefined ? row : { ...row, key: (row["key"] as Uint8Array).slice().buffer }
        ),
      };
    },
  };
  const server = createServer((socket) => {
    // Both are told when the process at the other end was killed.
    const killed = (): void => {};
    createInterface({ input: socket.on("error", killed) }).on("error", killed).on("line", async (line) => {
      const { id, statement } = read(line) as { id: number; statement: Parameters<LibsqlClient["execute"]>[0] };
      const reply = await client.execute(statement).catch(({ message }: Error) => ({ message }));
      socket.write(written({ id, ...reply }));
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    client,
    exec: (sql) => database.exec(sql),
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.close();
      database.close();
    },
  };
}

/** The client of another process. */
export function connectTo(port: number): LibsqlClient & { readonly close: () => void } {
  const socket = connect(port, "127.0.0.1");
  const waiting = new Map<number, (reply: { rows?: unknown[]; message?: string }) => void>();
  createInterface({ input: socket }).on("line", (line) => {
    const reply = read(line) as { id: number; rows?: unknown[]; message?: string };
    waiting.get(reply.id)!(reply);
    waiting.delete(reply.id);
  });
  let id = 0;
  return {
    execute: (statement) =>
      new Promise((resolve, reject) => {
        waiting.set(++id, ({ rows, message }) => rows ? resolve({ rows }) : reject(new Error(message)));
        socket.write(written({ id, statement }));
      }),
    close: () => socket.destroy(),
  };
}

function written(message: unknown): string {
  const text = JSON.stringify(
    message,
    (_, value) => {
      if (value instanceof ArrayBuffer) return { buffer: Buffer.from(value).toString("hex") };
      return value instanceof Uint8Array ? { bytes: Buffer.from(value).toString("hex") } : value;
    },
  );
  return `${text}\n`;
}

function read(line: string): unknown {
  return JSON.parse(
    line,
    (_, value) => {
      if (typeof value?.buffer === "string") return new Uint8Array(Buffer.from(value.buffer, "hex")).buffer;
      return typeof value?.bytes === "string" ? new Uint8Array(Buffer.from(value.bytes, "hex")) : value;
    },
  );
}
