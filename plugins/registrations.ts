/**
 * Puts an app's registrations where they belong: event handlers, placements, robots and the like, which an update of the
 * app may have removed.
 *
 * @module
 */
import * as z from "zod";
import { type B24Error, type Context, Fatal, type Plugin, type Portal } from "../mod.ts";

/** What {@linkcode registrations} needs in the context; `rest()` adds it. */
export interface HasB24Batch {
  /** A client of the portal's REST. */
  readonly b24: {
    /** Calls methods; each has its own outcome. */
    readonly batch: (
      commands: Readonly<Record<string, readonly [method: string, params?: object]>>,
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
  /** As whose the event's tokens are sent (`auth_type`); default of whoever caused the event. */
  readonly userId?: number;
  /** It is kept in a queue on the portal instead of being sent. */
  readonly offline?: boolean;
  /** More parameters of `event.bind`, in Bitrix24's own names. */
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
  /** `USER_TYPE_ID`. Never change it: fields of this type are known by it. */
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
  /** What it is known by, for people. */
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
 * portal waits for it.
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
    const before = declared(portal.version, portal);
    const kinds = KINDS.filter(({ key }) => now[key] !== undefined);
    const listed = kinds.length === 0
      ? {}
      : await b24.batch(Object.fromEntries(kinds.map(({ key, list }) => [key, [list]])));
    const todo: Todo[] = [];
    const errors: B24Error[] = [];
    for (const kind of kinds) {
      const outcome = listed[kind.key];
      if (outcome?.ok) todo.push(...todoOf(kind, now, before, outcome.value, isRun));
      else if (outcome !== undefined) errors.push(outcome.error);
    }
    return { todo, errors };
  }

  async function apply(target: RegistrationTarget, isRun: boolean): Promise<Compared> {
    const { todo, errors } = await compare(target, isRun);
    // What is removed makes room for what is added: two user field types cannot have one handler.
    const order = ["remove", "update", "add", "keep"];
    const steps = todo.toSorted((a, b) => order.indexOf(a.action) - order.indexOf(b.action));
    const commands = steps.flatMap(({ commands, kind }) => commands.map((command) => ({ command, kind })));
    if (commands.length === 0) return { todo, errors };
    const outcomes = await target.b24.batch(Object.fromEntries(commands.map(({ command }, i) => [`c${i}`, command])));
    for (const [i, { command, kind }] of commands.entries()) {
      const outcome = outcomes[`c${i}`];
      if (outcome?.ok === false && !isDone(kind, command[0], outcome.error)) errors.push(outcome.error);
    }
    return { todo, errors };
  }

  async function applied(target: RegistrationTarget): Promise<readonly RegistrationChange[]> {
    const { todo, errors } = await apply(target, true);
    // One that can be waited for says less than one that cannot.
    const worst = errors.find(({ waitsFor }) => waitsFor === undefined) ?? errors[0];
    if (worst !== undefined) throw worst;
    return todo.map(changeOf);
  }

  return {
    name: "registrations",
    plan: async (target) => {
      const { todo, errors } = await compare(target, true);
      if (errors[0] !== undefined) throw errors[0];
      return todo.map(changeOf);
    },
    apply: applied,
    around: async (ctx, next) => {
      const { event, portal, b24, log } = ctx;
      const isRun = event.name === "ONAPPUPDATE" || event.name === "ONAPPINSTALL";
      if (isRun && portal?.status === "installed") {
        const changes = await applied({ b24, portal });
        log.info("registrations are in place", countsOf(changes));
      }
      await next();
    },
    check: async (ctx: Context & HasB24Batch) => {
      const { portal, b24, log } = ctx;
      // One on its way has them put in place by its run.
      if (portal?.status !== "installed" || portal.version !== portal.target) return [];
      const { todo, errors } = await (repair ? apply : compare)({ b24, portal }, false);
      const drift = todo.filter(({ action }) => action !== "keep");
      if (drift.length > 0) log.warn("registrations had changed", { repaired: repair, ...countsOf(drift) });
      return [
        ...drift.map(({ kind, id, why }) => `${kind.key} ${id}: ${why}${repair ? "; put right" : ""}`),
        ...errors.map(({ message }) => message),
      ];
    },
  };
}

interface Compared {
  readonly todo: readonly Todo[];
  readonly errors: B24Error[];
}

type Command = readonly [method: string, params: object];

interface Todo {
  readonly kind: Kind;
  readonly id: string;
  readonly action: RegistrationChange["action"];
  readonly why: string;
  readonly commands: readonly Command[];
}

function changeOf({ kind, id, action, why }: Todo): RegistrationChange {
  return { kind: kind.key, id, action, why };
}

function countsOf(changes: readonly { readonly action: string }[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { action } of changes) counts[action] = (counts[action] ?? 0) + 1;
  return counts;
}

function todoOf(kind: Kind, now: Declaration, before: Declaration, listed: unknown, isRun: boolean): Todo[] {
  const there = new Map(kind.there(listed).map((one) => [one.id, one]));
  const wanted = new Map(listOf(now, kind).map((one) => [kind.id(one), one]));
  const todo: Todo[] = [];
  for (const [id, one] of wanted) {
    const found = there.get(id);
    const about = { kind, id };
    if (found === undefined) {
      todo.push({ ...about, action: "add", why: "it is not there", commands: [kind.add(one)] });
      continue;
    }
    const differs = kind.differs?.(one, found.fields);
    if (differs === undefined ? isRun && kind.update !== undefined : differs) {
      const why = differs === undefined ? "whether it has changed cannot be seen" : "it is not as declared";
      todo.push({ ...about, action: "update", why, commands: kind.update!(one) });
    } else todo.push({ ...about, action: "keep", why: "it is there", commands: [] });
  }
  const formerly = new Set(listOf(before, kind).map(kind.id));
  for (const [id, { fields }] of there) {
    if (wanted.has(id) || (kind.hasOthers && !formerly.has(id))) continue;
    todo.push({ kind, id, action: "remove", why: "it is not declared", commands: [kind.remove(fields)] });
  }
  return todo;
}

/** Whether an error says that what a command was to do is done. */
function isDone(kind: Kind, method: string, { code, description }: B24Error): boolean {
  if (/(add|bind|register)$/.test(method) && !/un(bind|register)$/.test(method)) {
    return kind.already.test(code) || (code === "ERROR_CORE" && /already/i.test(description));
  }
  return /(delete|unbind|unregister)$/.test(method) && /NOT_FOUND$/i.test(code);
}

// The kinds of registrations

/** Fields of one that is there, as Bitrix24 lists it. */
type Fields = Readonly<Record<string, unknown>>;
/** One that is declared, of whichever kind. */
type Wanted = Readonly<Record<string, unknown>>;

interface Kind {
  readonly key: keyof Declaration;
  readonly list: string;
  /** What is there, by what it is known by. */
  readonly there: (listed: unknown) => { readonly id: string; readonly fields: Fields }[];
  readonly id: (one: Wanted) => string;
  /** Whether one that is there is not as declared; absent where that cannot be seen. */
  readonly differs?: (one: Wanted, there: Fields) => boolean;
  readonly add: (one: Wanted) => Command;
  /** Absent where there is nothing to it but what it is known by. */
  readonly update?: (one: Wanted) => Command[];
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

function rows(listed: unknown): Fields[] {
  // Lists with gaps become maps in PHP, and empty maps become lists.
  return typeof listed === "object" && listed !== null ? Object.values(listed) as Fields[] : [];
}

function codes(listed: unknown): { id: string; fields: Fields }[] {
  return rows(listed).map((code) => ({ id: String(code), fields: { CODE: String(code) } }));
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

const unbindEvent = ({ event, handler, auth_type, offline }: Fields): Command => {
  // Never without both: Bitrix24 would unbind every handler of the app.
  if (text(event) === "") throw new Fatal("cannot unbind an event handler: Bitrix24 lists one without an event");
  return [
    "event.unbind",
    given({
      event,
      handler: text(handler),
      auth_type: text(auth_type) === "" || text(auth_type) === "0" ? undefined : Number(auth_type),
      event_type: Number(offline ?? 0) === 1 ? "offline" : undefined,
    }),
  ];
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

const unbindPlacement = (placement: unknown, handler: unknown, userId: unknown): Command => [
  "placement.unbind",
  given({
    PLACEMENT: placement,
    HANDLER: handler,
    USER_ID: text(userId) === "" || text(userId) === "0" ? undefined : Number(userId),
  }),
];

function robots(key: "robots" | "activities", method: string): Kind {
  const fields = ({ handler, name, userId, params }: Wanted): object =>
    given({ HANDLER: handler, NAME: name, AUTH_USER_ID: userId, ...params as object });
  return {
    key,
    list: `${method}.list`,
    there: codes,
    id: ({ code }) => String(code),
    add: (one) => [`${method}.add`, { CODE: one.code, ...fields(one) }],
    update: (one) => [[`${method}.update`, { CODE: one.code, FIELDS: fields(one) }]],
    remove: ({ CODE }) => [`${method}.delete`, { CODE }],
    already: /^ERROR_ACTIVITY_ALREADY_INSTALLED$/i,
  };
}

const KINDS: readonly Kind[] = [
  {
    key: "events",
    list: "event.get",
    there: (listed) =>
      rows(listed).map((fields) => ({
        id: eventId(fields.event, fields.handler, fields.auth_type, Number(fields.offline ?? 0) === 1),
        fields,
      })),
    id: ({ event, handler, userId, offline }) => eventId(event, handler, userId, offline === true),
    add: bindEvent,
    remove: unbindEvent,
    already: NEVER,
  },
  {
    key: "placements",
    list: "placement.get",
    there: (listed) =>
      rows(listed).map((fields) => ({ id: placementId(fields.placement, fields.handler, fields.userId), fields })),
    id: ({ placement, handler, userId }) => placementId(placement, handler, userId),
    differs: ({ title, description }, there) =>
      (title !== undefined && title !== text(there.title)) ||
      (description !== undefined && description !== text(there.description)),
    add: bindPlacement,
    update: (one) => [unbindPlacement(one.placement, one.handler, one.userId), bindPlacement(one)],
    remove: ({ placement, handler, userId }) => unbindPlacement(placement, handler, userId),
    already: NEVER,
  },
  robots("robots", "bizproc.robot"),
  robots("activities", "bizproc.activity"),
  {
    key: "messageSenders",
    list: "messageservice.sender.list",
    there: codes,
    id: ({ code }) => String(code),
    add: ({ code, handler, name, description }) => [
      "messageservice.sender.add",
      given({ CODE: code, TYPE: "SMS", HANDLER: handler, NAME: name, DESCRIPTION: description }),
    ],
    update: ({ code, handler, name, description }) => [[
      "messageservice.sender.update",
      given({ CODE: code, HANDLER: handler, NAME: name, DESCRIPTION: description }),
    ]],
    remove: ({ CODE }) => ["messageservice.sender.delete", { CODE }],
    already: /^ERROR_SENDER_ALREADY_INSTALLED$/i,
  },
  {
    key: "userFieldTypes",
    list: "userfieldtype.list",
    there: (listed) => rows(listed).map((fields) => ({ id: text(fields.USER_TYPE_ID), fields })),
    id: ({ type }) => String(type),
    differs: ({ handler, title, description }, there) =>
      handler !== text(there.HANDLER) || title !== text(there.TITLE) ||
      (description !== undefined && description !== text(there.DESCRIPTION)),
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
      typeof listed === "object" && listed !== null && !Array.isArray(listed)
        ? Object.keys(listed).map((id) => ({ id, fields: { ID: id } }))
        : [],
    id: ({ id }) => String(id),
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
const handler = z.string().max(HANDLER_LENGTH - 1, `wanted fewer than ${HANDLER_LENGTH} characters`)
  .refine(
    (url) => URL.canParse(url) && new URL(url).protocol === "https:",
    "wanted an address that begins with https://",
  );
const userId = z.number().int().positive().optional();
const params = z.record(z.string(), z.unknown()).optional();
const robot = z.strictObject({
  code: z.string().regex(/^[\w.-]+$/, "wanted letters, digits, dots, hyphens and underscores"),
  handler,
  name: z.union([word, z.record(z.string(), word)]),
  userId,
  params,
});

const DECLARATION = z.strictObject({
  events: z.array(
    z.strictObject({
      event: z.string().regex(/^[A-Z][A-Z0-9_]*$/, "wanted a name in upper case"),
      handler: handler.optional(),
      userId,
      offline: z.boolean().optional(),
      params,
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
    params,
  })).optional(),
  robots: z.array(robot).optional(),
  activities: z.array(robot).optional(),
  messageSenders: z.array(
    z.strictObject({ code: word, handler, name: word, description: z.string().optional() }),
  ).optional(),
  userFieldTypes: z.array(
    z.strictObject({ type: word, handler, title: word, description: z.string().optional(), params }),
  ).optional(),
  connectors: z.array(
    z.strictObject({ id: word, name: word, icon: z.record(z.string(), z.unknown()), handler, params }),
  ).optional(),
  triggers: z.array(z.strictObject({ code: word, name: word })).optional(),
});

/** @throws {TypeError} naming each field that is wrong */
function checked(declaration: Declaration): Declaration {
  const { success, error } = DECLARATION.safeParse(declaration);
  const problems = success ? [] : error.issues.map(({ path, message }) => `${path.join(".") || "it"}: ${message}`);
  if (success) {
    for (const kind of KINDS) {
      const seen = new Set<string>();
      for (const [i, one] of listOf(declaration, kind).entries()) {
        const known = kind.id(one);
        if (seen.has(known)) problems.push(`${kind.key}.${i}: ${known} is declared twice`);
        seen.add(known);
      }
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
