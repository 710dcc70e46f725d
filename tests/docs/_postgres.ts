/**
 * PostgreSQL in the process of the tests, and the way to it for the processes that they start: a statement a line, as
 * JSON, and an answer a line.
 */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { PGlite } from "@electric-sql/pglite";
import { type PostgresClient, SCHEMA } from "../../examples/postgres_storage.ts";

/** A database with the table in it. */
export interface Postgres {
  readonly client: PostgresClient;
  /** Runs statements that give nothing. */
  readonly exec: (sql: string) => Promise<unknown>;
  /** Where other processes find it. */
  readonly port: number;
  readonly close: () => Promise<void>;
}

/** Takes a second or two. */
export async function startPostgres(): Promise<Postgres> {
  const postgres = await PGlite.create();
  await postgres.exec(SCHEMA);
  const server = createServer((socket) => {
    // Both are told when the process at the other end was killed.
    const killed = (): void => {};
    createInterface({ input: socket.on("error", killed) }).on("error", killed).on("line", async (line) => {
      const { id, sql, params } = read(line) as { id: number; sql: string; params: unknown[] };
      const answer = await postgres.query(sql, params).then(({ rows }) => ({ rows }), ({ message }) => ({ message }));
      socket.write(written({ id, ...answer }));
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    client: { query: (sql, params) => postgres.query(sql, params) },
    exec: (sql) => postgres.exec(sql),
    port: (server.address() as AddressInfo).port,
    close: async () => {
      server.close();
      await postgres.close();
    },
  };
}

/** The client of another process. */
export function connectTo(port: number): PostgresClient & { readonly close: () => void } {
  const socket = connect(port, "127.0.0.1");
  const waiting = new Map<number, (answer: { rows?: unknown[]; message?: string }) => void>();
  createInterface({ input: socket }).on("line", (line) => {
    const answer = read(line) as { id: number; rows?: unknown[]; message?: string };
    waiting.get(answer.id)!(answer);
    waiting.delete(answer.id);
  });
  let id = 0;
  return {
    query: (sql, params) =>
      new Promise((resolve, reject) => {
        waiting.set(++id, ({ rows, message }) => rows ? resolve({ rows }) : reject(new Error(message)));
        socket.write(written({ id, sql, params }));
      }),
    close: () => socket.destroy(),
  };
}

function written(message: unknown): string {
  const text = JSON.stringify(
    message,
    (_, value) => value instanceof Uint8Array ? { hex: Buffer.from(value).toString("hex") } : value,
  );
  return `${text}\n`;
}

function read(line: string): unknown {
  return JSON.parse(
    line,
    (_, value) => typeof value?.hex === "string" ? new Uint8Array(Buffer.from(value.hex, "hex")) : value,
  );
}
