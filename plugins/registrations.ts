/**
 * Puts an app's registrations where they belong: event handlers, placements, robots and the like, which an update of the
 * app may have removed.
 *
 * @module
 */
import * as z from "zod";
import { B24Error, type Context, Fatal, type Logger, type Plugin, type Portal } from "../mod.ts";

/** What {@linkcode registrations} needs in the context; `rest()` adds it. */
export interface HasB24Batch {
  /** A client of the portal's REST. */
  readonly b24: {
    /** Calls methods; each has its own outcome. `repeatable`: also again, when nobody knows whether they were done. */
    readonly batch: (
      commands: Readonly<Record<string, readonly [method: string, params?: object]>>,
      options?: { readonly repeatable?: boolean },
    ) => Promise<Readonly<Record<string, BatchOutcome>>>;
  };
}

/** How a command of a batch ended. */
export type BatchOutcome = { readonly ok: true; readonly value: unknown } | {
  readonly ok: false;
  readonly error: B24Error;
};

/** A handler of an event: `event.bind`. Known by event, handler, `userId` and `offline`. */
export interface EventRegistration {
  /** Such as `ONCRMDEALADD`. */
  readonly event: string;
  /** Where it is sent; absent with `offline` alone. */
  readonly handler?: string;
  /** As whose the event's tokens are sent (`auth_type`); default of whoever caused the event, and bound for whomever. */
  readonly userId?: number;
  /** It is kept in a queue on the portal instead of being sent. */
  readonly offline?: boolean;
  /** More parameters of `event.bind`, in Bitrix24's own names, which are in lower case here. */
  readonly params?: Readonly<Record<string, unknown>>;
}

/** A place in the portal's pages: `placement.bind`. Known by placement, handler and `userId`. */
export interface PlacementRegistration {
  /** Such as `CRM_DEAL_DETAIL_TAB`. */
  readonly placement: string;
  /** The page that is shown there. */
  readonly handler: string;
  /** What the tab, button or menu item is called. */
  readonly title?: string;
  /** For people. */
  readonly description?: string;
  /** For this user alone. */
  readonly userId?: number;
  /** `GROUP_NAME`, `LANG_ALL`, `OPTIONS`, `ICON`, in Bitrix24's own names. */
  readonly params?: Readonly<Record<string, unknown>>;
}

/** A robot or an activity of business processes: `bizproc.robot.add`, `bizproc.activity.add`. Known by `code`. */
export interface RobotRegistration {
  /** Never change it: robots in the customer's templates are known by it. */
  readonly code: string;
  /** Where it is called. */
  readonly handler: string;
  /** One for all languages, or by language. */
  readonly name: string | Readonly<Record<string, string>>;
  /** As whose the call's tokens are sent. */
  readonly userId?: number;
  /** `PROPERTIES`, `RETURN_PROPERTIES`, `USE_SUBSCRIPTION` and the like, in Bitrix24's own names. */
  readonly params?: Readonly<Record<string, unknown>>;
}

/** A provider of text messages: `messageservice.sender.add`. Known by `code`. */
export interface MessageSenderRegistration {
  /** Never change it. */
  readonly code: string;
  /** Where it is called. */
  readonly handler: string;
  /** For people. */
  readonly name: string;
  /** For people. */
  readonly description?: string;
}

/** A type of user fields: `userfieldtype.add`. Known by `type`. */
export interface UserFieldTypeRegistration {
  /** `USER_TYPE_ID`, in lower case. Never change it: fields of this type are known by it. */
  readonly type: string;
  /** The page that shows a field; each type needs its own. */
  readonly handler: string;
  /** For people. */
  readonly title: string;
  /** For people. */
  readonly description?: string;
  /** `OPTIONS`, in Bitrix24's own names. */
  readonly params?: Readonly<Record<string, unknown>>;
}

/** A connector of open channels: `imconnector.register`. Known by `id`. */
export interface ConnectorRegistration {
  /** Never change it. */
  readonly id: string;
  /** For people. */
  readonly name: string;
  /** `ICON`, in Bitrix24's own names: `DATA_IMAGE` and more. */
  readonly icon: Readonly<Record<string, unknown>>;
  /** The page of its settings. */
  readonly handler: string;
  /** More parameters of `imconnector.register`, in Bitrix24's own names. */
  readonly params?: Readonly<Record<string, unknown>>;
}

/** A trigger of CRM automation: `crm.automation.trigger.add`. Known by `code`. */
export interface TriggerRegistration {
  /** Never change it: the customer's automation rules know it. */
  readonly code: string;
  /** For people. */
  readonly name: string;
}

/** All that an app registers. A kind that is left out is left alone; an empty list removes all of its kind. */
export interface Declaration {
  /** Event handlers. */
  readonly events?: readonly EventRegistration[];
  /** Placements. */
  readonly placements?: readonly PlacementRegistration[];
  /** Robots of business processes. */
  readonly robots?: readonly RobotRegistration[];
  /** Activities of business processes. */
  readonly activities?: readonly RobotRegistration[];
  /** Providers of text messages. */
  readonly messageSenders?: readonly MessageSenderRegistration[];
  /** Types of user fields. */
  readonly userFieldTypes?: readonly UserFieldTypeRegistration[];
  /** Connectors of open channels. */
  readonly connectors?: readonly ConnectorRegistration[];
  /** Triggers of CRM automation. */
  readonly triggers?: readonly TriggerRegistration[];
}

/** One difference between what is declared and what is there. */
export interface RegistrationChange {
  /** Of {@linkcode Declaration}. */
  readonly kind: keyof Declaration;
  /** What it is known by, for people: without the query of its handler, which may hold a secret. */
  readonly id: string;
  /** What is to be done; `keep`: nothing. */
  readonly action: "add" | "update" | "remove" | "keep";
  /** For people. */
  readonly why: string;
}

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
   * @throws {B24Error} when something was refused: all else is done by then
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
 * createApp({ storage: memoryStorage() })
 *   .use(rest())
 *   .use(registrations((version) => ({
 *     events: [{ event: "ONCRMDEALADD", handler: `${handler}/events` }],
 *     placements: version < "3" ? [] : [{ placement: "CRM_DEAL_DETAIL_TAB", handler: `${handler}/deal`, title: "Rating" }],
 *   })));
 *
 * assert.throws(() => registrations({ triggers: [{ code: "", name: "Paid" }] }), /triggers\.0\.code/);
 * ```
 */
export function registrations(
  declare: Declaration | ((version: string, portal: Portal) => Declaration),
  { repair = true }: RegistrationsOptions = {},
): Registrations {
  const fixed = typeof declare === "function" ? undefined : checked(declare);

  function declared(version: string | undefined, portal: Portal): Declaration {
    if (fixed !== undefined) return fixed;
    try {
      return checked((declare as (version: string, portal: Portal) => Declaration)(version ?? "", portal));
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      // Trying again would not help, and a person is to see it.
      throw new Fatal(error.message, { cause: error });
    }
  }

  /** Compares. `isRun`: also what cannot be seen is brought up to date. */
  async function compare({ b24, portal }: RegistrationTarget, isRun: boolean): Promise<Compared> {
    const now = declared(portal.target ?? portal.version, portal);
    const kinds = KINDS.filter(({ key }) => now[key] !== undefined);
    // Old versions may be forgotten by now, so they are not asked for without need.
    const before = kinds.some(({ hasOthers }) => hasOthers) ? declared(portal.version, portal) : {};
    const listed = kinds.length === 0
      ? {}
      : await b24.batch(Object.fromEntries(kinds.map(({ key, list }) => [key, [list]])));
    const compared: Compared = { todo: [], errors: [], absent: [] };
    for (const kind of kinds) {
      const outcome = listed[kind.key];
      if (outcome?.ok) compared.todo.push(...todoOf(kind, now, before, outcome.value, isRun));
      else if (outcome?.error.code === "ERROR_METHOD_NOT_FOUND") compared.absent.push(kind);
      else if (outcome !== undefined) compared.errors.push(outcome.error);
    }
    return compared;
  }

  async function apply(target: RegistrationTarget, isRun: boolean): Promise<Compared> {
    const compared = await compare(target, isRun);
    // What is removed makes room for what is added: two user field types cannot have one handler.
    const order = ["remove", "update", "add", "keep"];
    const steps = compared.todo.toSorted((a, b) => order.indexOf(a.action) - order.indexOf(b.action));
    const beaten: Step[] = [];
    for (const { step, error } of await run(target, steps.flatMap(stepsOf))) {
      if (error === undefined || isGone(step, error)) continue;
      if (!isThere(step, error)) compared.errors.push(error);
      else if (step.otherwise !== undefined) beaten.push({ ...step, command: step.otherwise, already: error });
    }
    // Another process was faster; or it is there as something else, and then cannot be updated either.
    for (const { step, error } of await run(target, beaten)) {
      if (error !== undefined) compared.errors.push(/_NOT_FOUND$/.test(error.code) ? step.already! : error);
    }
    return compared;
  }

  async function applied(target: RegistrationTarget, log?: Logger): Promise<readonly RegistrationChange[]> {
    const { todo, errors, absent } = await apply(target, true);
    // One that can be waited for says less than one that cannot.
    const worst = errors.find(({ waitsFor }) => waitsFor === undefined) ?? errors[0];
    const left = absent.map(absence);
    if (left.length > 0) log?.warn("registrations that the portal cannot have are left out", { left });
    if (worst !== undefined) {
      const refused = errors.map(({ message }) => message);
      log?.warn("some registrations were refused", { ...countsOf(todo), refused });
      throw worst;
    }
    log?.info("registrations are in place", countsOf(todo));
    return todo.map(changeOf);
  }

  return {
    name: "registrations",
    plan: async (target) => {
      const { todo, errors } = await compare(target, true);
      if (errors[0] !== undefined) throw errors[0];
      return todo.map(changeOf);
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
      const { todo, errors, absent } = await (repair ? apply : compare)({ b24, portal }, false);
      const drift = todo.filter(({ action }) => action !== "keep");
      if (drift.length > 0) log.warn("registrations had changed", { repaired: repair, ...countsOf(drift) });
      return [
        ...drift.map(({ kind, id, why }) => `${kind.key} ${shown(id)}: ${why}${repair ? "; put right" : ""}`),
        ...errors.map(({ message }) => message),
        ...absent.map(absence),
      ];
    },
  };
}

interface Compared {
  readonly todo: Todo[];
  readonly errors: B24Error[];
  /** Kinds that the portal does not know. */
  readonly absent: Kind[];
}

type Command = readonly [method: string, params: object];

interface Todo {
  readonly kind: Kind;
  readonly id: string;
  readonly action: RegistrationChange["action"];
  readonly why: string;
  readonly commands: readonly Command[];
  /** Instead of the command that adds, when it is there already. */
  readonly otherwise?: Command | undefined;
}

/** One command on its way. */
interface Step extends Omit<Todo, "commands"> {
  readonly command: Command;
  /** What the command before this one was answered. */
  readonly already?: B24Error;
}

function stepsOf({ commands, ...about }: Todo): Step[] {
  return commands.map((command) => ({ ...about, command }));
}

interface Ended {
  readonly step: Step;
  readonly error?: B24Error;
}

async function run({ b24 }: RegistrationTarget, steps: readonly Step[]): Promise<Ended[]> {
  if (steps.length === 0) return [];
  // Whatever it is, doing it twice does no harm.
  const outcomes = await b24.batch(Object.fromEntries(steps.map(({ command }, i) => [`c${i}`, command])), {
    repeatable: true,
  });
  return steps.map((step, i): Ended => {
    const outcome = outcomes[`c${i}`];
    const error = outcome?.ok === false ? outcome.error : refusalIn(outcome?.value, step.command[0]);
    return error === undefined ? { step } : { step, error };
  });
}

/** Open channels have their errors in the result. */
function refusalIn(value: unknown, method: string): B24Error | undefined {
  if (!isMap(value) || text(value.error) === "") return undefined;
  const code = /^[\w.-]{1,80}$/.exec(text(value.error))?.[0] ?? "UNKNOWN_ERROR";
  return new B24Error({ code, description: text(value.error_description).slice(0, 500), status: 200, method });
}

function changeOf({ kind, id, action, why }: Todo): RegistrationChange {
  return { kind: kind.key, id: shown(id), action, why };
}

/** For people: what addresses have in their query may be a secret. */
function shown(id: string): string {
  return id.replaceAll(/\?\S*/g, "?…");
}

function absence({ key, list }: Kind): string {
  return `${key}: the portal has no ${list}`;
}

function countsOf(changes: readonly { readonly action: string }[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { action } of changes) counts[action] = (counts[action] ?? 0) + 1;
  return counts;
}

function todoOf(kind: Kind, now: Declaration, before: Declaration, listed: unknown, isRun: boolean): Todo[] {
  const there = new Map(kind.there(listed).map((one) => [one.id, one]));
  const wanted = new Map(listOf(now, kind).map((one) => [kind.id(one), one]));
  const known = new Set<string>();
  const todo: Todo[] = [];
  for (const [id, one] of wanted) {
    const isSame = (other: There): boolean => !wanted.has(other.id) && kind.isAlso?.(one, other.fields) === true;
    const found = there.get(id) ?? [...there.values()].find(isSame);
    const about = { kind, id };
    if (found === undefined) {
      const commands = [kind.add(one)];
      todo.push({ ...about, action: "add", why: "it is not there", commands, otherwise: kind.otherwise?.(one) });
      continue;
    }
    known.add(found.id);
    const differs = kind.differs?.(one, found.fields) ?? false;
    if (differs || (isRun && kind.isUnseen?.(one))) {
      const why = differs ? "it is not as declared" : "whether it has changed cannot be seen";
      todo.push({ ...about, action: "update", why, commands: kind.update!(one, found.fields) });
    } else todo.push({ ...about, action: "keep", why: "it is there", commands: [] });
  }
  const formerly = new Set(listOf(before, kind).map(kind.id));
  for (const { id, fields } of there.values()) {
    if (known.has(id) || (kind.hasOthers && !formerly.has(id))) continue;
    todo.push({ kind, id, action: "remove", why: "it is not declared", commands: [kind.remove(fields)] });
  }
  return todo;
}

/** Whether an error says that what was to be added is there. */
function isThere({ kind, command: [method] }: Step, { code, description }: B24Error): boolean {
  if (!/\.(add|bind|register)$/.test(method)) return false;
  return kind.already.test(code) || (code === "ERROR_CORE" && /already/i.test(description));
}

/** Whether an error says that what was to be removed is not there. */
function isGone({ action }: Step, { code, description }: B24Error): boolean {
  if (action !== "remove") return false;
  // Triggers have no codes of errors.
  return GONE.test(code) || (code === "UNKNOWN_ERROR" && /not found/i.test(description));
}

const GONE = /^ERROR_((ACTIVITY|SENDER)_)?NOT_FOUND$/i;

// The kinds of registrations

/** Fields of one that is there, as Bitrix24 lists it. */
type Fields = Readonly<Record<string, unknown>>;
/** One that is declared, of whichever kind. */
type Wanted = Readonly<Record<string, unknown>>;

/** One that is there, by what it is known by. */
interface There {
  readonly id: string;
  readonly fields: Fields;
}

interface Kind {
  readonly key: keyof Declaration;
  readonly list: string;
  readonly there: (listed: unknown) => There[];
  readonly id: (one: Wanted) => string;
  /** Whether one that is known by something else is this one all the same. */
  readonly isAlso?: (one: Wanted, there: Fields) => boolean;
  /** Whether Bitrix24 lists it otherwise than it is declared. */
  readonly differs?: (one: Wanted, there: Fields) => boolean;
  /** Whether it may have changed in what Bitrix24 does not list. */
  readonly isUnseen?: (one: Wanted) => boolean;
  readonly add: (one: Wanted) => Command;
  /** Absent where there is nothing to it but what it is known by. */
  readonly update?: (one: Wanted, there: Fields) => Command[];
  /** What to do when adding it was answered that it is there; absent where that is well. */
  readonly otherwise?: (one: Wanted) => Command;
  readonly remove: (there: Fields) => Command;
  /** Codes of errors that say that it is there. */
  readonly already: RegExp;
  /** The list has registrations of others. */
  readonly hasOthers?: true;
}

const NEVER = /^$/;

function listOf(declaration: Declaration, { key }: Kind): readonly Wanted[] {
  return (declaration[key] ?? []) as readonly object[] as readonly Wanted[];
}

/** Parameters without those that were left out. */
function given(params: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(params).filter(([, value]) => value !== undefined));
}

function isMap(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Lists with gaps become maps in PHP, and empty maps become lists. */
function values(listed: unknown): unknown[] {
  return typeof listed === "object" && listed !== null ? Object.values(listed) : [];
}

function rows(listed: unknown): Fields[] {
  return values(listed).filter(isMap);
}

function codes(listed: unknown): There[] {
  return values(listed).map((code) => ({ id: text(code), fields: { CODE: text(code) } }));
}

function text(value: unknown): string {
  return value === undefined || value === null ? "" : String(value);
}

const eventId = (event: unknown, handler: unknown, userId: unknown, isOffline: boolean): string =>
  [
    text(event).toUpperCase(),
    ...(isOffline ? ["offline"] : [text(handler)]),
    ...(text(userId) === "" || text(userId) === "0" ? [] : [`as user ${text(userId)}`]),
  ].join(" ");

const placementId = (placement: unknown, handler: unknown, userId: unknown): string =>
  [
    text(placement).toUpperCase(),
    text(handler),
    ...(text(userId) === "" || text(userId) === "0" ? [] : [`for user ${text(userId)}`]),
  ].join(" ");

const bindEvent = ({ event, handler, userId, offline, params }: Wanted): Command => [
  "event.bind",
  given({
    event,
    handler,
    auth_type: userId,
    event_type: offline === true ? "offline" : undefined,
    ...params as object,
  }),
];

const isOffline = ({ offline }: Fields): boolean => Number(offline ?? 0) === 1;

const unbindEvent = (there: Fields): Command => {
  const { event, handler, auth_type } = there;
  // Never without both: Bitrix24 would unbind every handler of the app.
  if (text(event) === "") throw new Fatal("cannot unbind an event handler: Bitrix24 lists one without an event");
  // Nor without the user: it would unbind those of all others.
  const whose = isOffline(there) ? { event_type: "offline" } : { auth_type: Number(auth_type ?? 0) };
  return ["event.unbind", { event, handler: text(handler), ...whose }];
};

const bindPlacement = ({ placement, handler, title, description, userId, params }: Wanted): Command => [
  "placement.bind",
  given({
    PLACEMENT: placement,
    HANDLER: handler,
    TITLE: title,
    DESCRIPTION: description,
    USER_ID: userId,
    ...params as object,
  }),
];

const unbindPlacement = ({ placement, handler, userId }: Fields): Command => [
  "placement.unbind",
  // Without the user, those of all users go; portals that list no users have none.
  given({ PLACEMENT: placement, HANDLER: handler, USER_ID: text(userId) === "" ? undefined : Number(userId) }),
];

/** Bitrix24 makes these when something else is registered, and lists some of them. */
const MADE = new Set(["BIZPROC_ACTIVITY_PROPERTIES_DIALOG", "DEFAULT", "SETTING_CONNECTOR", "USERFIELD_TYPE"]);

function placementDiffers({ title, description, params }: Wanted, there: Fields): boolean {
  const { LANG_ALL: texts, GROUP_NAME: group, OPTIONS: options } = (params ?? {}) as Fields;
  if (isMap(options) && isUnlike(options, there.options)) return true;
  const byLanguage = isMap(there.langAll) ? there.langAll : {};
  const languages = Object.values(byLanguage);
  if (isMap(texts)) {
    // Bitrix24 takes no notice of title and description then. Older portals list no languages.
    return languages.length > 0 &&
      Object.entries(texts).some(([name, one]) => !(name in byLanguage) || isUnlike(one, byLanguage[name]));
  }
  return isUnlike({ title, description }, there) ||
    (languages.length === 1 && isUnlike({ GROUP_NAME: group }, languages[0]));
}

/** Whether something in `declared` is listed otherwise. What is not listed is not known to the portal. */
function isUnlike(declared: unknown, listed: unknown): boolean {
  if (declared === undefined || listed === undefined) return false;
  if (typeof declared !== "object" || declared === null) {
    const sent = typeof declared === "boolean" ? Number(declared) : declared;
    return text(sent).trim() !== text(typeof listed === "boolean" ? Number(listed) : listed).trim();
  }
  const inside = typeof listed === "object" && listed !== null ? listed as Fields : {};
  return Object.entries(declared).some(([name, one]) => isUnlike(one, inside[name]));
}

function robots(key: "robots" | "activities", method: string): Kind {
  const fields = ({ handler, name, userId, params = {} }: Wanted): object => {
    const more = Object.entries(params as object).map(([name, value]) => [
      name,
      // Words to Bitrix24, for which 1 is neither.
      typeof value === "boolean" ? (value ? "Y" : "N") : value,
    ]);
    return given({ HANDLER: handler, NAME: name, AUTH_USER_ID: userId, ...Object.fromEntries(more) });
  };
  const update = (one: Wanted): Command => [`${method}.update`, { CODE: one.code, FIELDS: fields(one) }];
  return {
    key,
    list: `${method}.list`,
    there: codes,
    id: ({ code }) => String(code),
    isUnseen: () => true,
    add: (one) => [`${method}.add`, { CODE: one.code, ...fields(one) }],
    update: (one) => [update(one)],
    otherwise: update,
    remove: ({ CODE }) => [`${method}.delete`, { CODE }],
    already: /^ERROR_ACTIVITY_ALREADY_INSTALLED$/i,
  };
}

const updateSender = ({ code, handler, name, description }: Wanted): Command => [
  "messageservice.sender.update",
  given({ CODE: code, HANDLER: handler, NAME: name, DESCRIPTION: description }),
];

const KINDS: readonly Kind[] = [
  {
    key: "events",
    list: "event.get",
    there: (listed) =>
      rows(listed).filter((fields) => isOffline(fields) || text(fields.handler) !== "").map((fields) => ({
        id: eventId(fields.event, fields.handler, fields.auth_type, isOffline(fields)),
        fields,
      })),
    id: ({ event, handler, userId, offline }) => eventId(event, handler, userId, offline === true),
    // Who is no administrator binds for himself, whatever he asks for.
    isAlso: ({ event, handler, userId, offline }, there) =>
      userId === undefined && offline !== true && !isOffline(there) &&
      eventId(event, handler, 0, false) === eventId(there.event, there.handler, 0, false),
    add: bindEvent,
    remove: unbindEvent,
    already: NEVER,
  },
  {
    key: "placements",
    list: "placement.get",
    there: (listed) =>
      rows(listed).filter(({ placement }) => !MADE.has(text(placement))).map((fields) => ({
        id: placementId(fields.placement, fields.handler, fields.userId),
        fields,
      })),
    id: ({ placement, handler, userId }) => placementId(placement, handler, userId),
    differs: placementDiffers,
    add: bindPlacement,
    update: (one, there) => [unbindPlacement(there), bindPlacement(one)],
    remove: unbindPlacement,
    already: NEVER,
  },
  robots("robots", "bizproc.robot"),
  robots("activities", "bizproc.activity"),
  {
    key: "messageSenders",
    list: "messageservice.sender.list",
    there: codes,
    id: ({ code }) => String(code),
    isUnseen: () => true,
    add: ({ code, handler, name, description }) => [
      "messageservice.sender.add",
      given({ CODE: code, TYPE: "SMS", HANDLER: handler, NAME: name, DESCRIPTION: description }),
    ],
    update: (one) => [updateSender(one)],
    otherwise: updateSender,
    remove: ({ CODE }) => ["messageservice.sender.delete", { CODE }],
    already: /^ERROR_SENDER_ALREADY_INSTALLED$/i,
  },
  {
    key: "userFieldTypes",
    list: "userfieldtype.list",
    there: (listed) => rows(listed).map((fields) => ({ id: text(fields.USER_TYPE_ID), fields })),
    id: ({ type }) => String(type),
    differs: ({ handler, title, description }, there) =>
      isUnlike({ HANDLER: handler, TITLE: title, DESCRIPTION: description }, there),
    isUnseen: ({ params }) => params !== undefined,
    add: (one) => ["userfieldtype.add", userFieldType(one)],
    update: (one) => [["userfieldtype.update", userFieldType(one)]],
    remove: ({ USER_TYPE_ID }) => ["userfieldtype.delete", { USER_TYPE_ID }],
    already: NEVER,
  },
  {
    key: "connectors",
    list: "imconnector.list",
    // By ID, the name.
    there: (listed) =>
      isMap(listed) ? Object.entries(listed).map(([id, name]) => ({ id, fields: { ID: id, NAME: name } })) : [],
    id: ({ id }) => String(id),
    differs: ({ name }, there) => isUnlike(name, there.NAME),
    isUnseen: () => true,
    add: registerConnector,
    update: (one) => [registerConnector(one)],
    remove: ({ ID }) => ["imconnector.unregister", { ID }],
    already: NEVER,
    hasOthers: true,
  },
  {
    key: "triggers",
    list: "crm.automation.trigger.list",
    there: (listed) => rows(listed).map((fields) => ({ id: text(fields.CODE), fields })),
    id: ({ code }) => String(code),
    differs: ({ name }, there) => name !== text(there.NAME),
    add: ({ code, name }) => ["crm.automation.trigger.add", { CODE: code, NAME: name }],
    // Adding it again changes its name.
    update: ({ code, name }) => [["crm.automation.trigger.add", { CODE: code, NAME: name }]],
    remove: ({ CODE }) => ["crm.automation.trigger.delete", { CODE }],
    already: NEVER,
  },
];

function userFieldType({ type, handler, title, description, params }: Wanted): object {
  return given({
    USER_TYPE_ID: type,
    HANDLER: handler,
    TITLE: title,
    DESCRIPTION: description,
    ...params as object,
  });
}

function registerConnector({ id, name, icon, handler, params }: Wanted): Command {
  return [
    "imconnector.register",
    given({ ID: id, NAME: name, ICON: icon, PLACEMENT_HANDLER: handler, ...params as object }),
  ];
}

// What may be declared

/** Bitrix24 cuts off longer ones, or refuses them. */
const HANDLER_LENGTH = 180;

const word = z.string().min(1);
/** Bitrix24 stores these in lower case, whatever they were. */
const lower = word.refine((id) => id === id.toLowerCase(), "wanted lower case");
const handler = z.string().max(HANDLER_LENGTH - 1, `wanted fewer than ${HANDLER_LENGTH} characters`)
  .refine(
    (url) => URL.canParse(url) && new URL(url).protocol === "https:",
    "wanted an address that begins with https://",
  );
const userId = z.number().int().positive().optional();
/** `own`: have fields of their own. */
function paramsWithout(...own: readonly string[]): z.ZodOptional<z.ZodRecord<z.ZodString, z.ZodUnknown>> {
  const isLower = own[0] !== own[0]!.toUpperCase();
  return z.record(z.string(), z.unknown()).superRefine((params, ctx) => {
    for (const [name, value] of Object.entries(params)) {
      const wire = isLower ? name.toLowerCase() : name.toUpperCase();
      const add = (message: string): void => ctx.addIssue({ code: "custom", path: [name], message });
      if (own.includes(wire)) add("wanted it in the field of its own");
      else if (name !== wire) add(`wanted a name in ${isLower ? "lower" : "upper"} case`);
      else if (wire === "PLACEMENT_HANDLER" && !handler.safeParse(value).success) add("wanted a short https: address");
    }
  }).optional();
}

const robot = z.strictObject({
  code: z.string().regex(/^[\w.-]+$/, "wanted letters, digits, dots, hyphens and underscores"),
  handler,
  name: z.union([word, z.record(z.string(), word)]),
  userId,
  params: paramsWithout("CODE", "HANDLER", "NAME", "AUTH_USER_ID"),
});

const DECLARATION = z.strictObject({
  events: z.array(
    z.strictObject({
      event: z.string().regex(/^[A-Z][A-Z0-9_]*$/, "wanted a name in upper case"),
      handler: handler.optional(),
      userId,
      offline: z.boolean().optional(),
      params: paramsWithout("event", "handler", "auth_type", "event_type"),
    }).refine(({ handler, offline }) => handler !== undefined || offline === true, {
      path: ["handler"],
      message: "wanted an address, or offline: true",
    }),
  ).optional(),
  placements: z.array(z.strictObject({
    placement: z.string().regex(/^[A-Z][A-Z0-9_]*$/, "wanted a name in upper case"),
    handler,
    title: z.string().optional(),
    description: z.string().optional(),
    userId,
    params: paramsWithout("PLACEMENT", "HANDLER", "TITLE", "DESCRIPTION", "USER_ID"),
  })).optional(),
  robots: z.array(robot).optional(),
  activities: z.array(robot).optional(),
  messageSenders: z.array(
    z.strictObject({ code: word, handler, name: word, description: z.string().optional() }),
  ).optional(),
  userFieldTypes: z.array(
    z.strictObject({
      type: lower,
      handler,
      title: word,
      description: z.string().optional(),
      params: paramsWithout("USER_TYPE_ID", "HANDLER", "TITLE", "DESCRIPTION"),
    }),
  ).optional(),
  connectors: z.array(
    z.strictObject({
      id: lower.refine((id) => !id.includes("."), "wanted no dots"),
      name: word,
      icon: z.record(z.string(), z.unknown()),
      handler,
      params: paramsWithout("ID", "NAME", "ICON", "PLACEMENT_HANDLER"),
    }),
  ).optional(),
  triggers: z.array(z.strictObject({ code: word, name: word })).optional(),
});

/** @throws {TypeError} naming each field that is wrong */
function checked(declaration: Declaration): Declaration {
  const { success, error } = DECLARATION.safeParse(declaration);
  const problems = success ? [] : error.issues.map(({ path, message }) => {
    const seen = path.reduce<unknown>((value, key) => (value as Fields | undefined)?.[key as string], declaration);
    // Texts only: of all else, the message says what it is.
    const saw = typeof seen === "string" ? `, saw ${JSON.stringify(shown(seen).slice(0, 80))}` : "";
    return `${path.join(".") || "it"}: ${message}${saw}`;
  });
  if (success) {
    for (const kind of KINDS) {
      const seen = new Set<string>();
      for (const [i, one] of listOf(declaration, kind).entries()) {
        const known = kind.id(one);
        if (seen.has(known)) problems.push(`${kind.key}.${i}: ${shown(known)} is declared twice`);
        seen.add(known);
      }
    }
    const robots = new Set(declaration.robots?.map(({ code }) => code));
    for (const [i, { code }] of (declaration.activities ?? []).entries()) {
      if (robots.has(code)) problems.push(`activities.${i}: ${code} is a robot's code, too`);
    }
    const handlers = (declaration.userFieldTypes ?? []).map(({ handler }) => handler);
    for (const [i, handler] of handlers.entries()) {
      if (handlers.indexOf(handler) === i) continue;
      problems.push(`userFieldTypes.${i}.handler: wanted one that no other type has`);
    }
  }
  if (problems.length > 0) throw new TypeError(`cannot declare registrations: ${problems.join("; ")}`);
  return declaration;
}
