/** A custom storage: a table of libSQL, such as Turso's. `docs/writing-a-storage.md` explains it step by step. */
import { assertKey, decodeKey, decodeValue, encodeKey, encodeValue, expiryOf } from "@b24/onappupdate/storage";
import { createBackendCaller } from "@b24/onappupdate/storage";
import type { Entry, Key, ListOptions, Storage } from "@b24/onappupdate/storage";

type Statement = { sql: string; args: (string | number | Uint8Array | null)[] };
/** The part of the client of `@libsql/client` that the storage calls. The caller that opened the client closes it. */
export type LibsqlClient = { execute: (statement: Statement) => Promise<{ rows: unknown[] }> };

/** Run it once, before the app starts: `client.executeMultiple(SCHEMA)`. */
export const SCHEMA = `CREATE TABLE IF NOT EXISTS b24_entries
  (key BLOB PRIMARY KEY, value TEXT NOT NULL, version TEXT NOT NULL, expires_at REAL);
CREATE INDEX IF NOT EXISTS b24_entries_by_expiry ON b24_entries (expires_at) WHERE expires_at IS NOT NULL;`;

const NOW = "CAST(unixepoch('subsec') * 1000 AS INTEGER)"; // one clock for all processes
const LIVE = `(expires_at IS NULL OR expires_at > ${NOW})`;
const GET = `SELECT * FROM b24_entries WHERE key = ?1 AND ${LIVE}`;
const PUT = `INSERT INTO b24_entries VALUES (?1, ?2, ?3, ${NOW} + ?4) ON CONFLICT (key) DO UPDATE
  SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at
  WHERE NOT ?5 OR b24_entries.expires_at <= ${NOW} RETURNING 1`;
const REPLACE = `UPDATE b24_entries SET value = ?2, version = ?3, expires_at = ${NOW} + ?4
  WHERE key = ?1 AND version = ?5 AND ${LIVE} RETURNING 1`;
const DELETE = `DELETE FROM b24_entries WHERE key = ?1 AND (?2 IS NULL OR version = ?2 AND ${LIVE}) RETURNING 1`;
const LIST = `SELECT * FROM b24_entries WHERE key >= ?1 AND key < ?2 AND key > ?3 AND ${LIVE} ORDER BY key LIMIT ?4`;
const SWEEP = `DELETE FROM b24_entries WHERE key IN (SELECT key FROM b24_entries WHERE expires_at <= ${NOW} LIMIT 128)`;
type Row = { key: ArrayBuffer; value: string; version: string; expires_at: number | null };
const decoder = new TextDecoder("utf-8", { ignoreBOM: true }); // keeps a leading U+FEFF

/** Creates the storage. A call takes at most `timeoutMs` milliseconds. */
export function libsqlStorage(client: LibsqlClient, { timeoutMs = 5000 } = {}): Storage {
  let writes = 0;
  const call = createBackendCaller(timeoutMs);
  async function run(
    action: string,
    signal: AbortSignal | undefined,
    sql: string,
    ...args: Statement["args"]
  ): Promise<Row[]> {
    const { rows } = await call(() => `${action} libSQL`, signal, () => client.execute({ sql, args }));
    return rows as Row[];
  }

  return {
    name: "libsql",
    capabilities: { durable: true, scope: "network" },
    get: async <T>(key: Key, { signal }: { readonly signal?: AbortSignal } = {}) => {
      const [row] = await run(`get ${JSON.stringify(key)} from`, signal, GET, toBytes(key));
      return row === undefined ? null : toEntry<T>(row);
    },
    put: async (key, value, { ifVersion, ttlMs, signal } = {}) => {
      const action = `put ${JSON.stringify(key)} into`;
      const version = crypto.randomUUID();
      const row = [toBytes(key), encodeValue(key, value), version, expiryOf(key, 0, ttlMs) ?? null] as const;
      if (++writes % 64 === 0) await run("delete expired entries from", signal, SWEEP);
      try {
        const sql = typeof ifVersion === "string" ? REPLACE : PUT;
        const written = await run(action, signal, sql, ...row, ifVersion ?? Number(ifVersion === null));
        return written.length > 0 ? { ok: true, version } : { ok: false };
      } catch (error) {
        // Only the reply may be lost. The version is unique to this write.
        const [found] = await run(action, signal, GET, row[0]).catch(() => []);
        if (found?.version === version) return { ok: true, version };
        throw error;
      }
    },
    delete: async (key, { ifVersion, signal } = {}) => {
      const deleted = await run(`delete ${JSON.stringify(key)} from`, signal, DELETE, toBytes(key), ifVersion ?? null);
      return { ok: ifVersion === undefined || deleted.length > 0 };
    },
    list: async function* <T>(prefix: readonly string[], options: ListOptions = {}): AsyncGenerator<Entry<T>> {
      const { after, limit = Infinity, signal } = options;
      const from = new TextEncoder().encode(encodeKey(prefix));
      const below = Uint8Array.of(...from.slice(0, -1), prefix.length === 0 ? 0xff : 1);
      let above = after === undefined ? new Uint8Array() : toBytes(after);
      for (let remaining = limit; remaining > 0; remaining -= 64) {
        const size = Math.ceil(Math.min(remaining, 64));
        const rows = await run(`list ${JSON.stringify(prefix)} in`, signal, LIST, from, below, above, size);
        for (const row of rows) {
          yield toEntry<T>(row);
          signal?.throwIfAborted();
        }
        if (rows.length < size) return;
        above = new Uint8Array(rows.at(-1)!.key);
      }
    },
  };
}

function toBytes(key: Key): Uint8Array {
  assertKey(key);
  return new TextEncoder().encode(encodeKey(key));
}

function toEntry<T>({ key: bytes, value, version, expires_at: expiresAt }: Row): Entry<T> {
  const key = decodeKey(decoder.decode(bytes));
  return { key, value: decodeValue("libSQL", key, value), version, ...(expiresAt !== null && { expiresAt }) };
}
