/** Bitrix24's OAuth hosts: they alone say whose an access token is, and give out new ones. */
import * as z from "zod";
import { UnreachableError } from "../errors.ts";
import { B24Error } from "./b24_error.ts";
import type { Secret } from "../secret.ts";
import { redact } from "../redact.ts";
import { scopesOf } from "./schemas.ts";

/** What an OAuth host says of an access token, its owner and its portal. */
export interface AppInfo {
  /** Of the app that the token is for. */
  readonly clientId: string;
  /** Of the portal that the token is for. */
  readonly memberId: string;
  /** Whose token it is. */
  readonly userId?: number;
  /** What the token allows. */
  readonly tokenScope: readonly string[];
  /** Where the portal's REST is. */
  readonly clientEndpoint?: string;
  /** VERSION of the app that is installed. */
  readonly version?: string;
  /** False until the app's installer has called `installFinish`: no events come before. */
  readonly isInstalled: boolean;
  /** `L` local, `F` free, `D` demo, `T` trial, `P` paid, `S` subscription. */
  readonly status?: string;
  /** What the portal lets the app do. */
  readonly scope: readonly string[];
}

/** A pair of tokens that is new. */
export interface RefreshedTokens {
  readonly memberId: string;
  readonly accessToken: string;
  readonly refreshToken: string;
  /** End of the access token in milliseconds since 1970. */
  readonly expiresAt: number;
  readonly scope: readonly string[];
  readonly userId?: number;
  readonly clientEndpoint?: string;
  /** The host that gave it. */
  readonly server: string;
}

/** What OAuth hosts are asked with. */
export interface OAuthOptions {
  readonly fetch: typeof fetch;
  readonly clock: () => number;
  /** Origins. No payload can add one. */
  readonly hosts: readonly string[];
  /** The address of a portal as it may be called; `undefined` where none may. */
  readonly endpointOf: (said: string | undefined) => string | undefined;
  /** Milliseconds that one host may take. */
  readonly timeoutMs: number;
}

/** Asks the OAuth hosts of the app. */
export interface OAuth {
  /**
   * `app.info`. Asks the host of `server` first, if it is one of the app's, and the others where that one is down.
   *
   * @throws {B24Error} when a host refuses the token
   * @throws {UnreachableError} when no host knows the token and not all could be asked
   */
  readonly appInfo: (token: Secret, server?: string, signal?: AbortSignal) => Promise<AppInfo>;
  /**
   * A new pair for a refresh token, which may be dead from then on.
   *
   * @throws {B24Error} when the host refuses
   * @throws {UnreachableError} when it does not answer, or not with a whole pair: nobody knows whether the token is dead
   */
  readonly refresh: (
    refreshToken: Secret,
    app: { readonly clientId: string; readonly clientSecret: Secret },
    server?: string,
  ) => Promise<RefreshedTokens>;
}

const text = z.union([z.string(), z.number()]).transform(String);
const number = z.coerce.number().int().optional().catch(undefined);
const scope = z.union([z.string(), z.array(z.string())]).optional().catch(undefined)
  .transform((said) => typeof said === "string" ? scopesOf(said) : said ?? []);

const FAILURE = z.object({ error: text, error_description: text.optional().catch(undefined) });
const APP_INFO = z.object({
  result: z.object({
    client_id: z.string(),
    user_id: number,
    scope,
    install: z.object({
      member_id: z.string().toLowerCase(),
      installed: z.union([z.boolean(), z.string(), z.number()]).optional().catch(undefined),
      version: text.optional(),
      status: z.string().optional().catch(undefined),
      scope,
      client_endpoint: z.string().optional().catch(undefined),
    }),
  }),
});
const PAIR = z.object({
  access_token: z.string().min(1),
  refresh_token: z.string().min(1),
  member_id: z.string().min(1).toLowerCase(),
  expires: number,
  expires_in: number,
  user_id: number,
  scope,
  client_endpoint: z.string().optional().catch(undefined),
});

/** What these mean is known: the token is not one of this app on an installed portal. */
export const REFUSALS: ReadonlySet<string> = new Set([
  "expired_token",
  "invalid_client",
  "invalid_grant",
  "invalid_token",
  "no_auth_found",
  "not_installed",
  "wrong_client",
]);

/** Besides those that refuse a token, codes that are an answer and not an outage. */
const ANSWERS: ReadonlySet<string> = new Set([...REFUSALS, "payment_required", "invalid_request", "invalid_scope"]);

/** Far above what is answered. */
const ANSWER_BYTES = 65_536;

/** Asks `hosts`. */
export function createOAuth({ fetch, clock, hosts, endpointOf, timeoutMs }: OAuthOptions): OAuth {
  const firstFrom = (server: string | undefined): string[] =>
    hosts.toSorted((a, b) => Number(b === server) - Number(a === server));

  async function ask<T>(
    host: string,
    method: "app.info" | "oauth/token",
    fields: Readonly<Record<string, string | Secret>>,
    schema: z.ZodType<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const secrets = Object.values(fields).filter((field) => typeof field !== "string");
    const path = method === "app.info" ? "/rest/app.info" : "/oauth/token/";
    const body = new URLSearchParams();
    for (const [name, field] of Object.entries(fields)) {
      body.set(name, typeof field === "string" ? field : field.reveal());
    }
    let status: number;
    let answer: unknown;
    try {
      const deadline = AbortSignal.timeout(timeoutMs);
      const both = signal === undefined ? deadline : AbortSignal.any([deadline, signal]);
      const response = await fetch(`${host}${path}`, { method: "POST", body, redirect: "manual", signal: both });
      status = response.status;
      // Errors come with HTTP 200 too, and refusals with 400 and 401: the body is read always.
      answer = JSON.parse(await readText(response, both));
    } catch (error) {
      signal?.throwIfAborted();
      // The causes of fetch and JSON may quote what they were given.
      const name = error instanceof Error ? error.name : "Error";
      throw new UnreachableError(`${host} gave no answer that could be read (${name})`);
    }
    const failure = FAILURE.safeParse(answer).data;
    if (failure !== undefined) {
      // Codes are words; what is none, and any text that is as long as a token, may be what nobody is to read.
      const code = /^[a-z_]{1,60}$/i.test(failure.error) ? failure.error : "an unknown error";
      const description = redact(failure.error_description ?? "", secrets).slice(0, 200).replace(
        /[\w.-]{24,}/g,
        "[redacted]",
      );
      if (status >= 500 || !ANSWERS.has(code.toLowerCase())) {
        throw new UnreachableError(`${host} answered ${status} ${code}`);
      }
      throw new B24Error({ code, description, status, method });
    }
    const known = schema.safeParse(answer);
    if (known.success && status < 400) return known.data;
    const lacks = known.error?.issues.map(({ path }) => path.join(".")).join(", ");
    throw new UnreachableError(
      `${host} answered ${status}${lacks === undefined ? "" : `, and not what it should at ${lacks || "its top"}`}`,
    );
  }

  return {
    appInfo: async (token, server, signal) => {
      let refusal: B24Error | undefined;
      let outage: unknown;
      for (const host of firstFrom(server)) {
        try {
          return infoOf(await ask(host, "app.info", { auth: token }, APP_INFO, signal), endpointOf);
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
    refresh: async (refreshToken, { clientId, clientSecret }, server) => {
      const fields = {
        grant_type: "refresh_token",
        client_id: clientId,
        client_secret: clientSecret,
        refresh_token: refreshToken,
      };
      let refusal: unknown;
      for (const host of firstFrom(server)) {
        try {
          const asked = clock();
          return { ...pairOf(await ask(host, "oauth/token", fields, PAIR), asked, endpointOf), server: host };
        } catch (error) {
          // Another host may know a token that this one does not; of any other end, nobody knows what it did.
          if (!(error instanceof B24Error) || error.b24Code.toLowerCase() !== "invalid_grant" || host === server) {
            throw error;
          }
          refusal = error;
        }
      }
      throw refusal;
    },
  };
}

type EndpointOf = OAuthOptions["endpointOf"];

function infoOf({ result }: z.output<typeof APP_INFO>, endpointOf: EndpointOf): AppInfo {
  const { install } = result;
  const clientEndpoint = endpointOf(install.client_endpoint);
  return {
    clientId: result.client_id,
    memberId: install.member_id,
    ...(result.user_id === undefined ? {} : { userId: result.user_id }),
    tokenScope: result.scope,
    ...(clientEndpoint === undefined ? {} : { clientEndpoint }),
    ...(install.version === undefined ? {} : { version: install.version }),
    isInstalled: install.installed === undefined || !NO.has(String(install.installed)),
    ...(install.status === undefined ? {} : { status: install.status }),
    scope: install.scope,
  };
}

const NO: ReadonlySet<string> = new Set(["false", "N", "0", ""]);

function pairOf(pair: z.output<typeof PAIR>, asked: number, endpointOf: EndpointOf): Omit<RefreshedTokens, "server"> {
  const { expires, expires_in: lasts } = pair;
  const clientEndpoint = endpointOf(pair.client_endpoint);
  return {
    memberId: pair.member_id,
    accessToken: pair.access_token,
    refreshToken: pair.refresh_token,
    // How long it lasts is by our clock, and when it ends by the host's. Where neither is said, it is an hour.
    expiresAt: lasts === undefined && expires !== undefined ? expires * 1000 : asked + (lasts ?? 3600) * 1000,
    scope: pair.scope,
    ...(pair.user_id === undefined ? {} : { userId: pair.user_id }),
    ...(clientEndpoint === undefined ? {} : { clientEndpoint }),
  };
}

async function readText(response: Response, signal: AbortSignal): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  for await (const chunk of response.body ?? []) {
    signal.throwIfAborted();
    size += chunk.byteLength;
    if (size > ANSWER_BYTES) throw new RangeError("the answer is too large");
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
