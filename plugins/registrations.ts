/**
 * Keeps an app's registrations as declared: event handlers, placements, robots and the like, which an update of the app
 * can remove.
 *
 * @module
 */
import {
  checkOptions,
  type Context,
  currentRehearsal,
  option,
  type OptionRules,
  type Plugin,
  type Portal,
} from "../mod.ts";
import type { BatchOutcome, HasB24Batch } from "./registrations/batch.ts";
import type { RegistrationChange } from "./registrations/changes.ts";
import type {
  ConnectorRegistration,
  Declaration,
  EventRegistration,
  MessageSenderRegistration,
  PlacementRegistration,
  RobotRegistration,
  TriggerRegistration,
  UserFieldTypeRegistration,
} from "./registrations/declaration.ts";
import { createReconciler } from "./registrations/reconciler.ts";

export type {
  BatchOutcome,
  ConnectorRegistration,
  Declaration,
  EventRegistration,
  HasB24Batch,
  MessageSenderRegistration,
  PlacementRegistration,
  RegistrationChange,
  RobotRegistration,
  TriggerRegistration,
  UserFieldTypeRegistration,
};

/** A portal whose registrations are compared or changed. */
export interface RegistrationTarget {
  /** Client of the portal's REST: `portals.portal(memberId)` of `rest()`. */
  readonly b24: HasB24Batch["b24"];
  /** The portal as `app.portal` returns it. */
  readonly portal: Portal;
}

const TARGET_RULES: OptionRules<RegistrationTarget> = {
  b24: option.required(option.value(
    "a client of the portal, such as portals.portal(memberId) of rest()",
    (b24) => typeof (Object(b24) as Partial<RegistrationTarget["b24"]>).batch === "function",
  )),
  portal: option.required(option.value(
    "the portal as app.portal() returns it",
    (portal) => typeof (Object(portal) as Partial<Portal>).memberId === "string",
  )),
};

/**
 * Other members are accepted: the context of a handler is a target.
 *
 * @throws {TypeError} if a member is missing or invalid
 */
function checkTarget(action: string, target: RegistrationTarget): void {
  const { b24, portal } = Object(target) as RegistrationTarget;
  checkOptions(action, { b24, portal }, TARGET_RULES);
}

/** The plugin, with its functions for use outside of runs. */
export interface Registrations extends Plugin<HasB24Batch> {
  /**
   * Returns what {@linkcode Registrations.apply} would do. Changes nothing.
   *
   * @throws {TypeError} if a member of `target` is missing or invalid
   * @throws {B24Error} if Bitrix24 refuses to list the registrations
   * @throws the other errors of `b24.batch`
   */
  readonly plan: (target: RegistrationTarget) => Promise<readonly RegistrationChange[]>;
  /**
   * Adds, updates and removes registrations until the portal has those that are declared, and resolves to what it did.
   * Idempotent, also for concurrent calls.
   *
   * @throws {TypeError} if a member of `target` is missing or invalid
   * @throws {B24Error} if Bitrix24 refused a registration, after all others are done
   * @throws the other errors of `b24.batch`
   */
  readonly apply: (target: RegistrationTarget) => Promise<readonly RegistrationChange[]>;
}

/** Options of {@linkcode registrations}. */
export interface RegistrationsOptions {
  /**
   * Whether checks, by `app.check` or scheduled, restore missing registrations. Otherwise they only report them.
   *
   * @default true
   */
  readonly repair?: boolean;
}

const OPTION_RULES: OptionRules<RegistrationsOptions> = { repair: option.flag() };

/**
 * Registers what is declared: at the start of each run, because an update can remove all registrations, and when a portal
 * is checked. It lists what is registered, compares, and adds, updates and removes the difference in few requests. A
 * function can declare something else for each version.
 *
 * - Of the declared kinds, registrations that are not declared are removed: Bitrix24 lists only those of this app. It
 *   lists connectors of other apps too, so a connector is removed only if the previous version declared it.
 * - Robots, activities and message senders are listed by code only, so changes of them cannot be detected. They are
 *   updated at each run, but not at checks. Placements have no update method, so they are unbound and bound again.
 * - The plugin needs an administrator's tokens and the scopes of the declared kinds. If a scope is missing, the other
 *   kinds are applied, and the portal is blocked until it is granted. Kinds that the portal's plan does not include are
 *   left out there.
 *
 * @throws {TypeError} if the declaration or an option is invalid; the message names the field. That of a function is validated when it
 * is called, and parks the run.
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage } from "@b24/onappupdate";
 * import { registrations } from "@b24/onappupdate/registrations";
 * import { rest } from "@b24/onappupdate/rest";
 * import assert from "node:assert/strict";
 *
 * const handler = "https://app.example.com/b24";
 * const tab = { placement: "CRM_DEAL_DETAIL_TAB", handler: `${handler}/deal`, title: "Rating" };
 * createApp({ storage: memoryStorage() })
 *   .use(rest())
 *   .use(registrations((version) => ({
 *     events: [{ event: "ONCRMDEALADD", handler: `${handler}/events` }],
 *     placements: version === "1.0.0" ? [] : [tab],
 *   })));
 *
 * assert.throws(() => registrations({ triggers: [{ code: "", name: "Paid" }] }), /triggers\.0\.code/);
 * ```
 */
export function registrations(
  declare: Declaration | ((version: string, portal: Portal) => Declaration),
  options: RegistrationsOptions = {},
): Registrations {
  checkOptions("cannot keep registrations", options, OPTION_RULES);
  const { repair = true } = options;
  const { plan, apply, check } = createReconciler(declare);
  return {
    name: "registrations",
    plan: async (target) => {
      checkTarget("cannot plan registrations", target);
      return await plan(target);
    },
    apply: async (target) => {
      checkTarget("cannot apply registrations", target);
      return await apply(target);
    },
    rehearsal: true,
    around: async (ctx, next) => {
      const { event, portal, b24, log } = ctx;
      const isRun = event.name === "ONAPPUPDATE" || event.name === "ONAPPINSTALL";
      if (isRun && portal?.status === "installed") {
        const changes = await apply({ b24, portal }, log);
        currentRehearsal()?.reportChanges("registrations", changes);
      }
      await next();
    },
    check: async ({ portal, b24, log }: Context & HasB24Batch) => {
      // The run of a portal below its target applies its registrations.
      if (portal?.status !== "installed" || portal.version !== portal.target) return [];
      return await check({ b24, portal }, log, repair);
    },
  };
}
