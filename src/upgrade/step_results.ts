/** The results of steps: small ones are in the portal's record, large ones have an entry of their own. */
import { NonRetriableError } from "../errors.ts";
import { resultKey } from "../portal/keys.ts";
import type { PortalRecord, StepRecord } from "../portal/record.ts";
import type { Storage } from "../storage/storage.ts";
import { encodeValue } from "../storage/value.ts";

/** Maximum length of the JSON of a result in the portal's record, which is written at each step. */
const MAX_INLINE_LENGTH = 8192;
/** Maximum length of the JSON of all results in a record: storages limit the size of a value. */
const MAX_INLINE_TOTAL = 65_536;

/**
 * Stores the result of a step if it is too large for the portal's record. Resolves to the fields for the record of the
 * step, and to the JSON of the result.
 *
 * @throws {NonRetriableError} if the result can never be stored
 */
export async function storeResult(
  storage: Storage,
  record: PortalRecord,
  name: string,
  value: unknown,
  random: () => string,
): Promise<Pick<StepRecord, "result" | "stored"> & { readonly json?: string }> {
  if (value === undefined) return {};
  const json = encodeResult(storage, name, value);
  if (json.length <= MAX_INLINE_LENGTH && json.length + inlineLength(record) <= MAX_INLINE_TOTAL) {
    return { json, result: JSON.parse(json) };
  }
  // Under a random key: a worker that has lost its lease cannot overwrite the result of another one.
  const stored = random();
  await storage.put(resultKey(record.memberId, stored), value);
  return { json, stored };
}

/**
 * Returns the result of a finished step.
 *
 * @throws {NonRetriableError} if it is no longer stored
 */
export async function loadResult<T>(storage: Storage, memberId: string, name: string, step: StepRecord): Promise<T> {
  if (step.stored === undefined) return step.result as T;
  const entry = await storage.get<T>(resultKey(memberId, step.stored));
  if (entry === null) {
    throw new NonRetriableError(`cannot load the result of step "${name}": ${storage.name} no longer has it`);
  }
  return entry.value;
}

/** Returns the length of the JSON of all results in a record. */
function inlineLength({ run }: PortalRecord): number {
  const results = run?.journal.flatMap(({ steps }) => Object.values(steps).map(({ result }) => result)) ?? [];
  return JSON.stringify(results).length;
}

/** @throws {NonRetriableError} if the value has no JSON, or the storage does not take values of its size */
function encodeResult({ name: storage, capabilities }: Storage, step: string, value: unknown): string {
  let json: string;
  try {
    json = encodeValue(["step", step], value);
  } catch (cause) {
    throw new NonRetriableError(
      `cannot store the result of step "${step}": it is of type ${typeof value}, wanted a value that JSON can represent`,
      { cause },
    );
  }
  const { maxValueBytes = Infinity } = capabilities;
  // A UTF-16 unit has at most 3 bytes of UTF-8, so most strings need not be encoded.
  const bytes = json.length * 3 <= maxValueBytes ? 0 : new TextEncoder().encode(json).length;
  if (bytes <= maxValueBytes) return json;
  throw new NonRetriableError(
    `cannot store the result of step "${step}": it has ${bytes} bytes of JSON, ${storage} takes at most ${maxValueBytes}`,
  );
}
