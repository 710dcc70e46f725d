/** The requests of `onappupdate simulate`: as Bitrix24 sends them, with values that are made up. */
import { createHash } from "node:crypto";

/** Kinds of requests. */
export const KINDS = ["install", "update", "uninstall", "payment", "test", "ready", "open"] as const;

/** A kind of request. */
export type Kind = typeof KINDS[number];

/** Names of the events. An opening is none. */
export const EVENT_NAMES: Readonly<Record<Exclude<Kind, "open">, string>> = {
  install: "ONAPPINSTALL",
  update: "ONAPPUPDATE",
  uninstall: "ONAPPUNINSTALL",
  payment: "ONAPPPAYMENT",
  test: "ONAPPTEST",
  ready: "ONAPPUSERREADY",
};

/** Parts that can be forged. */
export const FORGERIES = ["token", "member", "endpoint", "domain"] as const;

/** The part of a request that is forged. */
export type Forgery = typeof FORGERIES[number];

/** The portal and the versions of an event. */
export interface Simulated {
  readonly kind: Kind;
  readonly from?: string;
  readonly to?: string;
  readonly member: string;
  readonly domain: string;
  /** The application_token. */
  readonly token: string;
  /** Seconds since 1970. */
  readonly ts: number;
}

/** Fields of a body by their paths, such as `data.VERSION`. */
export type Fields = ReadonlyMap<string, string>;

/** Returns 32 hex digits that stay the same for a name. */
export function madeUp(name: string): string {
  return createHash("sha256").update(`onappupdate simulate ${name}`).digest("hex").slice(0, 32);
}

const OAUTH_HOST = "oauth.bitrix24.tech";

/** Returns the fields of an event. */
export function eventFields(simulated: Simulated & { readonly kind: Exclude<Kind, "open"> }): Fields {
  const { kind, ts } = simulated;
  const fields = new Map([["event", EVENT_NAMES[kind]]]);
  for (const [name, value] of Object.entries(dataOf(simulated))) {
    if (value !== undefined) fields.set(`data.${name}`, value);
  }
  fields.set("ts", String(ts));
  for (const [name, value] of Object.entries(authOf(simulated))) {
    if (value !== undefined) fields.set(`auth.${name}`, value);
  }
  return fields;
}

function dataOf({ kind, from, to, member, domain }: Simulated): Readonly<Record<string, string | undefined>> {
  const LANGUAGE_ID = "en";
  switch (kind) {
    case "install":
      return { VERSION: to ?? "1", ACTIVE: "Y", INSTALLED: "Y", LANGUAGE_ID };
    case "update":
      return { VERSION: to ?? "2", PREVIOUS_VERSION: from, LANGUAGE_ID };
    case "uninstall":
      return { LANGUAGE_ID, CLEAN: "1" };
    case "payment":
      return { CODE: "app.simulated", VERSION: to ?? "1", STATUS: "S", PAYMENT_EXPIRED: "N", DAYS: "28", LANGUAGE_ID };
    case "test":
      return { "QUERY.any": "thing", LANGUAGE_ID };
    default:
      return { ...tokens("system user"), ...portalOf({ domain, member }), client_id: "app.simulated", LANGUAGE_ID };
  }
}

/** The user is made up, and so are the tokens: an app that asks Bitrix24 about them learns so. */
function tokens(name: string): Readonly<Record<string, string>> {
  return {
    access_token: madeUp(`access token of ${name}`),
    refresh_token: madeUp(`refresh token of ${name}`),
    expires_in: "3600",
    scope: "crm",
    user_id: name === "system user" ? "1000" : "1",
  };
}

function portalOf({ domain, member }: Pick<Simulated, "domain" | "member">): Readonly<Record<string, string>> {
  return { domain, client_endpoint: `https://${domain}/rest/`, member_id: member, status: "S" };
}

function authOf({ kind, member, domain, token }: Simulated): Readonly<Record<string, string | undefined>> {
  const hasTokens = kind !== "uninstall";
  const portal = portalOf({ domain, member });
  return {
    ...hasTokens && tokens("installer"),
    ...kind === "payment" && { refresh_token: undefined },
    ...portal,
    status: hasTokens ? portal["status"] : undefined,
    server_endpoint: `https://${OAUTH_HOST}/rest/`,
    application_token: token,
  };
}

/** Returns the fields of the request by which a browser opens the app's page. Those before the body are in the query. */
export function openingFields({ member, domain, token }: Simulated): Fields {
  const { access_token, refresh_token, expires_in } = tokens("administrator");
  return new Map(Object.entries({
    "query.DOMAIN": domain,
    "query.PROTOCOL": "1",
    "query.LANG": "en",
    "query.APP_SID": madeUp("session"),
    AUTH_ID: access_token!,
    AUTH_EXPIRES: expires_in!,
    REFRESH_ID: refresh_token!,
    SERVER_ENDPOINT: `https://${OAUTH_HOST}/rest/`,
    APPLICATION_TOKEN: token,
    APPLICATION_SCOPE: "crm",
    member_id: member,
    status: "S",
    PLACEMENT: "DEFAULT",
    PLACEMENT_OPTIONS: '{"any":"7/"}',
  }));
}

const ATTACKER = "attacker.example";

const FORGED: Readonly<Record<Forgery, (kind: Kind) => Readonly<Record<string, string>>>> = {
  token: (kind) => ({ [kind === "open" ? "APPLICATION_TOKEN" : "auth.application_token"]: madeUp("forged token") }),
  member: (kind) => ({ [kind === "open" ? "member_id" : "auth.member_id"]: madeUp("forged member") }),
  endpoint: (kind): Readonly<Record<string, string>> =>
    kind === "open" ? { SERVER_ENDPOINT: `https://${ATTACKER}/rest/` } : {
      "auth.client_endpoint": `https://${ATTACKER}/rest/`,
      "auth.server_endpoint": `https://${ATTACKER}/rest/`,
    },
  domain: (kind) => ({ [kind === "open" ? "query.DOMAIN" : "auth.domain"]: ATTACKER }),
};

/** Returns the fields with a forged part. */
export function forged(kind: Kind, forgery: Forgery, fields: Fields): Fields {
  return new Map([...fields, ...Object.entries(FORGED[forgery](kind))]);
}

/** Returns the fields of the body as a form, and those of the query. */
export function encoded(fields: Fields): { readonly query: URLSearchParams; readonly body: string } {
  const query = new URLSearchParams();
  const body = new URLSearchParams();
  for (const [path, value] of fields) {
    const [first, ...rest] = path.split(".") as [string, ...string[]];
    if (first === "query") query.set(rest.join("."), value);
    else body.set(first + rest.map((name) => `[${name}]`).join(""), value);
  }
  return { query, body: body.toString() };
}

/** Returns the fields of a captured body, a form or JSON. @throws {SyntaxError} if it is neither */
export function fieldsOf(body: string): Fields {
  if (body.trimStart().startsWith("{")) return new Map(flatten("", JSON.parse(body)));
  return new Map([...new URLSearchParams(body.trim())].map(([name, value]) => [pathOf(name), value]));
}

function pathOf(name: string): string {
  return name.replace(/\[([^\]]*)\]/g, ".$1");
}

function flatten(path: string, value: unknown): [string, string][] {
  if (typeof value !== "object" || value === null) return [[path, String(value ?? "")]];
  return Object.entries(value).flatMap(([name, item]) => flatten(path === "" ? name : `${path}.${name}`, item));
}
