/** The `fetch` that an SDK is given: it adds the access token, and recovers from refused tokens and moved portals. */
import {
  type AnswerLimits,
  B24Error,
  countCall,
  type HostAnswer,
  OnAppUpdateError,
  type PluginHost,
  type PortalCredentials,
  readAnswer,
  redact,
} from "../../mod.ts";
import { AddressError, AnswerTooLargeError, PortalMovedError, UnreachableError } from "../../errors.ts";

/** Statuses of redirects after which the portal has not done what it was asked. */
const REDIRECTS = [301, 302, 307, 308];

/** The portal that an SDK was created for. */
export interface SdkPortal {
  readonly host: PluginHost;
  readonly memberId: string;
  /** The address of the REST API that the SDK was created with. */
  readonly root: string;
  /** Requests end once it is aborted. */
  readonly over: AbortSignal;
  readonly limits: AnswerLimits;
}

/**
 * Returns a `fetch` that sends the SDK's requests with an access token, and to the portal's REST API only. Refused tokens
 * and redirects are handled by `host.credentials`: the SDK sees neither.
 */
export function signedFetch(portal: SdkPortal): typeof fetch {
  return async (input, init) => {
    const request = new Request(input, init);
    const signal = AbortSignal.any([request.signal, portal.over]);
    try {
      signal.throwIfAborted();
      return await call(portal, await readRequest(request, portal), signal);
    } catch (error) {
      // One of the codes that the SDK throws without repeating the request.
      throw Object.assign(new Error(String(error), { cause: error }), { code: "JSSDK_UNKNOWN_ERROR" });
    }
  };
}

/** A request of the SDK. */
interface SdkRequest {
  /** Relative to the portal's REST API. */
  readonly path: string;
  readonly headers: Headers;
  readonly params: object;
}

/** An answer, and the error of Bitrix24 in it. */
interface Answer {
  readonly response: Response;
  readonly error?: B24Error;
}

/** @throws {AddressError} if the request is not one of JSON to the portal's REST API */
async function readRequest(request: Request, { root, memberId }: SdkPortal): Promise<SdkRequest> {
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

async function call(portal: SdkPortal, request: SdkRequest, signal: AbortSignal): Promise<Response> {
  const last: { answer?: Answer } = {};
  const attempt = async (credentials: PortalCredentials): Promise<Response> => {
    countCall(methodOf(request));
    const answer = last.answer = await send(portal, request, credentials, signal);
    if (answer.error !== undefined) throw answer.error;
    return answer.response;
  };
  try {
    return await portal.host.credentials.call(portal.memberId, attempt, { signal });
  } catch (error) {
    const { answer } = last;
    const refusal = answer?.error;
    // Other errors are not about the answer. After a final error or a refused token, the SDK would repeat the request.
    if (answer === undefined || refusal !== error || refusal?.isFinal || refusal?.refusesToken) throw error;
    // The SDK makes its own error of it.
    return answer.response;
  }
}

/** Returns the method that a request calls. */
function methodOf({ path }: Pick<SdkRequest, "path">): string {
  return /[^/]*$/.exec(path.split("?")[0]!)![0];
}

/**
 * Sends a request once.
 *
 * @throws {PortalMovedError} if the portal redirects
 * @throws {UnreachableError} if the portal does not answer
 * @throws {B24Error} if the answer is not one of Bitrix24, or is too large
 */
async function send(
  { host, memberId, limits }: SdkPortal,
  { path, headers, params }: SdkRequest,
  { clientEndpoint, accessToken }: PortalCredentials,
  signal: AbortSignal,
): Promise<Answer> {
  const method = methodOf({ path });
  const body = JSON.stringify({ ...params, auth: accessToken.reveal() });
  let status = 0;
  let answer: HostAnswer;
  try {
    const init: RequestInit = { method: "POST", headers, body, redirect: "manual", signal };
    const response = await host.portalFetch(`${clientEndpoint}${path}`, init);
    status = response.status;
    const location = response.headers.get("location");
    if (REDIRECTS.includes(status) && location !== null) {
      response.body?.cancel().catch(() => {});
      throw new PortalMovedError(location);
    }
    answer = await readAnswer(response, limits, signal);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof AnswerTooLargeError) throw unexpected(`${error.message} (${error.limit})`, status, method);
    if (error instanceof OnAppUpdateError) throw error;
    // Neither its message nor its cause: they may quote the request.
    throw new UnreachableError(`portal ${memberId} did not answer ${method}`);
  }
  const { text, json } = answer;
  const withoutToken = (text: string): string => redact(text, [accessToken]);
  const error = errorIn(json, { status, method, withoutToken });
  // An error may quote the token and is redacted. A result may need it, for example in the URL of a file.
  const redacted = (): string =>
    withoutToken(JSON.stringify(json, (_key, value) => typeof value === "string" ? withoutToken(value) : value));
  const init = { status, headers: { "content-type": "application/json" } };
  return error === undefined
    ? { response: new Response(text, init) }
    : { response: new Response(redacted(), init), error };
}

function unexpected(description: string, status: number, method: string): B24Error {
  return new B24Error({ code: "ERROR_UNEXPECTED_ANSWER", description, status, method });
}

/** The request that was answered. */
interface Source {
  readonly status: number;
  readonly method: string;
  readonly withoutToken: (text: string) => string;
}

/**
 * Returns the error in an answer, in the form of either version of REST.
 *
 * @throws {B24Error} if it is not an answer of Bitrix24
 */
function errorIn(answer: unknown, { status, method, withoutToken }: Source): B24Error | undefined {
  if (typeof answer !== "object" || answer === null || Array.isArray(answer)) {
    throw unexpected("the answer is not a JSON object", status, method);
  }
  const { error, error_description } = answer as { readonly error?: unknown; readonly error_description?: unknown };
  const [code, description] = typeof error === "object" && error !== null
    ? [(error as { readonly code?: unknown }).code, (error as { readonly message?: unknown }).message]
    : [error, error_description];
  if (typeof code !== "string" || code === "") return undefined;
  const text = typeof description === "string" ? description : "";
  return new B24Error({ code: withoutToken(code), description: withoutToken(text), status, method });
}
