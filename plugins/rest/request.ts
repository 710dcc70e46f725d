/** One request to a portal. */
import { B24Error, type PortalCredentials } from "../../mod.ts";
import { AddressError, UnreachableError } from "../../errors.ts";
import { type Answer, isMap, readAnswer, type Refused, textOf, unexpected } from "./answers.ts";
import type { Clean } from "./redaction.ts";
import { within } from "./within.ts";

/** What goes to a portal, and what may come back. */
export interface PortalRequest {
  readonly method: string;
  readonly params: object;
  readonly by: PortalCredentials;
  readonly timeoutMs: number;
  /** How many bytes the answer may have. */
  readonly answerBytes: number;
  readonly clean: Clean;
  readonly signal: AbortSignal;
}

/** How a request has ended. */
export type Ended = Answer | Refused | Unanswered | Moved;

/** Nobody knows whether it was done. */
export interface Unanswered {
  readonly error: UnreachableError;
  readonly resetAt?: never;
}

/** It was not done: the portal is elsewhere. */
export interface Moved {
  readonly location: string;
}

/**
 * Asks the portal, once.
 *
 * @throws {AddressError} when no token may go there
 * @throws {B24Error} when the answer is too long, as it would be again
 * @throws the reason of the signal
 */
export async function send(portalFetch: typeof fetch, request: PortalRequest): Promise<Ended> {
  const { method, params, by, timeoutMs, answerBytes, clean, signal } = request;
  const body = JSON.stringify({ ...params, auth: by.accessToken.reveal() });
  const headers = { "content-type": "application/json", accept: "application/json" };
  try {
    return await within([signal], timeoutMs, async (signal) => {
      const init: RequestInit = { method: "POST", headers, body, redirect: "manual", signal };
      const response = await portalFetch(`${by.clientEndpoint}${method}`, init);
      const { status } = response;
      const location = response.headers.get("location");
      if ([301, 302, 307, 308].includes(status) && location !== null) {
        response.body?.cancel().catch(() => {});
        return { location };
      }
      const source = { method, status, clean };
      const bytes = await readBytes(response, answerBytes, signal);
      if (bytes === undefined) throw unexpected(source, `more than ${answerBytes} bytes`);
      return readAnswer(bytes, response.headers.get("content-type") ?? "", source);
    });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof AddressError || error instanceof B24Error) throw error;
    return { error: unreachable(request, error) };
  }
}

/** `undefined`: there are more than `limit`. */
async function readBytes(response: Response, limit: number, signal: AbortSignal): Promise<BufferSource | undefined> {
  const reader = response.body?.getReader();
  if (reader === undefined) return new Uint8Array();
  const stop = (): void => void reader.cancel().catch(() => {});
  signal.addEventListener("abort", stop, { once: true });
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  while (true) {
    const { done, value } = await reader.read();
    if (done) return await new Blob(chunks).arrayBuffer();
    size += value.byteLength;
    if (size > limit) return void stop();
    chunks.push(value);
  }
}

function unreachable({ by, method, timeoutMs, clean }: PortalRequest, thrown: unknown): UnreachableError {
  const { host } = new URL(by.clientEndpoint);
  const { name, cause } = thrown instanceof Error ? thrown : new Error();
  if (name === "TimeoutError") return new UnreachableError(`${host} did not answer ${method} in ${timeoutMs} ms`);
  // Neither the message nor the cause: they may quote what was sent.
  const code = isMap(cause) ? textOf(cause.code) : "";
  const why = [code, name].map(clean).find((word) => /^\w{1,40}$/.test(word)) ?? "Error";
  return new UnreachableError(`${host} gave no answer to ${method} (${why})`);
}
