/** One request to a portal. */
import { type AnswerLimits, B24Error, type PortalCredentials, readAnswer } from "../../mod.ts";
import {
  AddressError,
  AnswerTooLargeError,
  NotRehearsedError,
  PortalMovedError,
  UnreachableError,
} from "../../errors.ts";
import { abortable } from "./abortable.ts";
import { type Answer, interpret, isMap, type Refusal, stringOf, unexpected } from "./answers.ts";
import type { Redact } from "./redaction.ts";

/** Options of a request to REST 3.0. */
export interface V3Request {
  /** A promise, so that the call enters the queue of its portal at once. */
  readonly idempotencyKey: Promise<string | undefined>;
}

/** A request, and the limits of its answer. */
export interface PortalRequest {
  readonly method: string;
  readonly params: object;
  /** The method is one of REST 3.0. */
  readonly v3: V3Request | undefined;
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
 * @throws {NotRehearsedError} if a rehearsal cannot answer it
 * @throws the reason of the signal
 */
export async function send(portalFetch: typeof fetch, request: PortalRequest): Promise<RequestOutcome> {
  const { method, timeoutMs, limits, redact, signal } = request;
  const { path, headers, body } = request.v3 === undefined ? encode(request) : await encodeV3(request, request.v3);
  try {
    return await abortable({ signals: [signal], timeoutMs }, async (signal) => {
      const init: RequestInit = { method: "POST", headers, body, redirect: "manual", signal };
      const response = await portalFetch(`${request.credentials.clientEndpoint}${path}`, init);
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
    const known = [PortalMovedError, AddressError, B24Error, NotRehearsedError];
    const isKnown = known.some((known) => error instanceof known);
    if (isKnown) throw error;
    return { error: unreachable(request, error) };
  }
}

/** A request as it is sent. */
interface EncodedRequest {
  /** Relative to the portal's REST API. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const JSON_HEADERS = { "content-type": "application/json", accept: "application/json" };

function encode({ method, params, credentials }: PortalRequest): EncodedRequest {
  const body = JSON.stringify({ ...params, auth: credentials.accessToken.reveal() });
  return { path: method, headers: JSON_HEADERS, body };
}

/**
 * The token is in a header: Bitrix24 answers a repeated call from the first one only if their bodies are the same, also after
 * the token was refreshed.
 */
async function encodeV3({ method, params, credentials }: PortalRequest, v3: V3Request): Promise<EncodedRequest> {
  const idempotencyKey = await v3.idempotencyKey;
  const headers = {
    ...JSON_HEADERS,
    authorization: `Bearer ${credentials.accessToken.reveal()}`,
    ...(idempotencyKey === undefined ? {} : { "idempotency-key": idempotencyKey }),
  };
  return { path: `api/${method}`, headers, body: JSON.stringify(params) };
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
