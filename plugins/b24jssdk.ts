/**
 * Gives handlers the official JavaScript SDK of Bitrix24 for the portal of their event: adds `b24sdk` to every context.
 * The SDK, `@bitrix24/b24jssdk` from 2.2, is yours to install and to pass in.
 *
 * @module
 */
import {
  type Access,
  AddressError,
  B24Error,
  type Context,
  type Host,
  OnAppUpdateError,
  type Plugin,
  UnreachableError,
} from "../mod.ts";

/** What {@linkcode b24jssdk} adds to a context. */
export interface HasB24Sdk<S extends Sdk = Sdk> {
  /**
   * The SDK of the event's portal, the same one each time. Made at the first call, and destroyed after the event: what
   * it is asked then rejects.
   *
   * Its calls reject with the SDK's own errors, whose `cause` is a {@linkcode B24Error} where the handler's portal has to
   * wait; and, like this function, with the following.
   *
   * @throws {NoAccessError} when there is no token to call the portal with
   * @throws {UnreachableError} when the portal does not answer
   * @throws {AddressError} when the portal is, or has moved to, where no token may go
   * @throws {B24Error} when the portal refuses also a renewed token, answers what cannot be read, or must not be asked again
   */
  readonly b24sdk: () => Promise<S>;
}

/** Options of {@linkcode b24jssdk}. */
export interface B24JsSdkOptions<S extends Sdk> {
  /** The class of that name, of `@bitrix24/b24jssdk`, or one that extends it. */
  readonly B24OAuth: SdkClass<S>;
  /** Prepares each SDK before it is used: for limits of an Enterprise portal, a logger, or a time-out other than 70 seconds. */
  readonly configure?: (sdk: S, memberId: string) => void | Promise<void>;
}

/** What is used of the SDK's class `B24OAuth`. */
export interface SdkClass<S extends Sdk> {
  /** Makes an SDK for one portal. */
  new (auth: SdkAuth, secret: SdkSecret, options: SdkSettings): S;
  /** Tells which functions it has. */
  readonly prototype: S;
}

/** What is used of the SDK. */
export interface Sdk {
  /** Takes the place of the SDK's own way to renew tokens. */
  readonly setCustomRefreshAuth: (refresh: () => Promise<never>) => void;
  /** Its addresses, by the versions of REST. */
  readonly getTargetOriginWithPath: () => ReadonlyMap<unknown, string>;
  /** The client of a version of REST. */
  readonly getHttpClient: (version: never) => SdkHttp;
  /** Without one, the SDK writes to the console. */
  readonly setLogger: (logger: SdkLogger) => void;
  /** Ends it. */
  readonly destroy: () => void;
}

/** What is used of the SDK's client of one version of REST. */
export interface SdkHttp {
  /** Of axios. */
  readonly ajaxClient: { readonly defaults: object };
  /** What everything goes through. */
  call: (...args: never[]) => Promise<unknown>;
}

/** The SDK's `B24OAuthParams`, with words in the place of all secrets. */
export interface SdkAuth {
  /** A word. */
  readonly applicationToken: string;
  /** 0 where Bitrix24 did not say. */
  readonly userId: number;
  /** The portal. */
  readonly memberId: string;
  /** A word. */
  readonly accessToken: string;
  /** A word. */
  readonly refreshToken: string;
  /** Seconds since 1970, far away. */
  readonly expires: number;
  /** Seconds. */
  readonly expiresIn: number;
  /** With commas. */
  readonly scope: string;
  /** Host of the portal. */
  readonly domain: string;
  /** The portal's REST. */
  readonly clientEndpoint: string;
  /** Of no host. */
  readonly serverEndpoint: string;
  /** `L`: the SDK makes no difference. */
  readonly status: "L";
}

/** The SDK's `B24OAuthSecret`, with words in the place of all secrets. */
export interface SdkSecret {
  /** A word. */
  readonly clientId: string;
  /** A word. */
  readonly clientSecret: string;
}

/** What the SDK is made with besides. */
export interface SdkSettings {
  /** In all that is not named here, the SDK's own. */
  readonly restrictionParams: { readonly retryOnNetworkError: boolean };
}

/** The SDK's `LoggerInterface`. */
export type SdkLogger = Readonly<
  Record<
    "log" | "debug" | "info" | "notice" | "warning" | "error" | "critical" | "alert" | "emergency",
    () => Promise<void>
  >
>;

/**
 * Adds `b24sdk()` to every context: an instance of your `B24OAuth` for the event's portal. Nothing is read and nothing
 * requested before it is called.
 *
 * The SDK never has a token: the access token is put in as a request goes out, by `host.access`, which renews it for one
 * process at a time and stores it before it is used. Requests go through `host.portalFetch`: to the portal's REST only, and
 * redirects are followed only to where the portal has moved. Calls that were cut off are not repeated, since they
 * may have been done; `configure` can set the SDK's `retryOnNetworkError`.
 *
 * @throws {TypeError} when `B24OAuth` lacks what is used of it
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage } from "@b24/onappupdate";
 * import { applicationToken } from "@b24/onappupdate/application-token";
 * import { b24jssdk } from "@b24/onappupdate/b24jssdk";
 * import { B24OAuth } from "@bitrix24/b24jssdk";
 *
 * const app = createApp({ storage: memoryStorage(), clientId: "app.5f3a", clientSecret: "…" })
 *   .use(applicationToken())
 *   .use(b24jssdk({ B24OAuth }))
 *   .upgrade("2.0.0", async ({ b24sdk, step }) => {
 *     await step("field", async () => {
 *       const { actions } = await b24sdk();
 *       const params = { fields: { FIELD_NAME: "RATING", USER_TYPE_ID: "integer" } };
 *       const answer = await actions.v2.call.make({ method: "crm.deal.userfield.add", params });
 *       if (!answer.isSuccess) throw new Error(answer.getErrorMessages().join("; "));
 *     });
 *   });
 * await app.close();
 * ```
 */
export function b24jssdk<S extends Sdk>({ B24OAuth, configure }: B24JsSdkOptions<S>): Plugin<object, HasB24Sdk<S>> {
  assertClass(B24OAuth);
  let host: Host | undefined;
  const ends = new WeakMap<HasB24Sdk<S>["b24sdk"], () => Promise<void>>();

  async function open(memberId: string, signal: AbortSignal): Promise<S> {
    const access = await host!.access.get(memberId, { signal });
    const sdk = new B24OAuth(authOf(memberId, access), { clientId: WORD, clientSecret: WORD }, SETTINGS);
    sdk.setLogger(SILENT);
    takeOver(sdk, signedFetch(host!, memberId, access, signal), signal);
    await configure?.(sdk, memberId);
    return sdk;
  }

  function extend({ event, signal }: Context): HasB24Sdk<S> {
    const { memberId } = event.auth;
    const over = new AbortController();
    const either = AbortSignal.any([signal, over.signal]);
    let made: Promise<S> | undefined;
    const b24sdk = (): Promise<S> => {
      if (made !== undefined) return made;
      if (either.aborted) return Promise.reject(either.reason);
      const opened = made = open(memberId, either);
      // It can be asked for again.
      opened.catch(() => made = undefined);
      return opened;
    };
    ends.set(b24sdk, async () => {
      over.abort(new Error(`cannot use the SDK of portal ${memberId} any more: its event is over`));
      try {
        (await made?.catch(() => undefined))?.destroy();
      } catch (error) {
        host!.log.warn("an SDK could not be destroyed", { memberId, error });
      }
    });
    return { b24sdk };
  }

  return {
    name: "b24jssdk",
    adds: ["b24sdk"],
    setup: (given) => {
      host = given;
    },
    extend,
    around: async ({ b24sdk }, next) => {
      try {
        await next();
      } finally {
        await ends.get(b24sdk)!();
      }
    },
  };
}

/** Without these, the SDK would renew tokens by itself, or send them by itself. */
const USED = ["setCustomRefreshAuth", "getTargetOriginWithPath", "getHttpClient", "setLogger", "destroy"] as const;

function assertClass(B24OAuth: Partial<SdkClass<Sdk>> | undefined): void {
  const prototype: Partial<Sdk> | undefined = B24OAuth?.prototype;
  const missing = USED.filter((name) => typeof prototype?.[name] !== "function");
  if (missing.length === 0) return;
  throw new TypeError(`cannot use this B24OAuth: it has no ${missing[0]}(), ${WANTED}`);
}

const WANTED = "wanted the class of @bitrix24/b24jssdk 2.2 or later";

/** What the SDK is given for every secret: what it does not have it can neither log nor send. */
const WORD = "kept-by-onappupdate";

/** Calls that were cut off may have been done. */
const SETTINGS: SdkSettings = { restrictionParams: { retryOnNetworkError: false } };

/** Bitrix24 itself gives up after 60 seconds; the SDK would, after 30. */
const TIMEOUT_MS = 70_000;

const silent = (): Promise<void> => Promise.resolve();
const SILENT: SdkLogger = {
  ...{ log: silent, debug: silent, info: silent, notice: silent, warning: silent },
  ...{ error: silent, critical: silent, alert: silent, emergency: silent },
};

function authOf(memberId: string, { clientEndpoint, userId = 0, scope }: Access): SdkAuth {
  return {
    applicationToken: WORD,
    userId,
    memberId,
    accessToken: WORD,
    refreshToken: WORD,
    // The portal says when a token has ended.
    expires: 253402300799,
    expiresIn: 3600,
    scope: scope.join(","),
    domain: new URL(clientEndpoint).host,
    clientEndpoint,
    // Should the SDK ever go to its OAuth host after all: a name that is nobody's.
    serverEndpoint: "https://oauth.invalid/rest/",
    status: "L",
  };
}

/** Has all that `sdk` sends go through `fetch`, and what becomes of it understood by the app. */
function takeOver(sdk: Sdk, fetch: typeof globalThis.fetch, signal: AbortSignal): void {
  for (const version of sdk.getTargetOriginWithPath().keys()) {
    const http = sdk.getHttpClient(version as never);
    const defaults = http.ajaxClient?.defaults as { env?: object } | undefined;
    if (defaults === undefined || typeof http.call !== "function") {
      throw new TypeError(`cannot use this SDK: its requests do not go through axios, ${WANTED}`);
    }
    Object.assign(defaults, { adapter: "fetch", env: { ...defaults.env, fetch }, timeout: TIMEOUT_MS });
    const call = http.call.bind(http);
    http.call = async (...args) => {
      try {
        return await unlessAborted(signal, () => call(...args));
      } catch (error) {
        signal.throwIfAborted();
        throw understood(error, String(args[0]));
      }
    };
  }
  // `fetch` renews tokens, and never answers that one has ended: this is another host's answer to the word.
  sdk.setCustomRefreshAuth(() =>
    Promise.reject(new TypeError(`cannot use this SDK: its requests do not go through axios' fetch, ${WANTED}`))
  );
}

/** The SDK has no signal of its own, and may wait for long before it calls again. */
async function unlessAborted<T>(signal: AbortSignal, run: () => Promise<T>): Promise<T> {
  signal.throwIfAborted();
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop);
  });
  try {
    return await Promise.race([run(), aborted]);
  } finally {
    signal.removeEventListener("abort", stop!);
  }
}

/** What an SDK's call threw, or what made it throw that. */
function understood(thrown: unknown, method: string): unknown {
  for (let at = thrown, depth = 0; at instanceof Error && depth < 5; depth++) {
    if (at instanceof OnAppUpdateError) return at;
    at = (at as { readonly originalError?: unknown }).originalError ?? at.cause;
  }
  const { code, status } = Object(thrown) as { readonly code?: unknown; readonly status?: unknown };
  if (thrown instanceof Error && typeof code === "string" && typeof status === "number") {
    const said = new B24Error({ code, description: thrown.message, status, method });
    // By this, the app knows what the portal has to wait for.
    if (said.waitsFor !== undefined || said.isFinal) Object.defineProperty(thrown, "cause", { value: said });
  }
  return thrown;
}

/** Bitrix24's words for a token that is to be renewed, and for a user who may not. */
const SPENT = ["expired_token", "invalid_token", "no_auth_found"];
const DENIED = ["access_denied", "user_access_error"];
/** Answers that leave a call undone, and say where to do it. */
const REDIRECTS = [301, 302, 307, 308];
/** How often one call follows its portal. */
const MOVES = 2;

/**
 * A fetch that sends what the SDK sends, but with the access token in it, and to the portal's REST only. It renews the
 * token, and follows the portal where it has moved, so that the SDK sees neither.
 */
function signedFetch(
  { access, portalFetch, log }: Host,
  memberId: string,
  first: Access,
  over: AbortSignal,
): typeof fetch {
  const root = new URL(first.clientEndpoint).href;
  const renewals: Following = new WeakMap();
  const moves: Following = new WeakMap();
  /** What the next call goes out with. */
  let current = first;

  /** What comes after `from`, once for all calls that went out with it. */
  function after(from: Access, known: Following, find: () => Promise<Access>): Promise<Access> {
    const found = known.get(from) ?? find().then((next) => {
      if (current === from) current = next;
      return next;
    });
    known.set(from, found);
    found.catch(() => known.delete(from));
    return found;
  }

  async function send(sent: Sent, by: Access, signal: AbortSignal): Promise<Answer> {
    const token = by.accessToken.reveal();
    const { path, headers, params } = sent;
    const method = /[^/]*$/.exec(path.split("?")[0]!)![0];
    const body = JSON.stringify({ ...params, auth: token });
    let status: number, location: string | null, text: string;
    try {
      const url = `${by.clientEndpoint}${path}`;
      const response = await portalFetch(url, { method: "POST", headers, body, redirect: "manual", signal });
      ({ status } = response);
      location = response.headers.get("location");
      text = await textOf(response);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof OnAppUpdateError) throw error;
      // Neither its message nor its cause: they may quote what was sent.
      throw new UnreachableError(`portal ${memberId} gave no answer to ${method}`);
    }
    if (REDIRECTS.includes(status) && location !== null) {
      // Whoever has our token may have put it in there, and what is refused is quoted.
      const to = URL.canParse(location, root) ? new URL("/rest/", new URL(location, root)).href : "";
      return { movedTo: to.includes(token.toLowerCase()) ? "" : to };
    }
    // Errors may quote the token; results have it in addresses of files, for example.
    const clean = text.replaceAll(token, "[redacted]");
    const error = errorIn(clean, status, method);
    const shown = error === undefined ? text : clean;
    const response = new Response(shown, { status, headers: { "content-type": "application/json" } });
    return error === undefined ? { response } : { response, error };
  }

  async function call(sent: Sent, signal: AbortSignal): Promise<Response> {
    const tried: Access[] = [];
    let [by, moved, isRenewed] = [current, 0, false];
    while (true) {
      const { response, error, movedTo } = await send(sent, by, signal);
      if (movedTo !== undefined) {
        if (moved++ === MOVES) throw new AddressError(`cannot follow portal ${memberId}: it redirects again and again`);
        by = await after(by, moves, () => access.moved(memberId, by, movedTo, { signal: over }));
        continue;
      }
      const code = error?.code.toLowerCase() ?? "";
      if (SPENT.includes(code)) {
        if (isRenewed) throw error;
        isRenewed = true;
        by = await after(by, renewals, () => access.renew(memberId, by, { signal: over }));
        continue;
      }
      if (DENIED.includes(code)) {
        tried.push(by);
        const other = await access.another(memberId, tried, { signal });
        if (other !== undefined) {
          [by, isRenewed] = [other, false];
          continue;
        }
      }
      if (error?.waitsFor !== undefined) {
        await access.refused(memberId, error)
          .catch((cause) => log.warn("what a portal refused could not be stored", { memberId, error: cause }));
      }
      // The SDK would repeat it.
      if (error?.isFinal === true) throw error;
      return response!;
    }
  }

  return async (input, init) => {
    const request = new Request(input, init);
    const signal = AbortSignal.any([request.signal, over]);
    try {
      signal.throwIfAborted();
      return await call(await sentBy(request, root, memberId), signal);
    } catch (error) {
      // Of the codes that the SDK throws without calling again.
      throw Object.assign(new Error(String(error), { cause: error }), { code: "JSSDK_UNKNOWN_ERROR" });
    }
  };
}

/** What comes after an access that is spent. */
type Following = WeakMap<Access, Promise<Access>>;

/** A request of the SDK. */
interface Sent {
  /** From the root of the portal's REST. */
  readonly path: string;
  readonly headers: Headers;
  readonly params: object;
}

interface Answer {
  readonly response?: Response;
  /** What Bitrix24 says in it. */
  readonly error?: B24Error;
  /** Root of a REST; empty where it is none. */
  readonly movedTo?: string;
}

async function sentBy(request: Request, root: string, memberId: string): Promise<Sent> {
  const { url, method, headers } = request;
  const type = headers.get("content-type") ?? "nothing";
  if (!url.startsWith(root) || method !== "POST" || !type.startsWith("application/json")) {
    throw new AddressError(
      `cannot send ${method} of ${type.split(";")[0]} to ${new URL(url).host} for portal ${memberId}, ` +
        "wanted POST of application/json to its REST",
    );
  }
  const kept = new Headers(headers);
  kept.delete("content-length");
  // The SDK puts a second slash after the root.
  return { path: url.slice(root.length).replace(/^\/+/, ""), headers: kept, params: JSON.parse(await request.text()) };
}

/** How many bytes an answer may have, 32 MiB. */
const ANSWER_BYTES = 32 * 2 ** 20;

/** @throws {TypeError} when it is too long */
async function textOf(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let [text, bytes] = ["", 0];
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > ANSWER_BYTES) throw new TypeError(`cannot read more than ${ANSWER_BYTES} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/**
 * The error that an answer is, in either version of REST.
 *
 * @throws {B24Error} when it is nothing that Bitrix24 answers
 */
function errorIn(text: string, status: number, method: string): B24Error | undefined {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    // Told below.
  }
  if (typeof answer !== "object" || answer === null || Array.isArray(answer)) {
    throw new B24Error({ code: "ERROR_UNEXPECTED_ANSWER", description: "it is no JSON of Bitrix24's", status, method });
  }
  const { error, error_description: told } = answer as {
    readonly error?: unknown;
    readonly error_description?: unknown;
  };
  const [code, description] = typeof error === "object" && error !== null
    ? [(error as { readonly code?: unknown }).code, (error as { readonly message?: unknown }).message]
    : [error, told];
  if (typeof code !== "string" || code === "") return undefined;
  return new B24Error({ code, description: typeof description === "string" ? description : "", status, method });
}
