/**
 * Puts an app's registrations where they belong: event handlers, placements, robots and the like, which an update of the
 * app may have removed.
 *
 * @module
 */
import { B24Error, type Context, type Logger, NonRetriableError, type Plugin, type Portal } from "../mod.ts";
import { apply } from "./registrations/applying.ts";
import type { BatchOutcome, HasB24Batch } from "./registrations/batch.ts";
import { compare, type Comparison, type RegistrationChange } from "./registrations/changes.ts";
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
import { assertDeclaration } from "./registrations/rules.ts";

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

/** A portal whose registrations are looked at. */
export interface RegistrationTarget {
  /** Its client: `portals.portal(memberId)` of `rest()`. */
  readonly b24: HasB24Batch["b24"];
  /** As `app.portal` gives it. */
  readonly portal: Portal;
}

/** The plugin, and what it does, for other code than runs. */
export interface Registrations extends Plugin<HasB24Batch> {
  /**
   * What {@linkcode Registrations.apply} would do; changes nothing.
   *
   * @throws {B24Error} and all else that `b24.batch` throws, when the portal refuses to say what is there
   */
  readonly plan: (target: RegistrationTarget) => Promise<readonly RegistrationChange[]>;
  /**
   * Adds, updates and removes until the portal has what is declared. Done twice is done once; two at the same time do no
   * harm. Resolves to what was done.
   *
   * @throws {B24Error} and all else that `b24.batch` throws, when something was refused: all else is done by then
   */
  readonly apply: (target: RegistrationTarget) => Promise<readonly RegistrationChange[]>;
}

/** Options of {@linkcode registrations}. */
export interface RegistrationsOptions {
  /** Whether a check (`app.check`, and now and then) puts back what is missing, besides telling; default true. */
  readonly repair?: boolean;
}

/**
 * Registers what is declared: before the upgrades of an update or an installation run, for an update may have removed
 * everything, and now and then when a portal is checked. It lists what is there, compares, and adds, updates and removes
 * in few requests. With a function, each version has a declaration of its own.
 *
 * What Bitrix24 lists is this app's own, so what is there and not declared is removed, of the kinds that are declared.
 * Connectors are an exception: Bitrix24 lists those of others too, so one is removed only when the declaration of the
 * version before had it.
 *
 * Robots, activities and message senders are listed by their codes alone: whether one has changed cannot be seen, so they
 * are updated at each run, and not at checks. A placement has no update: it is unbound and bound.
 *
 * Needs an administrator's tokens, and the scopes of its kinds. Where one is missing, the other kinds are done, and the
 * portal waits for it. Kinds whose methods a portal does not have, as with robots in smaller plans, are left out there.
 *
 * @throws {TypeError} when the declaration has a mistake, naming the field; a function's is found when it is called
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
  { repair = true }: RegistrationsOptions = {},
): Registrations {
  if (typeof declare !== "function") assertDeclaration(declare);

  function declared(version: string | undefined, portal: Portal): Declaration {
    if (typeof declare !== "function") return declare;
    try {
      const declaration = declare(version ?? "", portal);
      assertDeclaration(declaration);
      return declaration;
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      // Trying again would not help, and a person is to see it.
      throw new NonRetriableError(error.message, { cause: error });
    }
  }

  /** `isRun`: also what cannot be seen is brought up to date. */
  async function look({ b24, portal }: RegistrationTarget, isRun: boolean): Promise<Comparison> {
    const now = declared(portal.target ?? portal.version, portal);
    return await compare(b24, now, () => declared(portal.version, portal), isRun);
  }

  async function applied(target: RegistrationTarget, log?: Logger): Promise<readonly RegistrationChange[]> {
    const { todo, errors: unlisted, absent } = await look(target, true);
    const refusals = await apply(target.b24, todo);
    const errors = [...unlisted, ...refusals.map(({ error }) => error)];
    const changes = todo.map(({ change }) => change);
    if (absent.length > 0) log?.warn("registrations that the portal cannot have are left out", { left: absent });
    // One that can be waited for says less than one that cannot.
    const worst = errors.find((error) => !(error instanceof B24Error) || error.blockedOn === undefined) ?? errors[0];
    if (worst !== undefined) {
      const refused = errors.map(({ message }) => message);
      log?.warn("some registrations were refused", { ...countsOf(changes), refused });
      throw worst;
    }
    log?.info("registrations are in place", countsOf(changes));
    return changes;
  }

  return {
    name: "registrations",
    plan: async (target) => {
      const { todo, errors } = await look(target, true);
      if (errors[0] !== undefined) throw errors[0];
      return todo.map(({ change }) => change);
    },
    apply: (target) => applied(target),
    around: async (ctx, next) => {
      const { event, portal, b24, log } = ctx;
      const isRun = event.name === "ONAPPUPDATE" || event.name === "ONAPPINSTALL";
      if (isRun && portal?.status === "installed") await applied({ b24, portal }, log);
      await next();
    },
    check: async (ctx: Context & HasB24Batch) => {
      const { portal, b24, log } = ctx;
      // One on its way has them put in place by its run.
      if (portal?.status !== "installed" || portal.version !== portal.target) return [];
      const { todo, errors, absent } = await look({ b24, portal }, false);
      const drift = todo.filter(({ change }) => change.action !== "keep");
      const refusals = repair ? await apply(b24, drift) : [];
      const refused = new Set(refusals.map(({ todo }) => todo));
      if (drift.length > 0) {
        const repaired = repair && refused.size === 0;
        log.warn("registrations had changed", { repaired, ...countsOf(drift.map(({ change }) => change)) });
      }
      return [
        ...drift.map((one) => {
          const { kind, id, why } = one.change;
          return `${kind} ${id}: ${why}${repair && !refused.has(one) ? "; put right" : ""}`;
        }),
        ...[...errors, ...refusals.map(({ error }) => error)].map(({ message }) => message),
        ...absent,
      ];
    },
  };
}

function countsOf(changes: readonly RegistrationChange[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { action } of changes) counts[action] = (counts[action] ?? 0) + 1;
  return counts;
}
