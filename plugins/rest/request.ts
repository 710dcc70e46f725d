/** One request to a portal. */
import { type AnswerLimits, B24Error, type PortalCredentials, readAnswer } from "../../mod.ts";
import { AddressError, AnswerTooLargeError, PortalMovedError, UnreachableError } from "../../errors.ts";
import { abortable } from "./abortable.ts";
import { type Answer, interpret, isMap, type Refusal, stringOf, unexpected } from "./answers.ts";
import type { Redact } from "./redaction.ts";

/** A request, and the limits of its answer. */
export interface PortalRequest {
  readonly method: string;
  readonly params: object;
  readonly credentials: PortalCredentials;
  readonly timeoutMs: number;
  readonly limits: AnswerLimits;
  readonly redact: Redact;
  readonly signal: AbortSignal;
}

/** The outcome of a request. */
export type RequestOutcome = Answer | Refusal | Unanswered;

/** No answer: the portal may have done what it was asked. */
export interface Unanswered {
  readonly error: UnreachableError;
  readonly resetAt?: never;
}

/**
 * Sends a request once.
 *
 * @throws {PortalMovedError} if the portal redirects
 * @throws {AddressError} if the portal's address may not be called
 * @throws {B24Error} if the answer is too large, as it would be again
 * @throws the reason of the signal
 */
export async function send(portalFetch: typeof fetch, request: PortalRequest): Promise<RequestOutcome> {
  const { method, params, credentials, timeoutMs, limits, redact, signal } = request;
  const body = JSON.stringify({ ...params, auth: credentials.accessToken.reveal() });
  const headers = { "content-type": "application/json", accept: "application/json" };
  try {
    return await abortable({ signals: [signal], timeoutMs }, async (signal) => {
      const init: RequestInit = { method: "POST", headers, body, redirect: "manual", signal };
      const response = await portalFetch(`${credentials.clientEndpoint}${method}`, init);
      const { status } = response;
      const location = response.headers.get("location");
      if ([301, 302, 307, 308].includes(status) && location !== null) {
        response.body?.cancel().catch(() => {});
        throw new PortalMovedError(location);
      }
      const source = { method, status, redact };
      const answer = await readAnswer(response, limits, signal).catch((error) => {
        throw error instanceof AnswerTooLargeError ? unexpected(source, `${error.message} (${error.limit})`) : error;
      });
      return interpret(answer, response.headers.get("content-type") ?? "", source);
    });
  } catch (error) {
    signal.throwIfAborted();
    const isKnown = error instanceof PortalMovedError || error instanceof AddressError || error instanceof B24Error;
    if (isKnown) throw error;
    return { error: unreachable(request, error) };
  }
}

function unreachable({ credentials, method, timeoutMs, redact }: PortalRequest, thrown: unknown): UnreachableError {
  const { host } = new URL(credentials.clientEndpoint);
  const { name, cause } = thrown instanceof Error ? thrown : new Error();
  if (name === "TimeoutError") return new UnreachableError(`${host} did not answer ${method} in ${timeoutMs} ms`);
  // Neither the message nor the cause: they may quote the request.
  const code = isMap(cause) ? stringOf(cause.code) : "";
  const reason = [code, name].map(redact).find((word) => /^\w{1,40}$/.test(word)) ?? "Error";
  return new UnreachableError(`${host} did not answer ${method} (${reason})`);
}
