/** The plugin contract. */
import { option, type OptionRules } from "../check_options.ts";
import type { ConfirmMode } from "../portal/event_facts.ts";
import type { Secret } from "../secret.ts";
import type { Context } from "./context.ts";
import type { PluginHost } from "./host.ts";
import { OBSERVER_RULES, type Observers } from "./observers.ts";
import type { ForgottenPortal } from "./forgotten_portal.ts";
import { OUTBOX_RULES, type OutboxHandler } from "./outbox.ts";
import { type Tracing, TRACING_RULES } from "./tracing.ts";
import { type VerificationPolicy, verificationRules } from "./verification_policy.ts";

/**
 * A plugin verifies events, extends the context of handlers, wraps the work on events, checks portals, observes, delivers
 * messages, or works from time to time. All members except `name` are optional.
 *
 * `Needs` is what earlier plugins must add to the context, and `Adds` is what this plugin adds. `app.use` checks both at
 * compile time. `app.use` also checks the members of the plugin. A plugin may have members of its own, and be an instance
 * of a class; but a member of its own that looks like a misspelled one of these, or like an observer outside of `observe`, is
 * refused, for it would never be called. Do not rely on `this`: use closures or arrow functions.
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
  // Function properties, not methods, so that the compiler checks their variance.
  /** Unique within an app. */
  readonly name: string;
  /**
   * `verify`: runs before an event takes effect, and decides whether it is authentic: when the event is received and, if
   * that cannot be decided then, again later. `handle`: runs around the work that an
   * event causes, which may happen after the answer, in another process, and again after a failure.
   *
   * @default "handle"
   */
  readonly phase?: "verify" | "handle";
  /** The policy by which waiting events are verified. Only in phase `verify`; the first plugin that has it counts. */
  readonly verificationPolicy?: VerificationPolicy;
  /** Called once, before the first event. If it throws, the app does not start. */
  readonly setup?: (host: PluginHost) => void | Promise<void>;
  /**
   * The keys that `extend` returns. If two plugins declare the same key, the app does not start; a conflict that is not
   * declared fails the first event instead. The compiler finds both.
   */
  readonly adds?: readonly (keyof Adds & string)[];
  /** Returns the members to add to the context of an event. Not allowed in phase `verify`. */
  readonly extend?: (ctx: Context & Needs) => Adds | Promise<Adds>;
  /**
   * Wraps the plugins after it and the work on the event. It calls `next()` once and awaits it.
   *
   * In phase `verify`, `next(verification)` accepts the event. Throw `NotAuthenticError` if the event is not authentic
   * (answered 403). Throw `CannotVerifyError` if that cannot be decided now: the event is stored, answered 200, and
   * verified later, when `ctx.stage` is `"later"`; it has no effect before. While `ctx.stage` is `"received"`, call no other
   * host. Returning without a call of `next()` refuses the event.
   *
   * In phase `handle`, returning without a call of `next()` skips the handlers permanently. A failure of the handlers, or
   * of a later plugin, is retried even if this plugin catches it.
   */
  readonly around?: (
    ctx: Context & Needs & Adds,
    next: (verification?: Verification) => Promise<void>,
  ) => Promise<void>;
  /**
   * Checks a portal and returns its problems, one sentence each; it may repair what it finds. An error that it throws is
   * reported as a problem.
   *
   * Called by `app.check`, after contacts of the portal, and for silent portals, while no worker processes the portal.
   * `ctx.event` is a synthetic ONAPPUPDATE.
   */
  readonly check?: (ctx: Context & Needs & Adds) => Promise<readonly string[]>;
  /** Functions that are notified, and that change nothing: an error that they throw is logged. */
  readonly observe?: Partial<Observers>;
  /** Functions that follow the work of the app. Only one plugin of an app may have them. */
  readonly tracing?: Tracing;
  /** Delivers what the plugin puts into `host.outbox`, in a started app. */
  readonly outbox?: OutboxHandler;
  /**
   * Erases what the plugin stores of a portal elsewhere than under `["portal", memberId, …]`. Called by `app.admin.forget`, which
   * rejects with what it throws; a further call calls it again. For messages in the outbox, see {@linkcode OutboxHandler.forget}.
   */
  readonly forget?: (portal: ForgottenPortal) => void | Promise<void>;
  /**
   * Called in every tick of a started app, in each process, beside the work on portals: every `tickEveryMs` milliseconds, and by
   * `app.tick()`, which waits for it. One call at a time in a process. A call that takes longer than a minute has failed, and
   * its `signal` is aborted, as it is when the app closes. An error that it throws is logged.
   */
  readonly tick?: (context: { readonly signal: AbortSignal }) => void | Promise<void>;
  /**
   * `app.rehearse` uses `extend` and `around` of the plugin. Set it only if everything that they, and what they add to contexts,
   * change goes through the members of {@linkcode PluginHost}: these change nothing in a rehearsal, and reject with
   * `NotRehearsedError` if they can do no more. {@linkcode currentRehearsal} tells a rehearsal from a run.
   *
   * @default false
   */
  readonly rehearsal?: boolean;
  /** Called once, when the app closes, in the reverse order of `app.use`. */
  readonly close?: () => void | Promise<void>;
}

/** The rules of a {@linkcode Plugin}. */
export const PLUGIN_RULES: OptionRules<Plugin> = {
  name: option.required(option.text("a name that is unique within the app")),
  phase: option.oneOf("verify", "handle"),
  verificationPolicy: option.object(verificationRules),
  setup: option.function(),
  adds: option.list("a list of the keys that extend() returns", option.text("a key that extend() returns")),
  extend: option.function(),
  around: option.function(),
  check: option.function(),
  observe: option.object(OBSERVER_RULES),
  tracing: option.object(TRACING_RULES),
  outbox: option.object(OUTBOX_RULES),
  forget: option.function(),
  tick: option.function(),
  rehearsal: option.flag(),
  close: option.function(),
};

/** The result of a plugin of phase `verify`. The core stores it with the event and in the portal's record. */
export interface Verification {
  /**
   * The event's `application_token`, if an administrator's access token proves it. It becomes the portal's, and the one
   * before it a previous one. If it is absent and `tokens.isAdmin` too, the app asks later whether the user is one.
   */
  readonly applicationToken?: Secret;
  /** The address of the portal's REST API, as Bitrix24 itself reports it. */
  readonly clientEndpoint?: string;
  /** The installed VERSION, as Bitrix24 itself reports it. It overrides the event's. */
  readonly installedVersion?: string;
  /** The scopes that the portal grants to the app, as Bitrix24 itself reports them. */
  readonly scope?: readonly string[];
  /**
   * The version, the removal or the payment state in the event is a claim: the app asks Bitrix24 before it takes effect.
   * If there is no token to ask with, a version waits for one (`"always"`) or is believed (`"when-possible"`), a removal is
   * believed, and a payment state is not. Without this member, the plugin vouches for the event.
   *
   * Pass `installedVersion` too: without it, a new portal has no version until its first ONAPPUPDATE, whose
   * PREVIOUS_VERSION is not confirmed.
   */
  readonly claims?: ConfirmMode;
  /**
   * The owner and the scopes of the event's access token, which is authentic. If it is absent, the event's tokens are stored
   * as unverified, and not used before an OAuth host has confirmed them.
   */
  readonly tokens?: {
    readonly userId?: number;
    readonly scope: readonly string[];
    /** Whether the user is an administrator, as the portal itself says; absent if it has not answered. */
    readonly isAdmin?: boolean;
  };
}
