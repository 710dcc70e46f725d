/** Traces: how a plugin learns which work the app does, how long it takes, and which work belongs together. */
import { option, type OptionRules } from "../check_options.ts";
import type { LogFields } from "../logger.ts";
import type { VerificationStage } from "./context.ts";

/** A piece of work that begins. */
export type TracedWork =
  /** A request to `app.fetch`, until its answer. */
  | { readonly kind: "request"; readonly request: Request }
  /** The plugins of phase `verify` decide about an event. */
  | {
    readonly kind: "verification";
    readonly memberId: string;
    readonly event: string;
    readonly stage: VerificationStage;
    /** 1 while the request is answered, and for the first attempt afterwards. */
    readonly attempt: number;
    /** The context of the request; absent while it is answered. */
    readonly trace?: string;
  }
  /** Bitrix24 is asked about a portal: what its events claim, or which version it has. */
  | {
    readonly kind: "check";
    readonly memberId: string;
    /** Bitrix24 has not been asked about the claims before. */
    readonly isFirst: boolean;
    /** The context of the request whose claim is asked about; absent if the request had none. */
    readonly trace?: string;
  }
  /** The work that an event causes: upgrades and handlers. */
  | {
    readonly kind: "delivery";
    readonly memberId: string;
    readonly event: string;
    readonly deliveryId: string;
    /** In milliseconds since 1970. */
    readonly receivedAt: number;
    /** No earlier attempt has begun, as far as the portal's record says. */
    readonly isFirst: boolean;
    /** The context of the request; absent without a request, or if it had none. */
    readonly trace?: string;
  }
  /** A portal runs the upgrades that are due. */
  | { readonly kind: "run"; readonly memberId: string; readonly from: string; readonly to: string }
  /** An attempt at an upgrade. */
  | {
    readonly kind: "upgrade";
    readonly memberId: string;
    readonly from: string;
    readonly to: string;
    readonly upgradeId: string;
    /** 1 for the first one. */
    readonly attempt: number;
  }
  /** An attempt at a step of an upgrade, or at a page of one. A step that was recorded before is not run, and no work. */
  | {
    readonly kind: "step";
    readonly memberId: string;
    readonly upgradeId: string;
    readonly step: string;
    readonly attempt: number;
  }
  /** An operator rolls a portal back: `from` the target of its run `to` the version on which the run began. */
  | { readonly kind: "rollback"; readonly memberId: string; readonly from: string; readonly to: string }
  /** A request to a portal or an OAuth host, until the headers of its answer. */
  | {
    readonly kind: "call";
    readonly to: "portal" | "oauth";
    /** Method of HTTP. */
    readonly httpMethod: string;
    /** Name of the host, without a port. */
    readonly host: string;
    readonly port?: number;
    /** Method of Bitrix24, such as `crm.deal.list`, `api/tasks.task.add` or `oauth/token`. */
    readonly method: string;
  }
  /** A token pair is refreshed. */
  | { readonly kind: "refresh" };

/**
 * The outcome of a piece of work. A verification: `verified`, `refused`, `postponed` or `budget_spent`. A delivery: `handled`,
 * `skipped`, `outdated`, `failed`, `suspended` or `interrupted`. All others: `finished`, `failed`, `suspended` or `interrupted`.
 *
 * `suspended`: it goes on later, which is no failure. `interrupted`: the app closes, or another process has taken over.
 */
export type WorkOutcome =
  | "verified"
  | "refused"
  | "postponed"
  | "budget_spent"
  | "handled"
  | "skipped"
  | "unconfirmed"
  | "outdated"
  | "finished"
  | "failed"
  | "suspended"
  | "interrupted";

/** The end of a piece of work. */
export interface WorkEnd {
  /** Absent for a request and a call. */
  readonly outcome?: WorkOutcome;
  /** The HTTP status of a request or a call. */
  readonly status?: number;
  /** The thrown error, with tokens redacted. */
  readonly error?: Error;
}

/** A piece of work that is under way. */
export interface WorkSpan {
  /** Calls `work` at once, exactly once, and returns what it returns. What begins meanwhile, and asynchronously, belongs to it. */
  readonly run: <T>(work: () => T) => T;
  /** Called once, when the work has ended. */
  readonly end: (end: WorkEnd) => void;
}

/** An operation of the app's storage that has ended. */
export interface StorageReport {
  /** A listing is one operation, with all its entries. */
  readonly operation: "get" | "put" | "delete" | "write" | "list";
  /** Milliseconds that the app has waited. */
  readonly ms: number;
  /** Absent if it has succeeded. */
  readonly error?: Error;
}

/**
 * Functions that follow the work of an app, such as those of `telemetry()`. One plugin of an app may have them.
 *
 * They must be fast, for the work waits for them, and they change nothing: an error that they throw is logged, the first one
 * only.
 */
export interface Tracing {
  /** A piece of work begins. */
  readonly begin: (work: TracedWork) => WorkSpan;
  /**
   * Returns what is stored with an event, at most 256 characters, so that its work in another process, or later, can be assigned
   * to the present piece of work; `undefined`: nothing is stored.
   */
  readonly context: () => string | undefined;
  /** Calls `work` at once, exactly once, outside of any piece of work, and returns what it returns. */
  readonly detach: <T>(work: () => T) => T;
  /** Returns the fields to add to a log line. */
  readonly logFields?: () => LogFields;
  /** An operation of the storage has ended. */
  readonly storageCalled?: (report: StorageReport) => void;
}

/** The rules of {@linkcode Tracing}. */
export const TRACING_RULES: OptionRules<Tracing> = {
  begin: option.required(option.function()),
  context: option.required(option.function()),
  detach: option.required(option.function()),
  logFields: option.function(),
  storageCalled: option.function(),
};
