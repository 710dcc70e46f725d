/** A storage of one's own: a table of PostgreSQL. `docs/writing-a-storage.md` goes through it, step by step. */
import { StorageError } from "@b24/onappupdate/errors";
import { decodeKey, decodeValue, encodeKey, encodeValue, expiryOf } from "@b24/onappupdate/storage";
import type { Entry, Key, ListOptions, Storage } from "@b24/onappupdate/storage";

/** The part of `Pool` of `pg` that the storage calls. The caller that opened the pool closes it. */
export type PostgresClient = { query: (sql: string, params?: unknown[]) => Promise<{ rows: unknown[] }> };

/** To be run once, beforehand. Values are text: jsonb would change them, and refuses U+0000. */
export const SCHEMA = `CREATE TABLE IF NOT EXISTS b24_entries
  (key bytea PRIMARY KEY, value text NOT NULL, version text NOT NULL, expires_at float8);
CREATE INDEX IF NOT EXISTS b24_entries_by_end ON b24_entries (expires_at) WHERE expires_at IS NOT NULL;`;

const NOW = "floor(extract(epoch FROM statement_timestamp()) * 1000)::float8"; // the database's: one for all processes
const LIVE = `(expires_at IS NULL OR expires_at > ${NOW})`;
const GET = `SELECT * FROM b24_entries WHERE key = $1 AND ${LIVE}`;
const PUT = `INSERT INTO b24_entries AS old VALUES ($1, $2, $3, ${NOW} + $4) ON CONFLICT (key) DO UPDATE
  SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at
  WHERE NOT $5::bool OR old.expires_at <= ${NOW} RETURNING 1`;
const REPLACE = `UPDATE b24_entries SET value = $2, version = $3, expires_at = ${NOW} + $4
  WHERE key = $1 AND version = $5 AND ${LIVE} RETURNING 1`;
const DELETE = `DELETE FROM b24_entries WHERE key = $1 AND ($2::text IS NULL OR version = $2 AND ${LIVE}) RETURNING 1`;
const LIST = `SELECT * FROM b24_entries WHERE key >= $1 AND key < $2 AND key > $3 AND ${LIVE} ORDER BY key LIMIT $4`;
const SWEEP = `DELETE FROM b24_entries WHERE key IN
  (SELECT key FROM b24_entries WHERE expires_at <= ${NOW} LIMIT 128 FOR UPDATE SKIP LOCKED)`;
type Row = { key: Uint8Array; value: string; version: string; expires_at: number | null };
const decoder = new TextDecoder("utf-8", { ignoreBOM: true }); // or a first U+FEFF is lost

export function postgresStorage(client: PostgresClient, { timeoutMs = 5000 } = {}): Storage {
  let writes = 0;
  function run(what: string, signal: AbortSignal | undefined, sql: string, ...params: unknown[]): Promise<Row[]> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const fail = (cause: Error): void =>
        reject(new StorageError(`cannot ${what} postgres: ${cause.message}`, { cause }));
      const abort = (): void => reject(signal?.reason);
      const timer = setTimeout(fail, timeoutMs, new Error(`no answer within ${timeoutMs} ms`));
      signal?.addEventListener("abort", abort);
      client.query(sql, params).then(({ rows }) => resolve(rows as Row[]), fail).finally(() => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
      });
    });
  }

  return {
    name: "postgres",
    capabilities: { durable: true, scope: "network" },
    get: async <T>(key: Key, { signal }: { readonly signal?: AbortSignal } = {}) => {
      const [row] = await run(`get ${JSON.stringify(key)} from`, signal, GET, toBytes(key));
      return row === undefined ? null : toEntry<T>(row);
    },
    put: async (key, value, { ifVersion, ttlMs, signal } = {}) => {
      const what = `put ${JSON.stringify(key)} into`;
      const version = crypto.randomUUID();
      const row = [toBytes(key), encodeValue(key, value), version, expiryOf(key, 0, ttlMs) ?? null];
      if (++writes % 64 === 0) await run("remove what has expired from", signal, SWEEP);
      try {
        const sql = typeof ifVersion === "string" ? REPLACE : PUT;
        const written = await run(what, signal, sql, ...row, ifVersion ?? ifVersion === null);
        return written.length > 0 ? { ok: true, version } : { ok: false };
      } catch (error) {
        // Perhaps only the answer was lost: nobody else makes this version.
        const [found] = await run(what, signal, GET, row[0]).catch(() => []);
        if (found?.version === version) return { ok: true, version };
        throw error;
      }
    },
    delete: async (key, { ifVersion, signal } = {}) => {
      const gone = await run(`delete ${JSON.stringify(key)} from`, signal, DELETE, toBytes(key), ifVersion ?? null);
      return { ok: ifVersion === undefined || gone.length > 0 };
    },
    list: async function* <T>(prefix: readonly string[], options: ListOptions = {}): AsyncGenerator<Entry<T>> {
      const { after, limit = Infinity, signal } = options;
      const from = new TextEncoder().encode(encodeKey(prefix));
      const below = Uint8Array.of(...from.slice(0, -1), prefix.length === 0 ? 0xff : 1);
      let above = after === undefined ? new Uint8Array() : toBytes(after);
      for (let left = limit; left > 0; left -= 64) {
        const size = Math.ceil(Math.min(left, 64));
        const rows = await run(`list ${JSON.stringify(prefix)} of`, signal, LIST, from, below, above, size);
        for (const row of rows) {
          yield toEntry<T>(row);
          signal?.throwIfAborted();
        }
        if (rows.length < size) return;
        above = rows.at(-1)!.key;
      }
    },
  };
}

function toBytes(key: Key): Uint8Array {
  if (key.length === 0) throw new TypeError("cannot use an empty key, wanted at least one part");
  return new TextEncoder().encode(encodeKey(key));
}

function toEntry<T>({ key: bytes, value, version, expires_at: expiresAt }: Row): Entry<T> {
  const key = decodeKey(decoder.decode(bytes)) as unknown as Key;
  return { key, value: decodeValue("postgres", key, value), version, ...(expiresAt !== null && { expiresAt }) };
}
