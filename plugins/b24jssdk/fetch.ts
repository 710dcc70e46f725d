/** The fetch that an SDK is given. */
import { B24Error, OnAppUpdateError, type PluginHost, type PortalCredentials } from "../../mod.ts";
import { AddressError, UnreachableError } from "../../errors.ts";

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
export function signedFetch(
  { credentials, portalFetch, log }: PluginHost,
  memberId: string,
  first: PortalCredentials,
  over: AbortSignal,
): typeof fetch {
  const root = new URL(first.clientEndpoint).href;
  const renewals: Following = new WeakMap();
  const moves: Following = new WeakMap();
  /** What the next call goes out with. */
  let current = first;

  /** What comes after `from`, once for all calls that went out with it. */
  function after(
    from: PortalCredentials,
    known: Following,
    find: () => Promise<PortalCredentials>,
  ): Promise<PortalCredentials> {
    const found = known.get(from) ?? find().then((next) => {
      if (current === from) current = next;
      return next;
    });
    known.set(from, found);
    found.catch(() => known.delete(from));
    return found;
  }

  async function send(sent: Sent, by: PortalCredentials, signal: AbortSignal): Promise<Answer> {
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
    const tried: PortalCredentials[] = [];
    let [by, moved, isRenewed] = [current, 0, false];
    while (true) {
      const { response, error, movedTo } = await send(sent, by, signal);
      if (movedTo !== undefined) {
        if (moved++ === MOVES) throw new AddressError(`cannot follow portal ${memberId}: it redirects again and again`);
        by = await after(by, moves, () => credentials.moved(memberId, by, movedTo, { signal: over }));
        continue;
      }
      const code = error?.b24Code.toLowerCase() ?? "";
      if (SPENT.includes(code)) {
        if (isRenewed) throw error;
        isRenewed = true;
        by = await after(by, renewals, () => credentials.refresh(memberId, by, { signal: over }));
        continue;
      }
      if (DENIED.includes(code)) {
        tried.push(by);
        const other = await credentials.another(memberId, tried, { signal });
        if (other !== undefined) {
          [by, isRenewed] = [other, false];
          continue;
        }
      }
      if (error?.blockedOn !== undefined) {
        await credentials.refused(memberId, error)
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
type Following = WeakMap<PortalCredentials, Promise<PortalCredentials>>;

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
