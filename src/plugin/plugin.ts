/** The plugin contract: what everybody can write to add to an app. */
import type { Secret } from "../secret.ts";
import type { Context } from "./context.ts";
import type { PluginHost } from "./host.ts";
import type { Observers } from "./observers.ts";

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
  readonly setup?: (host: PluginHost) => void | Promise<void>;
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
   * In phase `verify`: `next(proof)` lets the event through; throw `NotAuthenticError` (answered 403) when it does not
   * match and `CannotVerifyError` (answered 503) when you cannot tell. Returning without `next()` is a refusal too.
   *
   * In phase `handle`: not calling `next()` skips the handlers for good. A failure of the handlers, or of a plugin
   * after this one, stays a failure, and is tried again, also when you catch it.
   */
  readonly around?: (ctx: Context & Needs & Adds, next: (proof?: Verification) => Promise<void>) => Promise<void>;
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
export interface Verification {
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
