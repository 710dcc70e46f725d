/**
 * Requests of channels. Their errors are made here, from the status and from words that are listed here: what a request, an
 * answer or an error of `fetch` contains may be the address of the channel, which is a secret.
 */
import { NonRetriableError, type PluginHost, readAnswer, RetryAfterError, type Secret } from "../../mod.ts";
import { abortable } from "./abortable.ts";

/** Sends requests, by the app's `fetch` once the channel is set up. */
export interface HttpClient {
  /** Takes `fetch` and the clock from the app. */
  readonly setup: (host: PluginHost) => void;
  /** Returns the time in milliseconds since 1970. */
  readonly now: () => number;
  /**
   * Sends a POST, without following redirects.
   *
   * @throws {RetryAfterError} if it is answered 429
   * @throws {NonRetriableError} if it is answered so that another attempt will be, too
   * @throws {Error} if it is not answered, or answered otherwise
   * @throws the reason of the signal
   */
  readonly post: (request: ChannelRequest) => Promise<void>;
}

/** A request of a channel. */
export interface ChannelRequest {
  /** The receiver, for errors. */
  readonly receiver: string;
  readonly url: Secret;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
  readonly signal: AbortSignal;
  /** Further statuses that may be over by themselves. */
  readonly passing?: readonly number[];
  /** Returns what the channel reads from the answer of a failure. */
  readonly explain?: (answer: FailedAnswer) => Explanation;
}

/** The answer of a failure. Not to be quoted: it may contain the address. */
export interface FailedAnswer {
  readonly status: number;
  /** Empty if it is too long or too slow, or was cut off. */
  readonly text: string;
  /** `undefined` if it is not JSON. */
  readonly json: unknown;
}

/** The meaning of a failure for a channel. */
export interface Explanation {
  /** The reason, in words of the channel and not of the answer. */
  readonly reason?: string | undefined;
  /** Seconds until the next attempt. */
  readonly retryAfterSeconds?: number | undefined;
}

/** Maximum size of an answer that is read, in bytes. */
const MAX_ANSWER_BYTES = 16_384;

/** Milliseconds that the body of such an answer may take: its status and headers say what to do. */
const ANSWER_MS = 2000;

/** Milliseconds until the next attempt after an answer 429 that names no time, and the minimum and maximum of one that does. */
const RETRY_MS = 60_000;
const MIN_RETRY_MS = 1000;
const MAX_RETRY_MS = 24 * 60 * 60 * 1000;

/** Statuses from 400 to 499 that may be over by themselves: a time-out, a conflict, a lock, and data that came too early. */
const PASSING: readonly number[] = [408, 409, 423, 425];

/** Returns a client for one channel. */
export function createHttpClient(): HttpClient {
  let send: typeof fetch = (input, init) => fetch(input, init);
  let now = (): number => Date.now();

  return {
    setup: (host) => {
      send = host.fetch;
      now = host.clock;
    },
    now: () => now(),
    post: async ({ receiver, url, headers = {}, body, signal, passing = [], explain }) => {
      const response = await request(send, receiver, url, { headers, body, signal });
      const { status } = response;
      if (response.ok && !response.redirected) {
        response.body?.cancel().catch(() => {});
        return;
      }
      const answer = { status, ...await readFailure(response, signal) };
      const { reason, retryAfterSeconds }: Explanation = explain?.(answer) ?? {};
      const message = `${receiver} answered ${status}${reason === undefined ? "" : ` (${reason})`}`;
      if (status === 429) {
        const afterMs = retryAfterSeconds === undefined
          ? retryAfterMs(response.headers.get("retry-after"), now())
          : bounded(retryAfterSeconds * 1000);
        throw new RetryAfterError(afterMs, message);
      }
      const isPassing = PASSING.includes(status) || passing.includes(status);
      if (status >= 400 && status <= 499 && !isPassing) throw new NonRetriableError(message);
      if (response.redirected || response.type === "opaqueredirect" || (status >= 300 && status <= 399)) {
        throw new NonRetriableError(`${receiver} redirects, and redirects are not followed; use the new address`);
      }
      throw new Error(message);
    },
  };
}

async function request(
  send: typeof fetch,
  receiver: string,
  url: Secret,
  { headers, body, signal }: Pick<ChannelRequest, "body" | "signal"> & { readonly headers: Record<string, string> },
): Promise<Response> {
  try {
    const init: RequestInit = {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body,
      signal,
      redirect: "manual",
      referrerPolicy: "no-referrer",
    };
    return await abortable(signal, () => send(url.reveal(), init));
  } catch (thrown) {
    signal.throwIfAborted();
    throw new Error(`${receiver} did not answer${networkReason(thrown)}`);
  }
}

async function readFailure(response: Response, signal: AbortSignal): Promise<Omit<FailedAnswer, "status">> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
  try {
    return await abortable(limit, () => readAnswer(response, { answerBytes: MAX_ANSWER_BYTES }, limit));
  } catch {
    signal.throwIfAborted();
    // Too long or too slow, or the connection broke: the status says enough.
    return { text: "", json: undefined };
  }
}

/** The codes of network errors that are named. Others may be anything, such as a part of an address. */
const NETWORK_CODES: ReadonlySet<unknown> = new Set([
  ...["ECONNREFUSED", "ECONNRESET", "ECONNABORTED", "ENOTFOUND", "EAI_AGAIN", "ETIMEDOUT", "EPIPE", "EHOSTUNREACH"],
  ...["ENETUNREACH", "CERT_HAS_EXPIRED", "DEPTH_ZERO_SELF_SIGNED_CERT", "SELF_SIGNED_CERT_IN_CHAIN"],
  ...["ERR_TLS_CERT_ALTNAME_INVALID", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "UND_ERR_CONNECT_TIMEOUT", "UND_ERR_SOCKET"],
  ...["UND_ERR_HEADERS_TIMEOUT"],
]);

/** Returns the code of a network error in brackets, if it is one of those that are listed here. */
function networkReason(thrown: unknown): string {
  const codes = [thrown, (thrown as Error | undefined)?.cause].map((error) =>
    (Object(error) as { code?: unknown }).code
  );
  const known = codes.find((code) => NETWORK_CODES.has(code));
  return known === undefined ? "" : ` (${known})`;
}

/** Returns the milliseconds that a header `Retry-After` asks for, in seconds or as a date (RFC 9110, 10.2.3). */
function retryAfterMs(header: string | null, now: number): number {
  const text = header?.trim() ?? "";
  if (/^\d+(\.\d+)?$/.test(text)) return bounded(Number(text) * 1000);
  // `Date.parse` takes almost any number for a date in the past.
  const date = /^[a-z]{3,9}, .* GMT$|^\d{4}-\d\d-\d\dT/i.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(date) ? RETRY_MS : bounded(date - now);
}

function bounded(ms: number): number {
  return Math.min(MAX_RETRY_MS, Math.max(MIN_RETRY_MS, ms));
}
