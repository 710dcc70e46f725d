/** The built-in REST methods of fake portals, except those that register something. */
import { missing } from "./errors.ts";
import { testEvent } from "./event.ts";
import { REGISTRATION_METHODS } from "./registrations.ts";
import { type FakeParams, textOf } from "./request.ts";
import type { PortalState, RestMethod, UserState } from "./state.ts";

/** First parts of the names of methods that need no scope. */
const BASIC = new Set([
  "app",
  "access",
  "batch",
  "event",
  "events",
  "feature",
  "method",
  "methods",
  "profile",
  "scope",
  "server",
]);

/** Scopes by the first part of the method name. One of them is enough. */
const SCOPES: ReadonlyMap<string, readonly string[]> = new Map([
  ["userfieldtype", ["placement"]],
  ["imconnector", ["imopenlines"]],
  ["tasks", ["task"]],
  ["user", ["user", "user_brief", "user_basic"]],
  ...[
    "bizproc",
    "calendar",
    "catalog",
    "crm",
    "department",
    "disk",
    "documentgenerator",
    "entity",
    "im",
    "imbot",
    "imopenlines",
    "landing",
    "lists",
    "log",
    "mailservice",
    "messageservice",
    "placement",
    "sale",
    "task",
    "telephony",
    "timeman",
    "userconsent",
  ].map((scope): [string, readonly string[]] => [scope, [scope]]),
]);

/** Returns whether the portal grants the scope of a method. */
export function isGranted(portal: PortalState, method: string): boolean {
  const [first = ""] = method.split(".");
  const scopes = BASIC.has(first) ? undefined : SCOPES.get(first);
  return scopes === undefined || scopes.some((scope) => portal.scope.has(scope));
}

/** Methods by name, in lower case. */
export const METHODS: ReadonlyMap<string, RestMethod> = new Map<string, RestMethod>([
  ["app.info", { run: ({ portal }) => ({ result: appInfo(portal) }) }],
  ["profile", { run: ({ user }) => ({ result: profile(user) }) }],
  ["user.current", { run: ({ user }) => ({ result: { ID: String(user.id), ACTIVE: true, NAME: user.name } }) }],
  ["scope", { run: ({ portal }) => ({ result: [...portal.scope] }) }],
  ["methods", { run: ({ portal }) => ({ result: methodNames(portal) }) }],
  ["method.get", { run: ({ portal, params }) => ({ result: methodGet(portal, params) }) }],
  ["server.time", { run: ({ world }) => ({ result: isoTime(world.now()) }) }],
  ["feature.get", {
    run: ({ params }) => ({ result: { value: params["CODE"] === "rest_offline_extended" ? "Y" : "N" } }),
  }],
  [
    "event.test",
    {
      run: ({ world, portal, params }) => {
        if (portal.registrations.events.some(({ EVENT }) => EVENT === "ONAPPTEST")) {
          world.emit(portal, testEvent(world, portal, params));
        }
        return { result: true };
      },
    },
  ],
  ...REGISTRATION_METHODS,
]);

function methodNames(portal: PortalState): string[] {
  const names = new Set(["batch", ...METHODS.keys(), ...portal.lists.keys(), ...portal.answers.keys()]);
  return [...names].filter((name) => !name.startsWith("api/") && isGranted(portal, name)).sort();
}

function methodGet(portal: PortalState, params: FakeParams): object {
  const name = textOf(params, "name");
  if (name === "") throw missing("name");
  const isExisting = METHODS.has(name) || portal.lists.has(name) || portal.answers.has(name) || name === "batch";
  return { isExisting, isAvailable: isExisting && isGranted(portal, name) };
}

/** Returns the `app.info` of a portal, which differs from that of the OAuth host. */
function appInfo(portal: PortalState): object {
  return {
    ID: 1,
    CODE: portal.clientId,
    VERSION: portal.version,
    STATUS: portal.status,
    INSTALLED: portal.isFinished,
    PAYMENT_EXPIRED: portal.isPaid ? "N" : "Y",
    DAYS: portal.isPaid ? 28 : 0,
    LANGUAGE_ID: "de",
    LICENSE: "de_company",
  };
}

function profile(user: UserState): object {
  return {
    ID: String(user.id),
    ADMIN: user.isAdmin,
    NAME: user.name,
    LAST_NAME: "",
    PERSONAL_GENDER: "",
    TIME_ZONE: "",
  };
}

/** Returns a time as Bitrix24 writes it. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "+00:00");
}
