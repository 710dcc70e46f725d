/** The report of `app.rehearse`, and what it is made of. */
import type { RehearsedChange } from "../../plugin/rehearsal.ts";

/** An answer of a portal that a rehearsal has recorded. */
export interface RecordedRead {
  /** Name of the method, with `api/` before one of REST 3.0. */
  readonly method: string;
  /** Parameters without tokens. */
  readonly params: unknown;
  /** HTTP status. */
  readonly status: number;
  /** The answer, without access tokens. */
  readonly answer: unknown;
}

/**
 * The answers of a portal to the reads of a rehearsal: a JSON value, for the option `recording` of a later one. It has no
 * tokens, but the customer's data.
 */
export interface RehearsalRecording {
  /** Format of the recording. */
  readonly format: 1;
  /** The `member_id` of the portal. */
  readonly memberId: string;
  /** When the rehearsal began, in milliseconds since 1970. */
  readonly recordedAt: number;
  /** The reads, each once. At most 32 MiB of JSON: further ones are left out. */
  readonly reads: readonly RecordedRead[];
}

/** A step of a rehearsed upgrade. */
export interface RehearsedStep {
  /** Name of the step. */
  readonly name: string;
  /** The function of the handler that ran it. */
  readonly kind: "step" | "pages" | "sleep";
  /** The current run of the portal has finished it before: it was not rehearsed, and its recorded result was returned. */
  readonly wasDone?: true;
  /** Number of finished pages; absent unless `kind` is `pages`. */
  readonly pages?: number;
  /** Number of items of these pages; absent unless `kind` is `pages`. */
  readonly done?: number;
  /** Length in milliseconds, which the rehearsal has not waited for; absent unless `kind` is `sleep`. */
  readonly ms?: number;
}

/**
 * The outcome of an upgrade in a rehearsal:
 *
 * - `rehearsed`: its handler has returned.
 * - `incomplete`: it could not be rehearsed to its end.
 * - `failed`: its handler failed, as it would in a run.
 * - `blocked`: in a run, the portal would be blocked.
 * - `not_rehearsed`: it does not say `{ rehearsal: true }`.
 * - `not_reached`: the rehearsal ended before it.
 */
export type RehearsalOutcome = "rehearsed" | "incomplete" | "failed" | "blocked" | "not_rehearsed" | "not_reached";

/** An upgrade in a rehearsal. */
export interface RehearsedUpgrade {
  /** Id of the upgrade. */
  readonly id: string;
  /** Range of the upgrade, as registered. */
  readonly range: string;
  /** The outcome of the upgrade. */
  readonly outcome: RehearsalOutcome;
  /** Reason for people, without tokens; absent if it is `rehearsed`. */
  readonly why?: string;
  /** Its steps, in the order in which they finished, and last the one that failed. */
  readonly steps: readonly RehearsedStep[];
}

/** The calls of one method of the portal's REST in a rehearsal. Commands of batches count each. */
export interface RehearsedCall {
  /** Name of the method, with `api/` before one of REST 3.0. */
  readonly method: string;
  /** Number of calls. */
  readonly count: number;
  /** Whether it only reads. Any other method counts as one that writes. */
  readonly isRead: boolean;
}

/** A write that a run would make. */
export interface RehearsedWrite {
  /** Name of the method, with `api/` before one of REST 3.0. */
  readonly method: string;
  /** Parameters, with secrets removed. Those of commands of a batch are strings, as they are sent. */
  readonly params: unknown;
  /** The answer that the handler got. Ids of added entities are negative. */
  readonly result: unknown;
  /** Id of the upgrade; absent if a plugin made the call, outside of upgrades. */
  readonly upgradeId?: string;
  /** Name of the step; absent outside of steps. */
  readonly step?: string;
  /** The method is not known: it counts as a write, was answered with `true`, and may in fact only read. */
  readonly isUnknown?: true;
}

/** A part that could not be rehearsed. */
export interface NotRehearsed {
  /** The upgrade, the plugin or the call. */
  readonly what: string;
  /** The reason. */
  readonly why: string;
}

/** The time that a run takes at least. Milliseconds. */
export interface RehearsedTime {
  /** Number of requests to the portal. A batch is one. */
  readonly requests: number;
  /** Time that the requests wait for the portal's rate. */
  readonly rateMs: number;
  /** Time of all sleeps. */
  readonly sleepMs: number;
  /** Both together. The portal's own time to answer, and that of the handler's other work, come on top. */
  readonly minMs: number;
}

/** The report of `app.rehearse`. It has no tokens, but data of the portal, which may be the customer's: keep it accordingly. */
export interface RehearsalReport {
  /** The `member_id` of the portal. */
  readonly memberId: string;
  /** Version of the portal; absent while it is unknown. */
  readonly from?: string;
  /** The version to which the run would bring it; absent while it is unknown. */
  readonly to?: string;
  /** The reason why no run would begin now, such as a block; absent if one would, or nothing is due. */
  readonly obstacle?: string;
  /** Whether all that a run would do was rehearsed. */
  readonly isComplete: boolean;
  /** The upgrades that a run would run, in this order. */
  readonly upgrades: readonly RehearsedUpgrade[];
  /** Calls of the portal's REST by method, in the order of their first calls. */
  readonly calls: readonly RehearsedCall[];
  /** All writes, in their order. */
  readonly writes: readonly RehearsedWrite[];
  /** Changes that plugins would make, by the name of the plugin, such as the registrations of `registrations()`. */
  readonly changes: Readonly<Record<string, readonly RehearsedChange[]>>;
  /** Parts that could not be rehearsed, and why. */
  readonly notRehearsed: readonly NotRehearsed[];
  /** The time that a run takes at least. */
  readonly time: RehearsedTime;
  /** The answers of the portal, for a later rehearsal. */
  readonly recording: RehearsalRecording;
  /** The report for people: at most 200 writes. */
  readonly text: string;
}
