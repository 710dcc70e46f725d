/** Collects what a rehearsal does, and ends it at its limits. */
import { defined } from "../../defined.ts";
import { NotRehearsedError } from "../../errors.ts";
import type { RehearsedChange } from "../../plugin/rehearsal.ts";
import { isSecretName, redact } from "../../redact.ts";
import { REDACTED, type Secret } from "../../secret.ts";
import { currentStep } from "../current_step.ts";
import type { NotRehearsed, RehearsedCall, RehearsedTime, RehearsedWrite } from "./report.ts";

/** Maximum number of requests that a rehearsal sends to the portal. */
const MAX_READS = 200;

/** Maximum number of writes in a report. */
const MAX_WRITES = 100_000;

/** The rate of a portal's REST unless a plugin tells it: see `RestOptions.rate`. */
const DEFAULT_RATE = { burst: 45, perSecond: 2 };

/** The id of the first entity that is added. No parameter of a method looks like it by accident, as `start: -1` would. */
const FIRST_ID = -1_000_000_001;
const ID_LIKE = /-\d{10,}/g;

/** A write, before it is recorded. */
export type NewWrite = Pick<RehearsedWrite, "method" | "params" | "result" | "isUnknown">;

/** The record of a rehearsal so far. */
export interface Recorder {
  /** Sets the upgrade that is rehearsed now; `undefined` outside of upgrades. */
  readonly enterUpgrade: (upgradeId: string | undefined) => void;
  /** Sets the step that began last. */
  readonly enterStep: (name: string) => void;
  /** Counts a request to the portal that is answered, and the calls in it. */
  readonly countRequest: (methods: readonly { readonly method: string; readonly isRead: boolean }[]) => void;
  readonly write: (write: NewWrite) => void;
  /** Returns an id for an entity that is added. */
  readonly nextId: () => number;
  /** Returns an id of an added entity that is somewhere in `params`. */
  readonly addedIdIn: (params: unknown) => number | undefined;
  /** Counts a read that is sent. @throws {NotRehearsedError} if that is one too many: the rehearsal has ended */
  readonly countSent: () => void;
  /** Returns the error for what cannot be rehearsed, and adds it to the report. */
  readonly refuse: (what: string, why: string) => NotRehearsedError;
  readonly addNotRehearsed: (...items: readonly NotRehearsed[]) => void;
  readonly setRate: (rate: typeof DEFAULT_RATE) => void;
  readonly reportChanges: (plugin: string, changes: readonly RehearsedChange[]) => void;
  /** Ends the rehearsal: nothing further is answered. */
  readonly stop: (why: string) => void;
  /** Returns why the rehearsal was ended; `undefined` if it was not. */
  readonly stopped: () => string | undefined;
  readonly calls: () => readonly RehearsedCall[];
  readonly writes: () => readonly RehearsedWrite[];
  readonly changes: () => Readonly<Record<string, readonly RehearsedChange[]>>;
  readonly notRehearsed: () => readonly NotRehearsed[];
  readonly time: (sleepMs: number) => RehearsedTime;
}

/** Returns an empty recorder. `secrets` returns the tokens that no report may have. `onStop` is called when the rehearsal is ended. */
export function createRecorder(secrets: () => readonly Secret[], onStop: (why: string) => void): Recorder {
  const calls = new Map<string, RehearsedCall>();
  const writes: RehearsedWrite[] = [];
  const ids = new Set<number>();
  const changes = new Map<string, RehearsedChange[]>();
  const notRehearsed = new Map<string, NotRehearsed>();
  let rate = DEFAULT_RATE;
  let [requests, sent] = [0, 0];
  let upgradeId: string | undefined;
  let step: string | undefined;
  let stopped: string | undefined;

  function stop(why: string): void {
    if (stopped !== undefined) return;
    stopped = why;
    onStop(why);
  }

  function addNotRehearsed(...items: readonly NotRehearsed[]): void {
    for (const { what, why } of items) {
      const item = { what: redact(what, secrets()), why: redact(why, secrets()) };
      notRehearsed.set(`${item.what}: ${item.why}`, item);
    }
  }

  return {
    enterUpgrade: (id) => {
      [upgradeId, step] = [id, undefined];
    },
    enterStep: (name) => {
      step = name;
    },
    countRequest: (methods) => {
      requests++;
      for (const { method, isRead } of methods) {
        calls.set(method, { method, count: (calls.get(method)?.count ?? 0) + 1, isRead });
      }
    },
    write: ({ method, params, result, isUnknown }) => {
      const where = defined({ upgradeId, step: currentStep() === undefined ? undefined : step, isUnknown });
      writes.push({ method, params: withoutSecrets(params, secrets()), result, ...where });
      if (writes.length >= MAX_WRITES) stop(`it has made ${MAX_WRITES} writes`);
    },
    nextId: () => {
      const id = FIRST_ID - ids.size;
      ids.add(id);
      return id;
    },
    addedIdIn: (params) => {
      if (ids.size === 0) return undefined;
      const found = JSON.stringify(params)?.match(ID_LIKE)?.map(Number) ?? [];
      return found.find((id) => ids.has(id));
    },
    countSent: () => {
      if (sent++ < MAX_READS) return;
      stop(`it has sent ${MAX_READS} reads to the portal`);
      throw new NotRehearsedError(`further: ${stopped}`);
    },
    refuse: (what, why) => {
      addNotRehearsed({ what, why });
      return new NotRehearsedError(`${redact(what, secrets())}: ${redact(why, secrets())}`);
    },
    addNotRehearsed,
    setRate: (wanted) => {
      rate = wanted;
    },
    reportChanges: (plugin, made) => {
      changes.set(plugin, [...changes.get(plugin) ?? [], ...made]);
    },
    stop,
    stopped: () => stopped,
    calls: () => [...calls.values()],
    writes: () => writes,
    changes: () => Object.fromEntries(changes),
    notRehearsed: () => [...notRehearsed.values()],
    time: (sleepMs) => {
      const rateMs = Math.ceil(Math.max(0, requests - rate.burst) * 1000 / rate.perSecond);
      return { requests, rateMs, sleepMs, minMs: rateMs + sleepMs };
    },
  };
}

/** Returns a copy of a JSON value without secrets. */
function withoutSecrets(value: unknown, secrets: readonly Secret[]): unknown {
  if (typeof value === "string") return redact(value, secrets);
  if (Array.isArray(value)) return value.map((item) => withoutSecrets(item, secrets));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map((
      [name, inner],
    ) => [name, isSecretName(name) ? REDACTED : withoutSecrets(inner, secrets)]),
  );
}
