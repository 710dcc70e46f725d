/** The rehearsal that the caller runs in, for plugins and for the app's own functions. */
import type { PortalCredentialsProvider } from "../credentials/contract.ts";
import { createAsyncContext } from "../net/runtime.ts";

/** A change that a plugin would make, such as that of a registration. */
export interface RehearsedChange {
  /** Kind of what would change, such as `placements`. */
  readonly kind: string;
  /** Identifies what would change, for people. */
  readonly id: string;
  /** The action; `keep` does nothing. */
  readonly action: "add" | "update" | "remove" | "keep";
  /** Reason for people. */
  readonly why: string;
}

/** A rehearsal, as plugins see it. */
export interface RehearsalScope {
  /** The `member_id` of the portal that is rehearsed. */
  readonly memberId: string;
  /**
   * Returns whether `host.portalFetch` answers a call without the portal: it writes, or an earlier rehearsal has recorded its
   * answer. Such a call need not wait for the portal's rate. `api/` before the name of a method makes it one of REST 3.0.
   */
  readonly answers: (method: string, params: object) => boolean;
  /** Tells the rate of the portal's REST, by which the report estimates the time of a run: see `B24Rate` of `./rest`. */
  readonly setRate: (rate: { readonly burst: number; readonly perSecond: number }) => void;
  /** Adds to the report what the plugin would change. */
  readonly reportChanges: (plugin: string, changes: readonly RehearsedChange[]) => void;
}

/** A rehearsal, as the core sees it. */
export interface RunningRehearsal {
  readonly scope: RehearsalScope;
  /** The credentials of the portal. They store nothing but refreshed token pairs. */
  readonly credentials: PortalCredentialsProvider;
  /** Answers a request to the portal. Reads that are not recorded are sent by `send`. */
  readonly portalFetch: (send: typeof fetch, ...request: Parameters<typeof fetch>) => Promise<Response>;
  /** Refuses a request to any other host. */
  readonly refuseFetch: (...request: Parameters<typeof fetch>) => Promise<never>;
}

const rehearsals = createAsyncContext<RunningRehearsal | undefined>();

/** Number of rehearsals in this process: an app that never rehearses does not look for one. */
let running = 0;

/** Returns the rehearsal that the caller runs in; `undefined` outside of rehearsals. */
export function runningRehearsal(): RunningRehearsal | undefined {
  return running === 0 ? undefined : rehearsals.getStore();
}

/** Runs `work` in a rehearsal. What it leaves behind stays in the rehearsal. */
export function runInRehearsal<T>(rehearsal: RunningRehearsal, work: () => T): T {
  // Never lowered: a handler that ignores its signal may go on after the rehearsal, and must not write then.
  running++;
  return rehearsals.run(rehearsal, work);
}

/** Runs `work` outside of the rehearsal that the caller runs in. */
export function outsideRehearsal<T>(work: () => T): T {
  return running === 0 ? work() : rehearsals.run(undefined, work);
}

/**
 * Returns a function that runs work where this function was called: in the same rehearsal, or outside of any. For members of a
 * context that call portals: a queue or an event emitter of a handler may call them where other work began, such as a
 * rehearsal from a run. They must neither write in a rehearsal, nor take its answers for those of the portal in a run.
 *
 * @example
 * ```ts
 * import { type Plugin, type PluginHost, rehearsalSnapshot } from "@b24/onappupdate";
 *
 * export function profile(): Plugin<object, { profile: () => Promise<Response> }> {
 *   let host: PluginHost;
 *   const send = (memberId: string): Promise<Response> =>
 *     host.credentials.call(memberId, ({ accessToken, clientEndpoint }) =>
 *       host.portalFetch(`${clientEndpoint}profile`, {
 *         method: "POST",
 *         headers: { "content-type": "application/json" },
 *         body: JSON.stringify({ auth: accessToken.reveal() }),
 *       }));
 *   return {
 *     name: "profile",
 *     adds: ["profile"],
 *     setup: (appHost) => {
 *       host = appHost;
 *     },
 *     extend: ({ event }) => {
 *       const here = rehearsalSnapshot();
 *       return { profile: () => here(() => send(event.auth.memberId)) };
 *     },
 *     rehearsal: true,
 *   };
 * }
 * ```
 */
export function rehearsalSnapshot(): <T>(work: () => T) => T {
  const here = runningRehearsal();
  return (work) => runningRehearsal() === here ? work() : rehearsals.run(here, work);
}

/** Returns functions that run where this function was called; see {@linkcode rehearsalSnapshot}. */
export function boundHere<T extends Readonly<Record<string, (...args: never[]) => unknown>>>(functions: T): T {
  const here = rehearsalSnapshot();
  const bound = Object.entries(functions).map(([name, run]) => [name, (...args: never[]) => here(() => run(...args))]);
  return Object.fromEntries(bound) as T;
}

/** Returns whether this runtime environment can tell what runs in a rehearsal. */
export function canRehearse(): boolean {
  const probe = {} as RunningRehearsal;
  return rehearsals.run(probe, () => rehearsals.getStore()) === probe;
}

/**
 * Returns the rehearsal that the caller runs in; `undefined` in a run, outside of handlers, and on a host without
 * `node:async_hooks`. For plugins with `rehearsal: true`.
 *
 * @example
 * ```ts
 * import { currentRehearsal, type Plugin } from "@b24/onappupdate";
 *
 * export function mailer(send: (text: string) => Promise<void>): Plugin<object, { mail: typeof send }> {
 *   const mail = async (text: string): Promise<void> => {
 *     if (currentRehearsal() === undefined) await send(text);
 *   };
 *   return { name: "mailer", adds: ["mail"], extend: () => ({ mail }), rehearsal: true };
 * }
 * ```
 */
export function currentRehearsal(): RehearsalScope | undefined {
  return runningRehearsal()?.scope;
}
