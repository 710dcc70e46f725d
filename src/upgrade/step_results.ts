/** The results of steps: small ones are in the journal, large ones have an entry of their own. */
import { NonRetriableError } from "../errors.ts";
import type { EntryTime, JournalEntry, JournalId } from "../portal/journal.ts";
import { resultKey } from "../portal/keys.ts";
import type { Storage, WriteOperation } from "../storage/storage.ts";
import { encodeValue } from "../storage/value.ts";

/** Maximum number of bytes of the JSON of a result in a journal. The next steps write a part of the journal again. */
const MAX_INLINE_BYTES = 256;

/** A finished step, as it is written. */
export interface EncodedStep {
  readonly entry: JournalEntry;
  /** Operations that are written before the entry. */
  readonly before: readonly WriteOperation[];
  /** The result as an attempt after an interruption receives it. */
  readonly restored: unknown;
}

/**
 * Returns the entry of a finished step. `unique` is a fresh, unique string: a worker that has lost its lease cannot overwrite
 * the result of another one.
 *
 * @throws {NonRetriableError} if the result can never be stored
 */
export function encodeStep(
  storage: Storage,
  { memberId, runId }: JournalId,
  { name, time, value, unique }: {
    readonly name: string;
    readonly time: EntryTime;
    readonly value: unknown;
    readonly unique: string;
  },
): EncodedStep {
  if (value === undefined) return { entry: [name, time, "step"], before: [], restored: undefined };
  const { json, bytes } = encodeStored(storage, `the result of step "${name}"`, value);
  const restored: unknown = JSON.parse(json);
  if (bytes <= MAX_INLINE_BYTES) return { entry: [name, time, "step", JSON.parse(json)], before: [], restored };
  return {
    entry: [name, time, "large", unique],
    before: [{ put: resultKey(memberId, runId, unique), value }],
    restored,
  };
}

/**
 * Returns the result of a finished step.
 *
 * @throws {NonRetriableError} if it is no longer stored
 */
export async function loadResult(
  storage: Storage,
  { memberId, runId }: JournalId,
  recorded: JournalEntry,
): Promise<unknown> {
  const [name, , kind] = recorded;
  // Copied, so that a handler that changes it does not change the journal.
  if (kind !== "large") return kind === "step" ? structuredClone(recorded[3]) : undefined;
  const entry = await storage.get(resultKey(memberId, runId, recorded[3]));
  if (entry === null) {
    throw new NonRetriableError(`cannot load the result of step "${name}": ${storage.name} no longer has it`);
  }
  return entry.value;
}

/** A value as it is stored. */
export interface EncodedValue {
  readonly json: string;
  readonly bytes: number;
}

/**
 * Returns the JSON of a value. `what` names the value, such as `the result of step "one"`. `share`: the part of the maximum
 * size of a value in the storage that it may have.
 *
 * @throws {NonRetriableError} if the value has no JSON, or the storage does not take values of its size
 */
export function encodeStored(
  { name: storage, capabilities }: Storage,
  what: string,
  value: unknown,
  share: number = 1,
): EncodedValue {
  let json: string;
  try {
    json = encodeValue([what], value);
  } catch (cause) {
    throw new NonRetriableError(
      `cannot store ${what}: it is of type ${typeof value}, wanted a value that JSON can represent`,
      { cause },
    );
  }
  const maxBytes = Math.floor((capabilities.maxValueBytes ?? Infinity) * share);
  const bytes = new TextEncoder().encode(json).length;
  if (bytes <= maxBytes) return { json, bytes };
  throw new NonRetriableError(
    `cannot store ${what}: it has ${bytes} bytes of JSON, ${storage} takes at most ${maxBytes}`,
  );
}
