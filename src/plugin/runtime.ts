/** What the parts of one app share. */
import type { Time } from "../async/time.ts";
import { type Logger, withFields } from "../logger.ts";
import type { Context, HandlerContext } from "./context.ts";
import type { Plugin } from "./plugin.ts";
import type { Observers } from "./observers.ts";
import { type PortalRecord, snapshot } from "../portal/record.ts";
import type { RetryPolicy } from "../retry.ts";
import { Secret } from "../secret.ts";
import { redactError } from "../redact.ts";
import type { Storage } from "../storage/storage.ts";
import type { VersionScheme } from "../version.ts";
import { type B24Event, wireName } from "../bitrix24/events.ts";

/** A handler of `app.on`, its event checked by name. */
export type AnyHandler = (ctx: HandlerContext) => void | Promise<void>;

/** Shared by receiving and working. */
export interface AppRuntime {
  readonly storage: Storage;
  readonly versions: VersionScheme;
  readonly clock: () => number;
  /** Returns a fresh, unguessable string. */
  readonly random: () => string;
  /** Timers and the monotonic clock. */
  readonly time: Time;
  /** SHA-256 of a string, in hexadecimal. */
  readonly digest: (text: string) => Promise<string>;
  /** How long a worker has a portal without renewing it, in milliseconds. */
  readonly leaseMs: number;
  /** Of upgrades and handlers that have none of their own. */
  readonly retry: RetryPolicy;
  /** How long what a removed portal leaves is kept, in milliseconds. */
  readonly retentionMs: number;
  /** Access tokens of a portal that were given out lately: what is thrown may quote them. */
  readonly issuedTokens: (memberId: string) => readonly Secret[];
  readonly log: Logger;
  readonly plugins: readonly Plugin[];
  /** By name on the wire. */
  readonly handlers: ReadonlyMap<string, readonly AnyHandler[]>;
  /** Aborted when the app closes and has waited long enough. */
  readonly signal: AbortSignal;
}

/** Tells every observer; none of them can change or delay what happens. */
export function notify<Name extends keyof Observers>(
  core: AppRuntime,
  name: Name,
  report: Parameters<Observers[Name]>[0],
): void {
  for (const { name: plugin, observe } of core.plugins) {
    const observer = observe?.[name] as ((report: unknown) => void | Promise<void>) | undefined;
    if (observer === undefined) continue;
    const log = (error: unknown): void => core.log.error("an observer failed", { plugin, observer: name, error });
    try {
      Promise.resolve(observer(report)).catch(log);
    } catch (error) {
      log(error);
    }
  }
}

/** The app's logger with event and portal added. */
export function eventLog(core: AppRuntime, event: B24Event): Logger {
  return withFields(core.log, { memberId: event.auth.memberId, eventName: wireName(event) });
}

/** Returns the context of an event whose portal may be unknown, for plugins of phase `verify`. */
export function makeContext(
  core: AppRuntime,
  event: B24Event,
  { record, receivedAt = core.clock(), signal = core.signal }: {
    readonly record?: PortalRecord | undefined;
    readonly receivedAt?: number;
    readonly signal?: AbortSignal;
  } = {},
): Context {
  const portal = record === undefined ? {} : { portal: snapshot(record) };
  return { event, receivedAt, log: eventLog(core, event), signal, ...portal };
}

/** Returns the context in which plugins and handlers work on an event. `leaseSignal` is aborted when the lease is lost. */
export function makeHandlerContext(
  core: AppRuntime,
  event: B24Event,
  record: PortalRecord,
  { receivedAt, leaseSignal }: { readonly receivedAt?: number; readonly leaseSignal?: AbortSignal } = {},
): HandlerContext {
  const signal = leaseSignal === undefined ? core.signal : AbortSignal.any([core.signal, leaseSignal]);
  return {
    ...makeContext(core, event, { signal, ...(receivedAt === undefined ? {} : { receivedAt }) }),
    portal: snapshot(record),
  };
}

/** Whatever was thrown over `event`, without the tokens of the event, of its portal, and those that were given out. */
export function safeError(core: AppRuntime, thrown: unknown, event: B24Event, record?: PortalRecord): Error {
  const stored = (record?.tokens ?? []).flatMap(({ accessToken, refreshToken = "" }) => [accessToken, refreshToken]);
  const given = core.issuedTokens(event.auth.memberId);
  return redactError(thrown, [...secretsIn(event), ...given, ...stored.map((token) => new Secret(token))]);
}

function secretsIn(value: unknown): Secret[] {
  if (value instanceof Secret) return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(secretsIn) : [];
}
