/** Recordings of a portal's answers: taken by one rehearsal, and played back by a later one. */
import { option, type OptionRule } from "../../check_options.ts";
import { FormatError } from "../../errors.ts";
import { REDACTED, type Secret } from "../../secret.ts";
import type { RecordedRead, RehearsalRecording } from "./report.ts";

const FORMAT = 1;

/** Maximum length of the JSON of a recording. */
const MAX_LENGTH = 32 * 2 ** 20;

/** The rule of the option `recording`; its portal and format are checked by {@linkcode createTape}. */
export const recordingRule: OptionRule = option.value(
  "the recording of a report of app.rehearse()",
  (value) => {
    const { format, memberId, reads } = Object(value) as Partial<RehearsalRecording>;
    if (typeof format === "number" && format !== FORMAT) return true;
    return format === FORMAT && typeof memberId === "string" && Array.isArray(reads) && reads.every(isRead);
  },
);

function isRead(read: unknown): boolean {
  const { method, status, answer } = Object(read) as Partial<RecordedRead>;
  const isStatus = typeof status === "number" && status >= 200 && status <= 599;
  return typeof method === "string" && isStatus && typeof answer === "object" && answer !== null;
}

/** The recorded answers of a rehearsal. */
export interface Tape {
  /** Returns the answer that an earlier rehearsal has recorded. */
  readonly find: (method: string, params: unknown) => RecordedRead | undefined;
  /** Records an answer. */
  readonly add: (method: string, params: unknown, status: number, answer: unknown) => void;
  readonly recording: () => RehearsalRecording;
}

/**
 * Returns a tape with the answers of an earlier rehearsal, if there was one.
 *
 * @throws {FormatError} if newer code has made the recording
 * @throws {TypeError} if it is one of another portal
 */
export function createTape(
  { memberId, now, secrets }: {
    readonly memberId: string;
    readonly now: number;
    readonly secrets: () => readonly Secret[];
  },
  earlier: RehearsalRecording | undefined,
): Tape {
  if (earlier !== undefined && earlier.format !== FORMAT) {
    throw new FormatError("the recording", earlier.format, FORMAT);
  }
  if (earlier !== undefined && earlier.memberId !== memberId) {
    throw new TypeError(
      `cannot rehearse portal ${memberId} with a recording of portal ${
        JSON.stringify(earlier.memberId.slice(0, 40))
      }, ` +
        "wanted one of the same portal",
    );
  }
  const played = new Map(earlier?.reads.map((read) => [keyOf(read.method, read.params), read]));
  const recorded = new Map<string, RecordedRead>();
  let length = 0;

  function keep(key: string, read: RecordedRead): void {
    const { length: added } = JSON.stringify(read);
    if (recorded.has(key) || length + added > MAX_LENGTH) return;
    length += added;
    recorded.set(key, read);
  }

  return {
    find: (method, params) => {
      const key = keyOf(method, params);
      const read = played.get(key);
      if (read !== undefined) keep(key, read);
      return read;
    },
    add: (method, params, status, answer) => {
      let text = JSON.stringify({ method, params, status, answer });
      for (const token of secrets().map((secret) => secret.reveal())) {
        if (token !== "") text = text.replaceAll(token, REDACTED);
      }
      keep(keyOf(method, params), JSON.parse(text));
    },
    recording: () => ({ format: FORMAT, memberId, recordedAt: now, reads: [...recorded.values()] }),
  };
}

function keyOf(method: string, params: unknown): string {
  return JSON.stringify([method.toLowerCase(), params]);
}
