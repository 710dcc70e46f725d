/**
 * Lets events through that come from Bitrix24, for this app and for the portal that they name.
 *
 * @module
 */
import * as z from "zod";
import {
  type B24Event,
  CannotVerifyError,
  type Context,
  digestToken,
  type Host,
  NotGenuineError,
  type Plugin,
  type Portal,
  type Proof,
  Secret,
} from "../mod.ts";

/** Options of {@linkcode applicationToken}. */
export interface ApplicationTokenOptions {
  /** Milliseconds for which the token before a changed one still counts; default 24 hours. */
  readonly graceMs?: number;
  /** Where access tokens are proved; default Bitrix24's two OAuth hosts. No payload can add one. */
  readonly oauthHosts?: readonly string[];
  /** Milliseconds that one host may take for a proof; default 5000. A second host is asked when the first is down. */
  readonly timeoutMs?: number;
  /** How often forged posts can make us ask Bitrix24. What is above is answered 503 without asking. */
  readonly proofs?: Partial<ProofLimits>;
}

/**
 * How many proofs are made in a minute. Whoever uses one up with forged posts delays what it is for: of `unknown`, new
 * installations; of `perPortal`, changed tokens of that portal. Events with the stored token need no proof.
 */
export interface ProofLimits {
  /** For one `member_id`; default 6. */
  readonly perPortal: number;
  /** For all portals that are stored; default 300. */
  readonly known: number;
  /** For all `member_id`s that are not; apart, so that made-up ones cannot use up what portals need; default 120. */
  readonly unknown: number;
}

const DAY_MS = 24 * 60 * 60 * 1000;
const OAUTH_HOSTS = ["https://oauth.bitrix24.tech", "https://oauth.bitrix.info"];

/**
 * Verifies events by their `application_token`:
 *
 * | stored token | event | decision |
 * |---|---|---|
 * | equal, or the previous one within `graceMs` | any | accepted |
 * | differs | has an access token | proved, then the new token is stored |
 * | differs | has none, or is ONAPPUNINSTALL, which a token cannot prove | refused |
 * | none: the portal is unknown or was removed | has an access token | proved, then the portal is stored |
 * | none: the portal is unknown | has no access token, or is ONAPPUNINSTALL | refused |
 * | equal, but the portal was removed | ONAPPINSTALL without an access token | refused |
 *
 * Proved means: one of `oauthHosts` says that the access token belongs to this app (`clientId`) on this portal
 * (`member_id`). The portal's address is taken from that answer, never from the event. A host that is down or does
 * not answer in time is "cannot check" (503), never "does not match" (403).
 *
 * Needs `clientId` in `createApp`. The limits of proofs count in one process.
 *
 * @throws {TypeError} when a limit is no number or a host no https address; and at start, without `clientId`
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage } from "@b24/onappupdate";
 * import { applicationToken } from "@b24/onappupdate/application-token";
 * import assert from "node:assert/strict";
 *
 * const app = createApp({ storage: memoryStorage() }).use(applicationToken());
 * await assert.rejects(app.start(), /needs clientId/);
 * ```
 */
export function applicationToken(options: ApplicationTokenOptions = {}): Plugin {
  const { graceMs = DAY_MS, oauthHosts = OAUTH_HOSTS, timeoutMs = 5000, proofs = {} } = options;
  const { perPortal = 6, known = 300, unknown = 120 } = proofs;
  const limits = { perPortal, known, unknown };
  const hosts = oauthHosts.map(originOf);
  // A limit that is no number would limit nothing.
  for (const [name, value] of Object.entries({ graceMs, timeoutMs, ...limits })) {
    if (!(value >= 0 && value < Infinity)) {
      throw new TypeError(`cannot verify with ${name} ${value}, wanted a number from 0`);
    }
  }
  let prove: ((event: B24Event, portal: Portal | undefined) => Promise<Proof>) | undefined;

  /** Tokens that were accepted, by their digests: hashing costs more than all the rest of an event. */
  const accepted = new Map<string, Secret>();

  async function has(digest: string, token: Secret): Promise<boolean> {
    const known = accepted.get(digest);
    if (known !== undefined) return known.equals(token);
    if (!new Secret(digest).equals(await digestToken(token))) return false;
    if (accepted.size >= ACCEPTED_TOKENS) accepted.clear();
    accepted.set(digest, token);
    return true;
  }

  async function isStored(token: Secret | undefined, portal: Portal | undefined, now: number): Promise<boolean> {
    const stored = portal?.applicationToken;
    if (token === undefined || stored === undefined) return false;
    if (await has(stored.current, token)) return true;
    const previous = stored.previous;
    return previous !== undefined && now - previous.replacedAt < graceMs && await has(previous.digest, token);
  }

  return {
    name: "application-token",
    phase: "verify",
    setup: (host) => {
      if (hosts.length === 0) throw new TypeError("cannot start: applicationToken() has no oauthHosts to ask");
      prove = prover(host, hosts, timeoutMs, limits);
    },
    around: async (ctx: Context, next) => {
      const { event, portal } = ctx;
      const { applicationToken, accessToken } = event.auth;
      const stored = await isStored(applicationToken, portal, ctx.receivedAt);
      // A removed portal needs more than the token of its past to be taken for installed again.
      const revives = portal?.status !== "installed" && (accessToken !== undefined || event.name === "ONAPPINSTALL");
      if (stored && !revives) return await next();
      // What would be proved is that the app is installed: of a removal, the opposite.
      if (accessToken === undefined || event.name === "ONAPPUNINSTALL") {
        const why = portal === undefined
          ? "the portal is unknown"
          : stored
          ? "the portal was removed"
          : "application_token is not the stored one";
        throw new NotGenuineError(`${why}, and there is no access token to prove ${event.name} by`);
      }
      const proof = await prove!(event, portal);
      ctx.log.info("access token proved", { portal: portal === undefined ? "unknown" : "known" });
      await next({ ...proof, ...(applicationToken === undefined ? {} : { applicationToken }) });
    },
  };
}

/** Some 200 bytes each. */
const ACCEPTED_TOKENS = 1000;

/** Loopback is let through for tests and demonstrations: nobody else can be there. */
function originOf(host: string): string {
  const url = URL.canParse(host) ? new URL(host) : undefined;
  const loopback = url?.protocol === "http:" && ["127.0.0.1", "localhost", "[::1]"].includes(url.hostname);
  if (url === undefined || !(url.protocol === "https:" || loopback) || url.username !== "" || url.password !== "") {
    throw new TypeError(
      `cannot use ${JSON.stringify(host)} as an OAuth host, wanted an address such as "https://oauth.bitrix.info"`,
    );
  }
  return url.origin;
}

function prover(
  { clientId, fetch, clock, log }: Host,
  hosts: readonly string[],
  timeoutMs: number,
  limits: ProofLimits,
): (event: B24Event, portal: Portal | undefined) => Promise<Proof> {
  if (clientId === undefined || clientId === "") {
    throw new TypeError(
      "cannot start: applicationToken() needs clientId in createApp(), or there is nothing to prove against",
    );
  }
  const budget = proofBudget(limits, clock);
  const underWay = new Map<string, Promise<AppInfo | string>>();

  /** Who owns the token; a text says why it is nobody's. Copies of one event share one request. */
  function lookUp(token: Secret, serverEndpoint: string | undefined): Promise<AppInfo | string> {
    const key = token.reveal();
    const running = underWay.get(key) ??
      askHosts(fetch, hosts, serverEndpoint, token, timeoutMs).finally(() => underWay.delete(key));
    underWay.set(key, running);
    return running;
  }

  return async (event, portal) => {
    const { memberId, accessToken, serverEndpoint } = event.auth;
    if (!underWay.has(accessToken!.reveal()) && !budget(memberId, portal !== undefined)) {
      throw new CannotVerifyError("too many proofs in this minute");
    }
    const info = await lookUp(accessToken!, serverEndpoint);
    if (typeof info === "string") throw new NotGenuineError(`the OAuth host refuses the access token: ${info}`);
    if (!new Secret(info.clientId).equals(clientId)) throw new NotGenuineError("the access token is another app's");
    if (info.memberId !== memberId) throw new NotGenuineError("the access token is another portal's");
    if (info.clientEndpoint === undefined) log.warn("the OAuth host gave no address of the portal", { memberId });
    return {
      ...(info.clientEndpoint === undefined ? {} : { clientEndpoint: info.clientEndpoint }),
      ...(info.version === undefined ? {} : { installedVersion: info.version }),
    };
  };
}

/** Counts proofs in windows of a minute. Its memory is bounded by what it lets through. */
function proofBudget(limits: ProofLimits, clock: () => number): (memberId: string, known: boolean) => boolean {
  let window = 0;
  let counts = { known: 0, unknown: 0 };
  let portals = new Map<string, number>();
  return (memberId, known) => {
    const now = Math.floor(clock() / 60_000);
    if (now !== window) [window, counts, portals] = [now, { known: 0, unknown: 0 }, new Map()];
    const kind = known ? "known" : "unknown";
    const ofPortal = portals.get(memberId) ?? 0;
    if (counts[kind] >= limits[kind] || ofPortal >= limits.perPortal) return false;
    counts[kind]++;
    portals.set(memberId, ofPortal + 1);
    return true;
  };
}

interface AppInfo {
  readonly clientId: string;
  readonly memberId: string;
  readonly version?: string;
  readonly clientEndpoint?: string;
}

/**
 * Asks the host that the event names, if it is one of ours, and all of them where it names none or that one is down.
 *
 * @throws {CannotVerifyError} when no host knows the token and not all could be asked
 */
async function askHosts(
  fetch: Host["fetch"],
  hosts: readonly string[],
  serverEndpoint: string | undefined,
  token: Secret,
  timeoutMs: number,
): Promise<AppInfo | string> {
  const named = serverEndpoint !== undefined && URL.canParse(serverEndpoint) ? new URL(serverEndpoint).origin : "";
  let refusal: string | undefined;
  let outage: unknown;
  for (const host of hosts.toSorted((a, b) => Number(b === named) - Number(a === named))) {
    try {
      const info = await appInfo(fetch, host, token, timeoutMs);
      if (typeof info !== "string") return info;
      refusal = info;
      if (host === named) break;
    } catch (error) {
      outage = error;
    }
  }
  if (outage !== undefined || refusal === undefined) throw outage;
  return refusal;
}

/** What these mean is known: the token is not one of this app on an installed portal. Anything else proves nothing. */
const REFUSALS = new Set([
  "expired_token",
  "invalid_client",
  "invalid_grant",
  "invalid_token",
  "no_auth_found",
  "not_installed",
  "wrong_client",
]);

const text = z.union([z.string(), z.number()]).transform(String);
const ANSWER = z.union([
  z.object({ error: text }),
  z.object({
    result: z.object({
      client_id: z.string(),
      install: z.object({
        member_id: z.string().toLowerCase(),
        version: text.optional(),
        client_endpoint: z.string().optional(),
      }),
    }),
  }),
]);

/** @throws {CannotVerifyError} when the host does not answer, or not what `app.info` answers */
async function appInfo(
  fetch: Host["fetch"],
  host: string,
  token: Secret,
  timeoutMs: number,
): Promise<AppInfo | string> {
  let answer: z.output<typeof ANSWER>;
  let status: number;
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await fetch(`${host}/rest/app.info`, {
      method: "POST",
      body: new URLSearchParams({ auth: token.reveal() }),
      redirect: "manual",
      signal,
    });
    // Errors come with HTTP 200 too, and refusals with 400 and 401: the body is read always.
    answer = ANSWER.parse(JSON.parse(await readText(response, signal)));
    status = response.status;
  } catch (error) {
    // The causes of fetch and JSON may quote what they were given.
    const name = error instanceof Error ? error.name : "Error";
    throw new CannotVerifyError(`${host} gave no answer that could be read (${name})`);
  }
  if ("error" in answer) {
    if (status < 500 && REFUSALS.has(answer.error.toLowerCase())) return answer.error;
    const code = answer.error.replaceAll(token.reveal(), "[redacted]").slice(0, 60);
    throw new CannotVerifyError(`${host} answered ${status} ${JSON.stringify(code)}`);
  }
  if (status >= 500) throw new CannotVerifyError(`${host} answered ${status}`);
  const { client_id, install } = answer.result;
  return {
    clientId: client_id,
    memberId: install.member_id,
    ...(install.version === undefined ? {} : { version: install.version }),
    ...(isPortalAddress(install.client_endpoint) ? { clientEndpoint: install.client_endpoint } : {}),
  };
}

function isPortalAddress(address: string | undefined): address is string {
  if (address === undefined || !URL.canParse(address)) return false;
  const { protocol, username, password } = new URL(address);
  return protocol === "https:" && username === "" && password === "";
}

/** Far above what `app.info` answers. */
const ANSWER_BYTES = 65_536;

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
