/** What steps gave: in the portal's record, or beside it where it is large. */
import { resultKey } from "../portal/keys.ts";
import type { PortalRecord, StepRecord } from "../portal/record.ts";
import { NonRetriableError } from "../errors.ts";
import type { Storage } from "../storage/storage.ts";
import { encodeValue } from "../storage/value.ts";

/** Characters of JSON up to which a result is kept in the portal's record, which is written at each step. */
const INLINE = 8192;
/** Those that all results of a run have there together: some storages take no record of any size. */
const INLINE_IN_ALL = 65_536;

/**
 * Stores `value`, unless it can be in the record; `text` is its JSON.
 *
 * @throws {NonRetriableError} when it can never be stored
 */
export async function keepResult(
  storage: Storage,
  record: PortalRecord,
  name: string,
  value: unknown,
  random: () => string,
): Promise<Pick<StepRecord, "result" | "stored"> & { readonly text?: string }> {
  if (value === undefined) return {};
  const text = textOf(storage, name, value);
  if (text.length <= INLINE && text.length + inlineIn(record) <= INLINE_IN_ALL) {
    return { text, result: JSON.parse(text) };
  }
  // Under a name of its own: what a worker writes that has lost its lease is never looked at.
  const stored = random();
  await storage.put(resultKey(record.memberId, stored), value);
  return { text, stored };
}

/** Characters of JSON of the results that are in a record. */
function inlineIn({ run }: PortalRecord): number {
  const results = run?.journal.flatMap(({ steps }) => Object.values(steps).map(({ result }) => result)) ?? [];
  return JSON.stringify(results).length;
}

/** @throws {NonRetriableError} when it can never be stored: to do the step again would be of no use */
function textOf({ name: where, capabilities }: Storage, name: string, value: unknown): string {
  let text: string;
  try {
    text = encodeValue(["step", name], value);
  } catch (cause) {
    throw new NonRetriableError(
      `cannot keep what step "${name}" gave: it is ${typeof value}, wanted what JSON can say`,
      { cause },
    );
  }
  const most = capabilities.maxValueBytes ?? Infinity;
  const size = text.length * 3 <= most ? 0 : new TextEncoder().encode(text).length;
  if (size <= most) return text;
  throw new NonRetriableError(
    `cannot keep what step "${name}" gave: it has ${size} bytes of JSON, ${where} takes at most ${most}`,
  );
}

/** @throws {NonRetriableError} when it is gone */
export async function resultOf<T>(storage: Storage, memberId: string, name: string, step: StepRecord): Promise<T> {
  if (step.stored === undefined) return step.result as T;
  const entry = await storage.get<T>(resultKey(memberId, step.stored));
  if (entry === null) {
    throw new NonRetriableError(`cannot go on: what step "${name}" gave is gone from ${storage.name}`);
  }
  return entry.value;
}
