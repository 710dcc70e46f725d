/** Clients of PostgreSQL, and faults. */
import { Buffer } from "node:buffer";
import pg from "pg";
import postgres from "postgres";
import type { PostgresJsClient, PostgresQueryClient } from "@b24/onappupdate/postgres-storage";
import type { StorageBackend } from "@b24/onappupdate/testing";
import { type Proxy, startProxy } from "./proxy.ts";
import { delay, systemTime } from "../../src/async/time.ts";

export type PostgresLibrary = "pg" | "Postgres.js";

export interface OpenPostgresClient {
  readonly client: PostgresQueryClient | PostgresJsClient;
  readonly close: () => Promise<void>;
}

/** Opens a client of `library` with up to `max` connections. */
export function connectPostgres(library: PostgresLibrary, url: string, max: number = 10): OpenPostgresClient {
  if (library === "Postgres.js") {
    const client = postgres(url, { max, connect_timeout: 2 });
    return { client, close: () => client.end({ timeout: 1 }) };
  }
  const client = new pg.Pool({ connectionString: url, max, connectionTimeoutMillis: 2000 });
  // It reports here the connections that the tests break.
  client.on("error", () => {});
  return { client, close: () => client.end() };
}

/**
 * Closes a PGlite database at the end of a file. It blocks the event loop, so Node's reporter is behind: without a pause the
 * forced exit of `node --test` would cut off the results of the last tests.
 */
export async function closeDatabase(database: { readonly close: () => Promise<void> }): Promise<void> {
  await database.close();
  await delay(systemTime, 500);
}

/** Starts a proxy between clients and the server at the port `target`. */
export async function startPostgresProxy(target: number): Promise<Proxy> {
  // The storage's writes are CommandComplete messages of these commands, or `write`, which selects whether it was applied.
  const written = /C\0\0\0[\s\S](INSERT|UPDATE|DELETE) |applied/;
  return await startProxy(target, (data) => written.test(Buffer.from(data).toString("latin1")));
}

/** A client that behaves as `query` does, and calls of it. */
export interface FaultyClient extends PostgresQueryClient {
  /** Statements in order. */
  readonly statements: string[];
}

/** Faults of a client. They may change while it is used. */
export interface ClientFaults {
  /** Runs before a statement. May throw, or delay it. */
  before?: ((text: string) => unknown) | undefined;
  /** Runs after a statement. May throw: the reply is lost then. */
  after?: ((text: string) => unknown) | undefined;
}

/** Returns `client` with `faults`. */
export function faultyClient(client: PostgresQueryClient, faults: ClientFaults): FaultyClient {
  const statements: string[] = [];
  return {
    statements,
    query: async (text, values) => {
      statements.push(text);
      await faults.before?.(text);
      const result = await client.query(text, values);
      await faults.after?.(text);
      return result;
    },
  };
}

/** Whether a statement writes entries. */
export const isWrite = (text: string): boolean => /\b(INSERT|UPDATE \S+ SET|DELETE)\b/.test(text);

/** Returns an error as `pg` throws it: one of the server if `code` is an SQLSTATE, otherwise one of the connection. */
export function clientError(message: string, code?: string): Error {
  return Object.assign(new Error(message), code === undefined ? {} : { code });
}

/** Returns the backend of the conformance suite, which sets `faults` of a client. */
export function faultyBackend(faults: ClientFaults): Required<Omit<StorageBackend, "fill" | "drain">> {
  const before = (run: ClientFaults["before"]) => (): Promise<void> => {
    faults.before = run;
    return Promise.resolve();
  };
  return {
    stop: before(() => {
      throw clientError("connect ECONNREFUSED 127.0.0.1:5432", "ECONNREFUSED");
    }),
    start: before(undefined),
    delay: (ms) => before(() => new Promise((resolve) => setTimeout(resolve, ms)))(),
    loseReply: () => {
      faults.after = (text) => {
        if (!isWrite(text)) return;
        faults.after = undefined;
        throw clientError("Connection terminated unexpectedly");
      };
      return Promise.resolve();
    },
  };
}

/** Returns functions that make the server reject all writes to a table as a full disk does, and end that. */
export function fullDisk(
  exec: (sql: string) => Promise<unknown>,
  table: string,
): Required<Pick<StorageBackend, "fill" | "drain">> {
  return {
    fill: async () => {
      await exec(`CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$`);
      await exec(`CREATE OR REPLACE TRIGGER full_disk BEFORE INSERT OR UPDATE ON ${table}
        FOR EACH ROW EXECUTE FUNCTION refuse()`);
    },
    drain: async () => void await exec(`DROP TRIGGER IF EXISTS full_disk ON ${table}`),
  };
}
