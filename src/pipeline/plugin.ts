/** The plugin contract: what everybody can write to add to an app. */
import type { AppInfo } from "../access/oauth.ts";
import type { PortalAccess } from "../access/portal_access.ts";
import type { WaitReason } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { B24Event } from "../wire/events.ts";
import type { Secret } from "../secret.ts";
import type { Context } from "./context.ts";

/**
 * Adds to the context, wraps the handling of events, or observes. `Needs` is what plugins before it must have added,
 * `Adds` what it adds itself; the compiler checks both in `app.use`.
 *
 * Members are function properties, not methods, so that the compiler checks their variance.
 *
 * @example
 * ```ts
 * import type { Plugin } from "@b24/onappupdate";
 *
 * interface HasDatabase {
 *   readonly database: Map<string, string>;
 * }
 *
 * export function database(): Plugin<object, HasDatabase> {
 *   const database = new Map<string, string>();
 *   return { name: "database", adds: ["database"], extend: () => ({ database }) };
 * }
 *
 * export function audit(): Plugin<HasDatabase> {
 *   return {
 *     name: "audit",
 *     around: async (ctx, next) => {
 *       await next();
 *       ctx.database.set(ctx.event.auth.memberId, ctx.event.name);
 *     },
 *   };
 * }
 * ```
 */
export interface Plugin<Needs extends object = object, Adds extends object = object> {
  /** Unique in an app. */
  readonly name: string;
  /**
   * `verify`: before anything is stored, decides whether the event is genuine. `handle`, the default: around the
   * work that an event causes, which may happen after the answer, in another process, and again after a failure.
   */
  readonly phase?: "verify" | "handle";
  /** Once, before the first event. A throw stops the app from starting. */
  readonly setup?: (host: Host) => void | Promise<void>;
  /**
   * Keys of `extend`'s result. Two plugins with the same key are refused at start by what they declare here, and by
   * the compiler in any case; without it, at the first event.
   */
  readonly adds?: readonly (keyof Adds & string)[];
  /** What to add to the context of an event; not in phase `verify`. */
  readonly extend?: (ctx: Context & Needs) => Adds | Promise<Adds>;
  /**
   * Wraps what comes after it, onion-like in the order of `app.use`. Call `next()` once.
   *
   * In phase `verify`: `next(proof)` lets the event through; throw `NotGenuineError` (answered 403) when it does not
   * match and `CannotVerifyError` (answered 503) when you cannot tell. Returning without `next()` is a refusal too.
   *
   * In phase `handle`: not calling `next()` skips the handlers for good. A failure of the handlers, or of a plugin
   * after this one, stays a failure, and is tried again, also when you catch it.
   */
  readonly around?: (ctx: Context & Needs & Adds, next: (proof?: Proof) => Promise<void>) => Promise<void>;
  /**
   * What keeps the portal from working as it should, one text for people each; it may put right what it finds. Called by
   * `app.check`, after contacts and by the sweep of silent portals, with an ONAPPUPDATE that did not come. A throw is
   * reported like a finding.
   */
  readonly check?: (ctx: Context & Needs & Adds) => Promise<readonly string[]>;
  /** Is told what happens and never changes it: a throw is logged. */
  readonly observe?: Partial<Observers>;
  /** Once, when the app closes. */
  readonly close?: () => void | Promise<void>;
}

/** What a plugin of phase `verify` found out. The core alone writes it into the portal's record. */
export interface Proof {
  /** This token is genuine; the stored one is kept as the previous one if it differs. */
  readonly applicationToken?: Secret;
  /** Where Bitrix24 itself says that the portal's REST is. */
  readonly clientEndpoint?: string;
  /** VERSION of which Bitrix24 itself says that it is installed. It outweighs the event's. */
  readonly installedVersion?: string;
  /** What Bitrix24 itself says that the portal lets the app do. */
  readonly scope?: readonly string[];
  /** The event's access token is genuine: whose it is, and what it allows. Unproved tokens are never used. */
  readonly tokens?: { readonly userId?: number; readonly scope: readonly string[] };
}

/** What the app gives to a plugin's `setup`. */
export interface Host {
  /** `client_id` of the app, if it was given. */
  readonly clientId?: string;
  /** `client_secret` of the app, if it was given. */
  readonly clientSecret?: Secret;
  /** For requests to hosts of the vendor's own choice: tests inject theirs. */
  readonly fetch: typeof fetch;
  /**
   * For requests to portals, and to any other host that was not the vendor's choice: https to public hosts only, and
   * redirects are handed back instead of followed.
   *
   * @throws {AddressError} out of the promise, when the host is refused
   */
  readonly portalFetch: typeof fetch;
  /** What it takes to call portals: their addresses and access tokens. */
  readonly access: PortalAccess;
  /**
   * Asks the app's OAuth hosts whose an access token is; `server` is where an event says that it comes from, and is
   * asked first if it is one of them.
   *
   * @throws {B24Error} out of the promise, when a host refuses the token
   * @throws {UnreachableError} out of the promise, when that cannot be found out now
   */
  readonly appInfo: (accessToken: Secret, server?: string) => Promise<AppInfo>;
  /** Milliseconds since 1970: tests inject theirs. */
  readonly clock: () => number;
  /** A fresh, unguessable text: tests inject theirs. */
  readonly random: () => string;
  /** Adds the plugin's name to each line. */
  readonly log: Logger;
}

/** An upgrade or a portal, in reports to observers. */
export interface PortalStep {
  /** The portal. */
  readonly memberId: string;
  /** Version it comes from. */
  readonly from: string;
  /** Version it goes to. */
  readonly to: string;
}

/** A step of an upgrade, in reports to observers. */
export interface UpgradeStep extends PortalStep {
  /** Id of the upgrade. */
  readonly upgradeId: string;
  /** Name of the step. */
  readonly step: string;
  /** 1 at the first time. */
  readonly attempt: number;
}

/** An upgrade that failed, in reports to observers. */
export interface UpgradeFailure extends PortalStep {
  /** Id of the upgrade; absent when a plugin failed before it, such as one that puts registrations back. */
  readonly upgradeId?: string;
  /** Name of the step that failed, if it was in one. */
  readonly step?: string;
  /** How often it has failed in a row. */
  readonly attempt: number;
  /** Without tokens. */
  readonly error: Error;
}

/**
 * What a plugin can be told. Nothing of it holds a token in readable form. Observers run in the process where it
 * happens, and a crash may swallow a report: count on storage, not on reports.
 */
export interface Observers {
  /** A genuine event is stored. */
  readonly received: (report: { readonly event: B24Event }) => void | Promise<void>;
  /** A request was refused with `status`. `memberId` is what it claims. */
  readonly rejected: (
    report: {
      readonly status: number;
      readonly error: Error;
      readonly memberId?: string;
      readonly event?: string;
    },
  ) => void | Promise<void>;
  /** An event came again; nothing is run. */
  readonly duplicate: (report: { readonly event: B24Event }) => void | Promise<void>;
  /** A portal begins to run upgrades, in this order. */
  readonly planned: (report: PortalStep & { readonly upgradeIds: readonly string[] }) => void | Promise<void>;
  /** A step of an upgrade, or a page of one, begins. */
  readonly stepStarted: (report: UpgradeStep) => void | Promise<void>;
  /** A step of an upgrade, or a page of one, has ended well. */
  readonly stepFinished: (report: UpgradeStep) => void | Promise<void>;
  /** A step of an upgrade failed; `retried` or `parked` follows. */
  readonly stepFailed: (report: UpgradeStep & { readonly error: Error }) => void | Promise<void>;
  /** An upgrade failed and is tried again at `at`, in milliseconds since 1970. */
  readonly retried: (report: UpgradeFailure & { readonly at: number }) => void | Promise<void>;
  /** An upgrade failed for good, and waits for `app.admin.retry`, `skip` or `rollback`. */
  readonly parked: (report: UpgradeFailure) => void | Promise<void>;
  /** A portal waits for what nobody here can hasten; it is looked at again at `until`, in milliseconds since 1970. */
  readonly waiting: (
    report: {
      readonly memberId: string;
      readonly for: WaitReason;
      readonly message: string;
      readonly until: number;
    },
  ) => void | Promise<void>;
  /** Bitrix24 was asked about a portal of which no event told. */
  readonly checked: (
    report: {
      readonly memberId: string;
      readonly isRaised: boolean;
      readonly problems: readonly { readonly code: string; readonly message: string }[];
    },
  ) => void | Promise<void>;
  /** One upgrade finished. */
  readonly applied: (report: PortalStep & { readonly upgradeId: string }) => void | Promise<void>;
  /** A portal is on its target. */
  readonly upgraded: (report: PortalStep) => void | Promise<void>;
  /** A portal was asked to go down; it stays where it is. */
  readonly downgrade: (report: PortalStep) => void | Promise<void>;
  /** The work of an event failed; it is tried again. */
  readonly failed: (
    report: { readonly memberId: string; readonly event: string; readonly error: Error; readonly attempt: number },
  ) => void | Promise<void>;
  /** A tick is over. */
  readonly ticked: (report: { readonly handled: number; readonly failed: number }) => void | Promise<void>;
  /** The work of an event is done. */
  readonly handled: (report: { readonly event: B24Event }) => void | Promise<void>;
}
