/** Client of Bitrix24's OAuth hosts: only they say who owns an access token, and only they issue new ones. */
import type { Time } from "../async/time.ts";
import { withTimeout } from "../async/with_timeout.ts";
import { defined } from "../defined.ts";
import { type AddressError, AnswerTooLargeError, UnreachableError } from "../errors.ts";
import { redact } from "../redact.ts";
import type { Secret } from "../secret.ts";
import { type AnswerLimits, type HostAnswer, readAnswer } from "./answer.ts";
import { B24Error } from "./b24_error.ts";
import { meaningOf } from "./error_codes.ts";
import { type Field, issuesIn, objectOf, optional, sized } from "./fields.ts";
import { originOf } from "./hosts.ts";
import { MAX_SCOPES, scopesOf } from "./schemas.ts";

/** `app.info`: what an OAuth host says about an access token, its owner and its portal. */
export interface AppInfo {
  /** `client_id` of the app that the token was issued to. */
  readonly clientId: string;
  /** `member_id` of the portal that the token is for, in lower case. */
  readonly memberId: string;
  /** The user who owns the token; absent if Bitrix24 does not say. */
  readonly userId?: number;
  /** Scopes of the token. */
  readonly tokenScope: readonly string[];
  /** Expiry of the token, in milliseconds since 1970 by the host's clock; absent if Bitrix24 does not say. */
  readonly expiresAt?: number;
  /** Address of the portal's REST API, with a slash at its end; absent if the host sent none that may be called. */
  readonly clientEndpoint?: string;
  /** Why the address that the host sent may not be called; absent if it may, or the host sent none. */
  readonly refusedEndpoint?: AddressError;
  /** VERSION of the installed app, as it was sent. */
  readonly version?: string;
  /** False until the app's installer has called `installFinish`; the portal sends no events before that. */
  readonly isInstalled: boolean;
  /** `L` local, `F` free, `D` demo, `T` trial, `P` paid, `S` subscription. */
  readonly status?: string;
  /** Scopes that the portal has granted to the app. */
  readonly scope: readonly string[];
}

/** A new token pair. */
export interface RefreshedTokens {
  readonly memberId: string;
  readonly accessToken: string;
  readonly refreshToken: string;
  /** Expiry of the access token, in milliseconds since 1970. */
  readonly expiresAt: number;
  readonly scope: readonly string[];
  readonly userId?: number;
  readonly clientEndpoint?: string;
  /** Origin of the host that issued the pair. */
  readonly server: string;
}

/** Options of {@linkcode createOAuthClient}. */
export interface OAuthClientOptions {
  readonly fetch: typeof fetch;
  readonly clock: () => number;
  readonly time: Pick<Time, "setTimer">;
  /** Origins of the OAuth hosts. They are fixed: no payload can add one. */
  readonly hosts: readonly string[];
  /** Returns the address of a portal's REST API in its one spelling, or the reason why it may not be called. */
  readonly endpointOf: (sent: string) => string | AddressError;
  /** Timeout of a request to one host, in milliseconds. */
  readonly timeoutMs: number;
}

/** Calls the OAuth hosts of the app. */
export interface OAuthClient {
  /**
   * Calls `app.info`. `server`, such as the `server_endpoint` of an event, is asked first if it is an address of one of the
   * app's hosts; the other hosts are asked if it is down.
   *
   * @throws {B24Error} if a host refuses the token
   * @throws {UnreachableError} if no host knows the token and at least one could not be asked
   */
  readonly appInfo: (token: Secret, server?: string, signal?: AbortSignal) => Promise<AppInfo>;
  /**
   * Exchanges a refresh token for a new token pair. The refresh token may be invalid from then on.
   *
   * @throws {B24Error} if the host refuses
   * @throws {UnreachableError} if the host does not answer, or not with a complete pair: the refresh token may be invalid
   */
  readonly refresh: (
    refreshToken: Secret,
    app: { readonly clientId: string; readonly clientSecret: Secret },
    server?: string,
  ) => Promise<RefreshedTokens>;
}

const text = sized(0, Infinity, "a text");
const nonEmpty = sized(1, Infinity, "a text");
const textOrNumber: Field<string | number> = {
  wanted: "a text or a number",
  accepts: (value): value is string | number => typeof value === "string" || typeof value === "number",
};

const FAILURE = objectOf({ error: textOrNumber });
// Fields that the app can do without are not checked: an answer is not refused because of them.
const INSTALL = objectOf({ member_id: text, version: optional(textOrNumber) });
const RESULT = objectOf({ client_id: text, install: INSTALL });
const APP_INFO = objectOf({ result: RESULT });
const TOKEN_PAIR = objectOf({ access_token: nonEmpty, refresh_token: nonEmpty, member_id: nonEmpty });

/** A checked map, whose other fields may be anything. */
type Answer<T> = T extends Field<infer Fields> ? Fields & { readonly [name: string]: unknown } : never;

/** Returns the text of a field; `undefined` if it has none. */
function textOf(value: unknown): string | undefined {
  return typeof value === "string" || typeof value === "number" ? String(value) : undefined;
}

/** Returns the whole number in a field; `undefined` if it has none. */
function numberOf(value: unknown): number | undefined {
  const text = textOf(value);
  return text !== undefined && /^-?\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** Returns the scopes in a field, which is a string or a list. */
function scopeOf(value: unknown): readonly string[] {
  if (typeof value === "string") return scopesOf(value);
  return Array.isArray(value) && value.every((scope) => typeof scope === "string") ? value.slice(0, MAX_SCOPES) : [];
}

/** Limits of an answer, far above a real one. */
const ANSWER_LIMITS: AnswerLimits = { answerBytes: 65_536, answerContainers: 1000 };

/** Returns a client of `hosts`. */
export function createOAuthClient(options: OAuthClientOptions): OAuthClient {
  const { clock, hosts, endpointOf } = options;
  const startingWith = (server: string | undefined): string[] =>
    hosts.toSorted((a, b) => Number(b === server) - Number(a === server));

  return {
    appInfo: async (token, serverEndpoint, signal) => {
      const server = originOf(serverEndpoint);
      let refusal: B24Error | undefined;
      let outage: unknown;
      for (const host of startingWith(server)) {
        try {
          return infoFrom(await post(options, host, "app.info", { auth: token }, APP_INFO, signal), endpointOf);
        } catch (error) {
          signal?.throwIfAborted();
          if (error instanceof B24Error) {
            refusal = error;
            if (host === server) break;
          } else outage = error;
        }
      }
      throw outage ?? refusal;
    },
    refresh: async (refreshToken, { clientId, clientSecret }, serverEndpoint) => {
      const server = originOf(serverEndpoint);
      const fields = {
        grant_type: "refresh_token",
        client_id: clientId,
        client_secret: clientSecret,
        refresh_token: refreshToken,
      };
      let refusal: unknown;
      for (const host of startingWith(server)) {
        try {
          const sentAt = clock();
          const pair = await post(options, host, "oauth/token", fields, TOKEN_PAIR);
          return { ...tokensFrom(pair, sentAt, endpointOf), server: host };
        } catch (error) {
          // Another host may know a token that this one does not. After any other error, the token may be used up.
          const isUnknownToken = error instanceof B24Error && meaningOf(error.b24Code).refusesRefreshToken === true;
          if (!isUnknownToken || host === server) throw error;
          refusal = error;
        }
      }
      throw refusal;
    },
  };
}

/**
 * Sends one request to an OAuth host and returns its answer, checked by `schema`.
 *
 * @throws {B24Error} if the host answers with an error code on purpose
 * @throws {UnreachableError} after a timeout, a network failure, an outage of the host, or an answer that is incomplete
 */
async function post<T>(
  { fetch, time, timeoutMs }: OAuthClientOptions,
  host: string,
  method: "app.info" | "oauth/token",
  fields: Readonly<Record<string, string | Secret>>,
  schema: Field<T>,
  signal: AbortSignal = new AbortController().signal,
): Promise<T> {
  const path = method === "app.info" ? "/rest/app.info" : "/oauth/token/";
  const body = new URLSearchParams();
  for (const [name, field] of Object.entries(fields)) {
    body.set(name, typeof field === "string" ? field : field.reveal());
  }
  let status = 0;
  let answer: HostAnswer;
  try {
    answer = await withTimeout(time, signal, timeoutMs, async (signal) => {
      const response = await fetch(`${host}${path}`, { method: "POST", body, redirect: "manual", signal });
      status = response.status;
      return await readAnswer(response, ANSWER_LIMITS, signal);
    });
  } catch (error) {
    signal.throwIfAborted();
    // Only the name of any other error, and the code of its cause: messages of fetch may quote the tokens.
    const { message, name, cause } = error instanceof Error ? error : new Error();
    const { code } = Object(cause) as { readonly code?: unknown };
    const reason = error instanceof AnswerTooLargeError ? message : isErrorCode(code) ? `${name} ${code}` : name;
    throw new UnreachableError(`${host} ${status === 0 ? "does not answer" : "sent no readable answer"} (${reason})`);
  }
  // The status says little: errors come with 200 too, and refusals with 400 and 401.
  const { json } = answer;
  if (json === undefined) throw new UnreachableError(`${host} sent no readable answer (${status}, not JSON)`);
  const secrets = Object.values(fields).filter((field) => typeof field !== "string");
  const isFailure = issuesIn(json, FAILURE, () => "").length === 0;
  if (isFailure) throw errorFrom(json as Answer<typeof FAILURE>, { host, method, status }, secrets);
  const issues = issuesIn(json, schema, () => "");
  if (issues.length === 0 && status < 400) return json as T;
  const missing = issues.map(({ path }) => path || "its top level").join(", ");
  throw new UnreachableError(
    `${host} answered ${status}${missing === "" ? "" : `, and is missing or has malformed ${missing}`}`,
  );
}

/** Returns whether it is a code of the system, such as `ECONNREFUSED`. */
function isErrorCode(code: unknown): code is string {
  return typeof code === "string" && /^[A-Z_]{2,20}$/.test(code);
}

function errorFrom(
  failure: Answer<typeof FAILURE>,
  { host, method, status }: { readonly host: string; readonly method: string; readonly status: number },
  secrets: readonly Secret[],
): B24Error | UnreachableError {
  // A code is a word. Anything else, and any long word of the description, may be a token.
  const error = String(failure.error);
  const code = /^[a-z_]{1,60}$/i.test(error) ? error : "an unknown error";
  const description = redact(textOf(failure["error_description"]) ?? "", secrets).slice(0, 200)
    .replace(/[\w.-]{24,}/g, "[redacted]");
  return status < 500 && meaningOf(code).isOAuthAnswer === true
    ? new B24Error({ code, description, status, method })
    : new UnreachableError(`${host} answered ${status} ${code}`);
}

type EndpointOf = OAuthClientOptions["endpointOf"];

function infoFrom(answer: Answer<typeof APP_INFO>, endpointOf: EndpointOf): AppInfo {
  const result: Answer<typeof RESULT> = answer.result;
  const install: Answer<typeof INSTALL> = result.install;
  const { installed, status, client_endpoint: endpoint } = install;
  const expires = numberOf(result["expires"]);
  return {
    clientId: result.client_id,
    memberId: install.member_id.toLowerCase(),
    tokenScope: scopeOf(result["scope"]),
    isInstalled: installed === undefined || !NOT_INSTALLED.has(String(installed)),
    scope: scopeOf(install["scope"]),
    ...defined({
      userId: numberOf(result["user_id"]),
      expiresAt: expires === undefined ? undefined : expires * 1000,
      ...readEndpoint(endpoint, endpointOf),
      version: textOf(install.version),
      status: typeof status === "string" ? status : undefined,
    }),
  };
}

const NOT_INSTALLED: ReadonlySet<string> = new Set(["false", "N", "0", ""]);

function tokensFrom(
  pair: Answer<typeof TOKEN_PAIR>,
  sentAt: number,
  endpointOf: EndpointOf,
): Omit<RefreshedTokens, "server"> {
  const [expires, lifetimeSeconds] = [numberOf(pair["expires"]), numberOf(pair["expires_in"])];
  const endpoint = pair["client_endpoint"];
  return {
    memberId: pair.member_id.toLowerCase(),
    accessToken: pair.access_token,
    refreshToken: pair.refresh_token,
    // The lifetime is measured by our clock, `expires` by the host's. Without either, an access token lives for an hour.
    expiresAt: lifetimeSeconds === undefined && expires !== undefined
      ? expires * 1000
      : sentAt + (lifetimeSeconds ?? 3600) * 1000,
    scope: scopeOf(pair["scope"]),
    ...defined({
      userId: numberOf(pair["user_id"]),
      clientEndpoint: readEndpoint(endpoint, endpointOf).clientEndpoint,
    }),
  };
}

function readEndpoint(sent: unknown, endpointOf: EndpointOf): Pick<AppInfo, "clientEndpoint" | "refusedEndpoint"> {
  if (typeof sent !== "string") return {};
  const endpoint = endpointOf(sent);
  return typeof endpoint === "string" ? { clientEndpoint: endpoint } : { refusedEndpoint: endpoint };
}
