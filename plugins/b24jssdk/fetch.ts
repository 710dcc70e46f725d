/** The `fetch` that an SDK is given: it adds the access token, and recovers from refused tokens and moved portals. */
import { B24Error, OnAppUpdateError, type PluginHost, type PortalCredentials } from "../../mod.ts";
import { AddressError, PortalMovedError, UnreachableError } from "../../errors.ts";

/** Statuses of redirects after which the portal has not done what it was asked. */
const REDIRECTS = [301, 302, 307, 308];

/** Maximum size of an answer in bytes: 32 MiB. */
const MAX_ANSWER_BYTES = 32 * 2 ** 20;

/**
 * Returns a `fetch` that sends the SDK's requests with an access token, and to the portal's REST API only. Refused tokens
 * and redirects are handled by `host.credentials`: the SDK sees neither.
 *
 * `root` is the address of the REST API that the SDK was made with; requests end once `over` is aborted.
 */
export function signedFetch(host: PluginHost, memberId: string, root: string, over: AbortSignal): typeof fetch {
  return async (input, init) => {
    const request = new Request(input, init);
    const signal = AbortSignal.any([request.signal, over]);
    try {
      signal.throwIfAborted();
      return await call(host, memberId, await readRequest(request, root, memberId), signal);
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
async function readRequest(request: Request, root: string, memberId: string): Promise<SdkRequest> {
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

async function call(
  host: PluginHost,
  memberId: string,
  request: SdkRequest,
  signal: AbortSignal,
): Promise<Response> {
  const last: { answer?: Answer } = {};
  const attempt = async (credentials: PortalCredentials): Promise<Response> => {
    const answer = last.answer = await send(host, memberId, request, credentials, signal);
    if (answer.error !== undefined) throw answer.error;
    return answer.response;
  };
  try {
    return await host.credentials.call(memberId, attempt, { signal });
  } catch (error) {
    const { answer } = last;
    const refusal = answer?.error;
    // Other errors are not about the answer. After a final error or a refused token, the SDK would repeat the request.
    if (answer === undefined || refusal !== error || refusal?.isFinal || refusal?.refusesToken) throw error;
    // The SDK makes its own error of it.
    return answer.response;
  }
}

/**
 * Sends a request once.
 *
 * @throws {PortalMovedError} if the portal redirects
 * @throws {UnreachableError} if the portal does not answer
 * @throws {B24Error} if the answer is not one of Bitrix24
 */
async function send(
  { portalFetch }: PluginHost,
  memberId: string,
  { path, headers, params }: SdkRequest,
  { clientEndpoint, accessToken }: PortalCredentials,
  signal: AbortSignal,
): Promise<Answer> {
  const token = accessToken.reveal();
  const method = /[^/]*$/.exec(path.split("?")[0]!)![0];
  const body = JSON.stringify({ ...params, auth: token });
  let status: number, location: string | null, text: string;
  try {
    const init: RequestInit = { method: "POST", headers, body, redirect: "manual", signal };
    const response = await portalFetch(`${clientEndpoint}${path}`, init);
    ({ status } = response);
    location = response.headers.get("location");
    text = await readText(response);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof OnAppUpdateError) throw error;
    // Neither its message nor its cause: they may quote the request.
    throw new UnreachableError(`portal ${memberId} did not answer ${method}`);
  }
  if (REDIRECTS.includes(status) && location !== null) throw new PortalMovedError(location);
  // An error may quote the token and is redacted. A result may need it, for example in the URL of a file.
  const redacted = text.replaceAll(token, "[redacted]");
  const error = errorIn(redacted, status, method);
  const response = new Response(error === undefined ? text : redacted, {
    status,
    headers: { "content-type": "application/json" },
  });
  return error === undefined ? { response } : { response, error };
}

/** @throws {TypeError} if the body is too long */
async function readText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let [text, bytes] = ["", 0];
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > MAX_ANSWER_BYTES) throw new TypeError(`cannot read more than ${MAX_ANSWER_BYTES} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/**
 * Returns the error in an answer, in the form of either version of REST.
 *
 * @throws {B24Error} if it is not an answer of Bitrix24
 */
function errorIn(text: string, status: number, method: string): B24Error | undefined {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    // Not JSON: refused below.
  }
  if (typeof answer !== "object" || answer === null || Array.isArray(answer)) {
    const description = "the answer is not a JSON object";
    throw new B24Error({ code: "ERROR_UNEXPECTED_ANSWER", description, status, method });
  }
  const { error, error_description } = answer as { readonly error?: unknown; readonly error_description?: unknown };
  const [code, description] = typeof error === "object" && error !== null
    ? [(error as { readonly code?: unknown }).code, (error as { readonly message?: unknown }).message]
    : [error, error_description];
  if (typeof code !== "string" || code === "") return undefined;
  return new B24Error({ code, description: typeof description === "string" ? description : "", status, method });
}
