/** A portal whose answers a test chooses, its credentials, and a clock that advances when the plugin waits. */
import assert from "node:assert/strict";
import { inspect } from "node:util";
import { B24Error, type PluginHost, type PortalCredentials, Secret } from "@b24/onappupdate";
import { AddressError } from "@b24/onappupdate/errors";
import { type B24, type B24Timer, type Rest, rest, type RestOptions } from "@b24/onappupdate/rest";
import { type CallRecovery, createPortalCall } from "../../../../src/credentials/portal_call.ts";
import { digest } from "../../../../src/net/digest.ts";
import { MEMBER_ID, recordingLogger } from "../../../support/app.ts";

export const ENDPOINT = "https://example.bitrix24.de/rest/";
export const NOW = 1_785_300_000_000;

/** A request as the portal received it. */
export interface Sent {
  readonly url: string;
  readonly http: string;
  readonly redirect: string;
  readonly contentType: string | null;
  readonly headers: Headers;
  readonly host: string;
  /** The REST method. */
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly auth: unknown;
}

export type Answer = (sent: Sent, count: number) => Response | Promise<Response>;

/** A client, and everything that it can reach. */
export interface Counter {
  readonly plugin: Rest;
  readonly host: PluginHost;
  readonly b24: B24;
  readonly sent: Sent[];
  /** The calls of the credentials, in words. */
  readonly asked: string[];
  /** Milliseconds of each wait. */
  readonly waits: number[];
  readonly lines: string[];
  /** The functions by which the client recovers; its members can be replaced. */
  readonly recovery: CallRecovery;
  readonly timer: B24Timer;
  /** Resolves after so many milliseconds, which are no wait of the client: the time that an answer takes. */
  readonly takes: (ms: number) => Promise<void>;
  /** Returns the answers of portals from now on. */
  answer: Answer;
  /** Milliseconds since 1970. */
  now: number;
  /** Number of users whose tokens are stored. */
  users: number;
  /** All access tokens that were issued. */
  readonly tokens: string[];
}

/** Returns the answer to a call that succeeds. */
export function ok(result: unknown, more: object = {}): Response {
  return Response.json({ result, ...more });
}

/** Returns the answer to a call that is refused. */
export function refusal(status: number, error: unknown, more: object = {}): Response {
  return Response.json({ error, error_description: `about ${error}`, ...more }, { status });
}

/** Returns a timer whose time goes on to the next end of a wait when nothing else happens. */
function virtualTimer(passed: (ms: number) => void = () => {}): B24Timer {
  let elapsed = 0;
  let isScheduled = false;
  const waits = new Set<{ readonly at: number; readonly end: () => void }>();
  const schedule = (): void => {
    if (isScheduled || waits.size === 0) return;
    isScheduled = true;
    // Whatever is about to happen now happens first.
    setTimeout(() => setTimeout(() => setTimeout(goOn)));
  };
  const goOn = (): void => {
    isScheduled = false;
    const [first] = Array.from(waits).sort((a, b) => a.at - b.at);
    if (first === undefined) return;
    waits.delete(first);
    const ms = Math.max(0, first.at - elapsed);
    elapsed += ms;
    passed(ms);
    first.end();
    schedule();
  };
  return {
    now: () => elapsed,
    sleep: (ms, signal) =>
      new Promise((end) => {
        const wait = { at: elapsed + ms, end };
        waits.add(wait);
        signal.addEventListener("abort", () => waits.delete(wait), { once: true });
        schedule();
      }),
  };
}

/** Returns a plugin that was set up without an app. */
export function counter(options: RestOptions = {}, replaced: { readonly fetch?: typeof fetch } = {}): Counter {
  const { logger, lines } = recordingLogger();
  const tokens: string[] = [];
  const asked: string[] = [];
  const endpoints = new Map<string, string>();
  const latest = new Map<string, PortalCredentials>();
  const make = (memberId: string, userId: number): PortalCredentials => {
    // Words: only a redaction that knows them can find them.
    const token = `access_${tokens.length + 1}_zyxwvutsrqponm`;
    tokens.push(token);
    const access: PortalCredentials = {
      clientEndpoint: endpoints.get(memberId) ?? ENDPOINT,
      accessToken: new Secret(token),
      expiresAt: made.now + 3_600_000,
      isSystemUser: false,
      userId,
      scope: ["crm"],
    };
    latest.set(`${memberId} ${userId}`, access);
    return access;
  };
  const recovery: CallRecovery = {
    log: logger,
    get: (memberId) => {
      asked.push("get");
      return Promise.resolve(latest.get(`${memberId} 1`) ?? make(memberId, 1));
    },
    refresh: (memberId, refused) => {
      asked.push(`refresh ${refused.userId}`);
      return Promise.resolve(make(memberId, refused.userId!));
    },
    otherUser: (memberId, denied) => {
      asked.push(`other user than ${denied.map(({ userId }) => userId)}`);
      for (let userId = 1; userId <= made.users; userId++) {
        if (!denied.some((one) => one.userId === userId)) return Promise.resolve(make(memberId, userId));
      }
      return Promise.resolve(undefined);
    },
    follow: (memberId, from, endpoint) => {
      asked.push(`follow ${endpoint}`);
      const { hostname } = new URL(endpoint);
      if (!hostname.endsWith(".bitrix24.de")) return Promise.reject(new AddressError(`cannot follow to ${hostname}`));
      endpoints.set(memberId, `https://${hostname}/rest/`);
      return Promise.resolve({ ...from, clientEndpoint: `https://${hostname}/rest/` });
    },
    recordRefusal: (_memberId, error) => {
      asked.push(`record ${error instanceof B24Error ? error.b24Code : error.blockedOn}`);
      return Promise.resolve();
    },
  };
  const portalFetch: typeof fetch = replaced.fetch ?? (async (input, init) => {
    const request = new Request(input, init);
    const { url, method: http, redirect, headers } = request;
    // At once: a call with a short time limit may be given up before the body of a request is read.
    const { auth, ...params } = JSON.parse(String(init?.body));
    const { host, pathname } = new URL(url);
    const method = pathname.replace("/rest/", "");
    const contentType = headers.get("content-type");
    const sent: Sent = { url, http, redirect, contentType, headers, host, method, params, auth };
    made.sent.push(sent);
    return await made.answer(sent, made.sent.length);
  });
  const virtual = virtualTimer((ms) => made.now += ms);
  const timer: B24Timer = {
    now: virtual.now,
    sleep: (ms, signal) => {
      made.waits.push(ms);
      return virtual.sleep(ms, signal);
    },
  };
  const credentials = {
    get: recovery.get,
    refresh: recovery.refresh,
    // Looked up at each call: tests replace members of it.
    call: createPortalCall(recovery),
  };
  const known: Partial<PluginHost> = { credentials, portalFetch, clock: () => made.now, digest, log: logger };
  const host = known as PluginHost;
  const plugin = rest({ timer, ...options });
  plugin.setup!(host);
  const made: Counter = {
    ...{ plugin, host, recovery, timer, lines, tokens, asked },
    takes: (ms) => virtual.sleep(ms, new AbortController().signal),
    b24: plugin.portal(MEMBER_ID),
    sent: [],
    waits: [],
    answer: () => ok(true),
    now: NOW,
    users: 1,
  };
  return made;
}

/** Returns the error that `work` rejects with. It must have the `expected` members; no token may be in it, in URLs or logs. */
export async function failure(
  made: Counter,
  work: Promise<unknown>,
  expected: Readonly<Record<string, unknown>>,
): Promise<Error> {
  const outcome = await work.then((value) => ({ value }), (error) => ({ error }));
  assert("error" in outcome, `resolved to ${inspect(outcome)}`);
  const { error } = outcome;
  assert(error instanceof Error);
  assert.deepEqual(Object.fromEntries(Object.keys(expected).map((key) => [key, error[key as keyof Error]])), expected);
  assertNoToken(made, error);
  return error;
}

/** Fails if `seen`, a URL or the log contains a token. */
export function assertNoToken(made: Counter, ...seen: readonly unknown[]): void {
  const texts = [inspect(seen, { depth: 20, showHidden: true }), JSON.stringify(seen), ...made.lines];
  for (let error = seen[0]; error instanceof Error; error = error.cause) texts.push(error.message, error.stack ?? "");
  texts.push(...made.sent.map(({ url }) => url));
  for (const token of made.tokens) for (const text of texts) assert(!text.includes(token), text);
}
