/** Writes and deletes entries. */
import { StorageError } from "../../errors.ts";
import type { EncodedOperation, WriteResult } from "../../storage.ts";
import type { Query, Row } from "./client.ts";
import { type Context, timeParameter } from "./context.ts";
import { encodeEntryKey } from "./entries.ts";
import { type Operation, repeated, UnknownOutcomeError } from "./runner.ts";
import { ABSENT, APPLIED, SWEEP_SIZE, VERSION_IS } from "./statements.ts";

/** A put of one entry, or a deletion. */
export type EntryWrite = Omit<EncodedOperation, "encodedKey">;

/** A write as one statement. */
interface Statement<R> {
  readonly text: string;
  readonly values: (string | null)[];
  readonly parse: (rows: readonly Row[]) => R;
  /** The result if the write was done and the reply was lost. */
  readonly done: R;
  /** The version of the entries that the write puts, and their encoded keys. */
  readonly version: string;
  readonly puts: readonly string[];
  /** Whether the write requires a version, which it replaces or deletes, so that it cannot be done twice. */
  readonly requiresVersion: boolean;
}

/** Puts or deletes one entry if its condition holds. Resolves to the new version, `null` for a deletion, or `undefined`. */
export async function writeEntry(
  context: Context,
  operation: Operation,
  { key, json, ifVersion, ttlMs }: EntryWrite,
): Promise<string | null | undefined> {
  const { statements } = context;
  const encodedKey = encodeEntryKey(key);
  const time = timeParameter(context);
  const version = crypto.randomUUID();
  const requiresVersion = typeof ifVersion === "string";
  const ttl = ttlMs === undefined ? null : String(ttlMs);
  const row = [encodedKey, time, json ?? null, version, ttl];
  const [text, values] = json === undefined
    ? requiresVersion ? [statements.deleteVersion, [encodedKey, time, ifVersion]] : [statements.delete, [encodedKey]]
    : requiresVersion
    ? [statements.replace, [...row, ifVersion]]
    : [ifVersion === null ? statements.create : statements.put, row];
  const done = json === undefined ? null : version;
  return await execute(context, operation, 1, {
    text,
    values,
    parse: (rows) => rows.length > 0 || text === statements.delete ? done : undefined,
    done,
    version,
    puts: json === undefined ? [] : [encodedKey],
    requiresVersion,
  });
}

/** Applies all operations, or none if a condition does not hold. */
export async function writeEntries(
  context: Context,
  operation: Operation,
  writes: readonly EntryWrite[],
): Promise<WriteResult> {
  const version = crypto.randomUUID();
  const encoded = writes.map(({ key, ...write }) => ({ ...write, encodedKey: encodeEntryKey(key) }));
  const operations = encoded.map((
    { encodedKey, json, ifVersion, ttlMs },
  ) => [encodedKey, json ?? null, encodeCondition(ifVersion), ttlMs === undefined ? null : String(ttlMs)]);
  const puts = encoded.filter(({ json }) => json !== undefined);
  const done: WriteResult = {
    ok: true,
    versions: writes.map(({ json }) => json === undefined ? undefined : version),
  };
  return await execute(context, operation, writes.length, {
    text: context.statements.write,
    values: [JSON.stringify(operations), timeParameter(context), version],
    parse: ([row]) => row?.["result"] === APPLIED ? done : { ok: false, failedAt: Number(row?.["result"]) },
    done,
    version,
    puts: puts.map(({ encodedKey }) => encodedKey),
    requiresVersion: writes.some(({ ifVersion }) => typeof ifVersion === "string"),
  });
}

function encodeCondition(ifVersion: string | null | undefined): string | null {
  return ifVersion === undefined ? null : ifVersion === null ? ABSENT : VERSION_IS + ifVersion;
}

/** Executes a write of `count` operations, once. */
async function execute<R>(
  context: Context,
  operation: Operation,
  count: number,
  statement: Statement<R>,
): Promise<R> {
  return await context.run(operation, async (query) => {
    await sweepSometimes(context, query, count);
    return await executeOnce(context, operation, query, statement);
  });
}

/**
 * Executes a write. If its reply was lost, looks for the version that it stores, which is unique to it.
 *
 * A write that requires a version is then repeated: wherever the first attempt is, it no longer has an effect. Any other
 * write could undo what another process has written in the meantime, so it is an error.
 */
async function executeOnce<R>(
  { statements }: Context,
  { describe }: Operation,
  query: Query,
  { text, values, parse, done, version, puts, requiresVersion }: Statement<R>,
): Promise<R> {
  let lost: UnknownOutcomeError | undefined;
  for (;;) {
    let isRefused = false;
    try {
      const result = parse(await query(text, values));
      if (lost === undefined || result === done) return result;
      isRefused = true;
    } catch (error) {
      if (!(error instanceof UnknownOutcomeError)) throw error;
      lost = error;
    }
    if (puts.length > 0) {
      const found = await repeated(query, statements.find, [JSON.stringify(puts), version]);
      if (found.length > 0) return done;
    }
    if (requiresVersion && !isRefused) continue;
    // Another process may have replaced what the first attempt has written.
    const reason = "the connection was lost, so the outcome is unknown";
    throw new StorageError(`cannot ${describe()}: ${reason}`, { cause: lost.cause });
  }
}

/** Deletes expired entries at every 64th operation, so that they do not accumulate. If that fails, the write fails. */
async function sweepSometimes(context: Context, query: Query, count: number): Promise<void> {
  context.writesSinceSweep += count;
  if (context.writesSinceSweep < SWEEP_SIZE / 2) return;
  context.writesSinceSweep = 0;
  await repeated(query, context.statements.sweep, [timeParameter(context)]);
}
