/** The parts of an app that intake, upgrades and worker share. */
import { delay, type Time } from "../async/time.ts";
import { withTimeout } from "../async/with_timeout.ts";
import { type B24Event, type UpdateEvent, wireName } from "../bitrix24/events.ts";
import { defined } from "../defined.ts";
import { StorageError } from "../errors.ts";
import { type Logger, withFields } from "../logger.ts";
import type { PortalBlock } from "../portal/portal.ts";
import type { PortalLease } from "../portal/lease.ts";
import { type PortalRecord, snapshot } from "../portal/record.ts";
import { redactError } from "../redact.ts";
import type { RetryPolicy } from "../retry.ts";
import { Secret } from "../secret.ts";
import type { Storage } from "../storage/storage.ts";
import type { VersionScheme } from "../version.ts";
import type { Context, HandlerContext } from "./context.ts";
import type { Observers } from "./observers.ts";
import type { Plugin } from "./plugin.ts";
import type { Tracer } from "./tracer.ts";

/** A handler of `app.on`, without the type of its events. */
export type AnyHandler = (ctx: HandlerContext) => void | Promise<void>;

/** A handler of `app.on`, as it is registered. */
export interface EventHandler {
  readonly handle: AnyHandler;
  /** Milliseconds that one attempt may take. */
  readonly timeoutMs: number;
}

/** The time that a worker processes a portal before others get their turn. */
export interface Turn {
  /** Returns whether the turn is over because other portals wait: the caller then suspends its run. */
  readonly yields: () => boolean;
  /**
   * Returns whether the portal may resume now after its process has ended. If another portal does so, the caller suspends
   * its run, and the portal gets another turn after that one.
   */
  readonly takeAlone: () => boolean;
  /** Lets other portals resume after the end of their process: this one has progressed. */
  readonly endAlone: () => void;
}

/** A slot of the worker that is reserved for a portal, until its processing begins. */
export interface ReservedSlot {
  /** Returns whether it is reserved still: it is not once it is released, or the processing of the portal has begun. */
  readonly isHeld: () => boolean;
  /** Frees the slot if it is reserved still. */
  readonly release: () => void;
}

/** Reserves a slot for a portal. Returns `undefined` if none is free, or the portal has one. */
export type ReserveSlot = (memberId: string) => ReservedSlot | undefined;

/**
 * Whether a portal passes the gate of its rollout. `waits`: the record says so, and the portal is tried again at `nextAt`, in
 * milliseconds since 1970. `lowered`: it has its former target again, so nothing is due.
 */
export type Admission =
  | { readonly state: "admitted" }
  | { readonly state: "waits"; readonly nextAt: number }
  | { readonly state: "lowered" };

/** The lease of a portal that asks whether it passes the gate. */
export type GatedLease = Pick<PortalLease, "record" | "update" | "stage" | "fencingToken">;

/** Rollout control, as upgrades and worker see it. */
export interface RolloutGate {
  /**
   * Asks whether a portal may begin its next upgrade, or go on with it. The answer holds under this lease.
   *
   * @throws {StorageError} if the storage fails
   * @throws {LeaseLostError} if another worker has taken the lease
   */
  readonly admit: (lease: GatedLease) => Promise<Admission>;
  /** Notes that the worker has released a portal, with this record. */
  readonly release: (record: PortalRecord) => void;
  /** Returns whether only the rollout raises the target of a portal to the deployed version. */
  readonly holdsBack: (memberId: string) => boolean;
  /**
   * Resolves to the block of a portal whose target the rollout has not raised: it is not stored. `undefined` if it is on the
   * deployed version, or on its way there.
   */
  readonly heldBlock: (record: PortalRecord) => Promise<PortalBlock | undefined>;
}

/** The settings and services of one app. */
export interface AppRuntime {
  readonly storage: Storage;
  readonly versions: VersionScheme;
  /** The option of the app: returns the version that the data of a portal is on, if nothing else says it. */
  readonly initialVersion?: (event: UpdateEvent) => string | undefined;
  /** Returns the time in milliseconds since 1970, as stored times are compared with. */
  readonly clock: () => number;
  /** Returns a fresh, unguessable string. */
  readonly random: () => string;
  /** Timers and the monotonic clock. */
  readonly time: Time;
  /** Returns the SHA-256 of a string in hexadecimal. */
  readonly digest: (text: string) => Promise<string>;
  /** Lifetime of a lease in milliseconds, unless its holder renews it. */
  readonly leaseMs: number;
  /** The policy of upgrades and handlers that have none of their own. */
  readonly retry: RetryPolicy;
  /** Milliseconds that runs and results are kept after a removal. */
  readonly retentionMs: number;
  /** The app has a client secret, so tokens that have expired can be refreshed. */
  readonly canRefresh: boolean;
  /** Returns the access tokens of a portal that were issued last: errors may quote them. */
  readonly issuedTokens: (memberId: string) => readonly Secret[];
  readonly log: Logger;
  readonly tracer: Tracer;
  /** Sends requests to hosts that the vendor has chosen. */
  readonly fetch: typeof fetch;
  readonly plugins: readonly Plugin[];
  /** By event name as Bitrix24 sends it. */
  readonly handlers: ReadonlyMap<string, readonly EventHandler[]>;
  /** Absent without the option `rollout`. */
  readonly rollout?: RolloutGate;
  /** Aborted when the app closes and `limits.closeMs` has passed. */
  readonly signal: AbortSignal;
  /** The turn of the portal that is being processed; absent outside of the worker. */
  readonly turn?: Turn;
}

/** An observer of a plugin. */
interface NamedObserver {
  readonly plugin: string;
  readonly observer: (report: unknown) => void | Promise<void>;
}

/** Returns the observers with a name. */
function observersOf({ plugins }: AppRuntime, name: keyof Observers): readonly NamedObserver[] {
  return plugins.flatMap(({ name: plugin, observe }) => {
    const observer = observe?.[name] as NamedObserver["observer"] | undefined;
    return observer === undefined ? [] : [{ plugin, observer }];
  });
}

function logFailure({ log }: AppRuntime, plugin: string, observer: keyof Observers, err: unknown): void {
  log.error("observer failed", { event: "observer.failed", plugin, observer, err });
}

/** Calls an observer of every plugin that has it. Never throws, and does not wait for them. */
export function notify<Name extends keyof Observers>(
  runtime: AppRuntime,
  name: Name,
  report: Parameters<Observers[Name]>[0],
): void {
  for (const { plugin, observer } of observersOf(runtime, name)) {
    try {
      Promise.resolve(observer(report)).catch((error) => logFailure(runtime, plugin, name, error));
    } catch (error) {
      logFailure(runtime, plugin, name, error);
    }
  }
}

/** Milliseconds that the report of a change waits for an observer. */
const OBSERVER_MS = 10_000;

/** Number of times that an observer is called if the storage fails, such as that of `host.outbox`, and the pause (ms) between. */
const OBSERVER_ATTEMPTS = 3;
const OBSERVER_PAUSE_MS = 1000;

/**
 * Calls an observer of every plugin that has it, and waits for them. One that throws, or takes too long, has been notified.
 *
 * @throws the reason of `runtime.signal` if the app closes meanwhile
 */
export async function notifyAndWait<Name extends keyof Observers>(
  runtime: AppRuntime,
  name: Name,
  report: Parameters<Observers[Name]>[0],
): Promise<void> {
  const { time, signal } = runtime;
  await Promise.all(
    observersOf(runtime, name).map(async ({ plugin, observer }) => {
      try {
        await withTimeout(time, signal, OBSERVER_MS, (signal) => callObserver(time, signal, () => observer(report)));
      } catch (error) {
        signal.throwIfAborted();
        logFailure(runtime, plugin, name, error);
      }
    }),
  );
}

/** Calls an observer, and again if the storage fails: it is not called later. */
async function callObserver(
  time: Time,
  signal: AbortSignal,
  call: () => void | Promise<void>,
): Promise<void> {
  for (let attempt = 1;; attempt++) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof StorageError) || attempt === OBSERVER_ATTEMPTS) throw error;
      await delay(time, OBSERVER_PAUSE_MS, signal);
    }
  }
}

/** Returns the app's logger with the portal and the name of an event added to each line. */
export function eventLog(runtime: AppRuntime, event: B24Event): Logger {
  return withFields(runtime.log, { memberId: event.auth.memberId, eventName: wireName(event) });
}

/** Returns the context of an event whose portal may be unknown, for plugins of phase `verify`. */
export function makeContext(
  runtime: AppRuntime,
  event: B24Event,
  { record, receivedAt = runtime.clock(), signal = runtime.signal }: {
    readonly record?: PortalRecord | undefined;
    readonly receivedAt?: number;
    readonly signal?: AbortSignal;
  } = {},
): Context {
  return {
    event,
    receivedAt,
    log: eventLog(runtime, event),
    signal,
    ...defined({ portal: record && snapshot(record) }),
  };
}

/** Returns the context in which plugins and handlers work on an event. `leaseSignal` is aborted when the lease is lost. */
export function makeHandlerContext(
  runtime: AppRuntime,
  event: B24Event,
  record: PortalRecord,
  { receivedAt, leaseSignal }: { readonly receivedAt?: number; readonly leaseSignal?: AbortSignal } = {},
): HandlerContext {
  const signal = leaseSignal === undefined ? runtime.signal : AbortSignal.any([runtime.signal, leaseSignal]);
  return {
    ...makeContext(runtime, event, { signal, ...defined({ receivedAt }) }),
    portal: snapshot(record),
    confirmed: isConfirmed(record, event),
  };
}

/** Returns whether the version or the removal that the event is about is more than believed. */
function isConfirmed(
  { removalBelievedAt, isCleanUnsure, isTargetUnconfirmed }: PortalRecord,
  event: B24Event,
): boolean {
  if (event.name === "ONAPPUNINSTALL") {
    return removalBelievedAt === undefined && !(event.data.clean && isCleanUnsure === true);
  }
  return !(event.name === "ONAPPUPDATE" || event.name === "ONAPPINSTALL") || isTargetUnconfirmed === undefined;
}

/** Returns a copy of a thrown value, without the tokens of its event, its portal, and those that were issued. */
export function safeError(runtime: AppRuntime, thrown: unknown, event: B24Event, record?: PortalRecord): Error {
  const stored = (record?.tokens ?? [])
    .flatMap((pair) => [pair, pair.pending?.systemUser ?? []].flat())
    .flatMap(({ accessToken, refreshToken = "" }) => [accessToken, refreshToken])
    .map((token) => new Secret(token));
  return redactError(thrown, [...secretsIn(event), ...runtime.issuedTokens(event.auth.memberId), ...stored]);
}

function secretsIn(value: unknown): Secret[] {
  if (value instanceof Secret) return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(secretsIn) : [];
}
