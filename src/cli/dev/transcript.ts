/** The transcript of a stand-in for Bitrix24: events that it sent, calls that the app made. It keeps the last entries. */
import { maskTokens } from "./mask.ts";

/** An event, or an opening of the app's page. */
export interface SentEntry {
  readonly kind: "sent";
  /** Name of the event, such as `ONAPPUPDATE`; `opening` for an opening of the page. */
  readonly name: string;
  /** `member_id` of the portal. */
  readonly memberId: string;
  /** Host name of the portal. */
  readonly domain: string;
  /** `data[VERSION]`, or the user of an opening. */
  readonly detail?: string;
  /** The difference from an ordinary delivery, such as `duplicate`, `forged` or `replay of #3`. */
  readonly remark?: string;
  /** The URL that it was sent to. */
  readonly url: string;
  /** The form. Contains tokens: it is for replays, and never shown. */
  readonly body: string;
  /** Absent until it is over. `withheld`: not sent, for the reason in `remark`. */
  readonly outcome?: "answered" | "failed" | "withheld";
  readonly status?: number;
  /** Milliseconds until the answer. */
  readonly ms?: number;
  /** The beginning of the answer's body, or the error. Tokens are masked. */
  readonly answer?: string;
}

/** A call of the app. */
export interface CallEntry {
  readonly kind: "call";
  /** Host that the app has called. */
  readonly host: string;
  /** REST method, `oauth/token`, or a path. */
  readonly method: string;
  /** The parameters as JSON, without tokens. */
  readonly params: string;
  /** The commands of a batch, each with its parameters as a query. */
  readonly commands?: readonly string[];
  /** Absent if there was no answer. */
  readonly status?: number;
  /** Bitrix24's error code, or why there was no answer. */
  readonly error?: string;
  /** Milliseconds until the answer. */
  readonly ms: number;
}

/** A change of the stand-in, such as an outage. */
export interface NoteEntry {
  readonly kind: "note";
  readonly text: string;
}

/** An entry with its number and time. */
export type Entry = (SentEntry | CallEntry | NoteEntry) & {
  /** Counts from 1. */
  readonly id: number;
  /** Milliseconds since 1970. */
  readonly at: number;
};

/** Called with each entry when it is added, and when it is complete. */
export type EntryListener = (entry: Entry) => void;

/** The last entries, and who listens to new ones. */
export interface Transcript {
  readonly add: (entry: SentEntry | CallEntry | NoteEntry) => Entry;
  /** Completes an entry that was added. */
  readonly complete: (id: number, rest: Partial<SentEntry>) => void;
  /** The oldest first. */
  readonly entries: () => readonly Entry[];
  readonly find: (id: number) => Entry | undefined;
  /** Returns a function that ends it. */
  readonly listen: (listener: EntryListener) => () => void;
}

const MAX_ENTRIES = 500;

/** Creates an empty transcript. `now` returns milliseconds since 1970. */
export function createTranscript(now: () => number): Transcript {
  const entries: Entry[] = [];
  const listeners = new Set<EntryListener>();
  let count = 0;
  const tell = (entry: Entry): void => listeners.forEach((listener) => listener(entry));
  return {
    add: (added) => {
      const entry: Entry = { ...added, id: ++count, at: now() };
      entries.push(entry);
      if (entries.length > MAX_ENTRIES) entries.shift();
      tell(entry);
      return entry;
    },
    complete: (id, rest) => {
      const at = entries.findIndex((entry) => entry.id === id);
      const entry = entries[at];
      if (entry?.kind !== "sent") return;
      entries[at] = { ...entry, ...rest };
      tell(entries[at]);
    },
    entries: () => entries,
    find: (id) => entries.find((entry) => entry.id === id),
    listen: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/** Returns an entry as it may be shown: without its body, whose fields are listed with masked tokens instead. */
export function shownEntry(entry: Entry): object {
  if (entry.kind !== "sent") return entry;
  const { body, ...rest } = entry;
  return { ...rest, fields: Object.fromEntries(fieldsOf(body)) };
}

/** Returns the fields of a form, with masked tokens. */
export function fieldsOf(body: string): (readonly [name: string, value: string])[] {
  return [...new URLSearchParams(body)].map(([name, value]) => [name, maskTokens(value, name)]);
}
