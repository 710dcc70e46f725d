/** From a request to a response. The only module that knows HTTP status codes. */
import type { Deadline } from "../async/deadline.ts";
import {
  CannotVerifyError,
  FormatError,
  InputError,
  NotAuthenticError,
  OnAppUpdateError,
  StorageError,
} from "../errors.ts";
import { concat } from "../bitrix24/bytes.ts";
import type { B24Event } from "../bitrix24/events.ts";
import { isOpening } from "../bitrix24/opening.ts";
import { type Body, type BodyKind, bodyKind, decodeBody, type Incoming, parseTree } from "../bitrix24/parse.ts";
import type { DecodeLimits } from "../bitrix24/tree.ts";
import { defined } from "../defined.ts";
import type { ClientAddressReader } from "./client_address.ts";

/** Limits of the size and the duration of a request. */
export interface RequestLimits extends DecodeLimits {
  /**
   * Maximum size of a body in bytes; a larger one is answered 413. Minimum: 1. Lowered to what the storage can take.
   *
   * @default 1048576
   */
  readonly bodyBytes: number;
  /**
   * Milliseconds within which a body must arrive; a slower one is answered 408. Minimum: 1.
   *
   * @default 10000
   */
  readonly bodyTimeoutMs: number;
}

/** The parts of an app that {@linkcode respond} uses. */
export interface Dispatcher {
  readonly limits: RequestLimits;
  /** Path at which GET and HEAD are answered 200. */
  readonly healthPath: string;
  /** Expires after `limits.bodyTimeoutMs`. */
  readonly bodyDeadline: Deadline;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  readonly clientAddress: ClientAddressReader;
  /** Accepts an event, and resolves when it may be answered 200. `platform` is what the host passed besides the request. */
  readonly accept: (incoming: Incoming, platform: readonly unknown[]) => Promise<void>;
  /** Called for every refused request. `event` is absent if the request could not be parsed. */
  readonly reportRejection: (status: number, error: Error, event?: B24Event) => void;
}

/** A request that is refused for its HTTP, before it is parsed. */
class HttpError extends OnAppUpdateError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super("http", message);
    this.status = status;
    this.headers = headers;
  }
}

/** Answers one request. Never rejects, and leaves no body unread. */
export async function respond(
  dispatcher: Dispatcher,
  request: Request,
  platform: readonly unknown[],
): Promise<Response> {
  if (isHealthCheck(request, dispatcher)) return new Response(request.method === "GET" ? "ok" : null);
  const receivedAt = dispatcher.clock();
  // Some servers no longer know it once the client has hung up.
  const clientAddress = dispatcher.clientAddress(request, platform);
  let event: B24Event | undefined;
  try {
    const body: Body = { kind: bodyKindOf(request), text: await readBody(request, dispatcher) };
    const tree = decodeBody(body, dispatcher.limits);
    if (isOpening(tree)) throw misplacedOpening();
    event = parseTree(tree, receivedAt);
    await dispatcher.accept({ body, tree, event, receivedAt, ...defined({ clientAddress }) }, platform);
    return new Response();
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    const status = statusOf(error);
    discard(request);
    dispatcher.reportRejection(status, error, event);
    return problem(status, error);
  }
}

/** Returns whether a load balancer asks whether the app is running. */
function isHealthCheck(request: Request, { healthPath }: Dispatcher): boolean {
  const { method } = request;
  // Reading `body` of an event would make a stream of it. `Deno.serve` passes on a Host header that no URL can have.
  return (method === "GET" || method === "HEAD") && request.body === null && URL.canParse(request.url) &&
    new URL(request.url).pathname === healthPath;
}

function misplacedOpening(): InputError {
  const saw = "the POST of a browser that opens the app's page";
  return new InputError([{ path: "", saw, wanted: "an event; pass openings to app.open() or openingPage()" }]);
}

/** Limits of the bodies that are read. */
export type BodyReader = Pick<Dispatcher, "limits" | "bodyDeadline">;

/**
 * Returns the text of a form, within the limits of events.
 *
 * @throws {InputError} if the request is not a form, or exceeds a limit
 */
export async function readForm(request: Request, reader: BodyReader): Promise<string> {
  try {
    if (bodyKindOf(request) !== "form") throw new HttpError(415, "wanted application/x-www-form-urlencoded, in UTF-8");
    return await readBody(request, reader);
  } catch (error) {
    discard(request);
    if (!(error instanceof HttpError)) throw error;
    const [, saw = "another request", wanted = ""] = /^(?:saw (.*), )?wanted (.*)$/.exec(error.message) ?? [];
    throw new InputError([{ path: "", saw, wanted }]);
  }
}

/** Answers a request while the app is not running. */
export function refuse(request: Request): Response {
  discard(request);
  return problem(503, new CannotVerifyError("the app is not running"));
}

function bodyKindOf(request: Request): BodyKind {
  if (request.method !== "POST") {
    throw new HttpError(405, "wanted the method POST", { allow: "POST" });
  }
  const encoding = request.headers.get("content-encoding") ?? "identity";
  if (!/^(identity)?$/i.test(encoding)) {
    const { length } = encoding;
    // A long one may be a token in the wrong place.
    const saw = length > 24
      ? `a content-encoding of ${length} characters`
      : `content-encoding ${JSON.stringify(encoding)}`;
    throw new HttpError(415, `saw ${saw}, wanted a body without one`, {
      "accept-encoding": "identity",
    });
  }
  const kind = bodyKind(request.headers.get("content-type"));
  if (kind !== null) return kind;
  throw new HttpError(415, "wanted application/x-www-form-urlencoded or application/json, in UTF-8");
}

async function readBody(request: Request, reader: BodyReader): Promise<string> {
  const { limits } = reader;
  if (request.bodyUsed) {
    throw new TypeError(
      "cannot read the body of the request: it was read before it was passed to the app, and not kept; mount the app before what reads it",
    );
  }
  const announced = request.headers.get("content-length");
  if (Number(announced ?? 0) > limits.bodyBytes) throw tooLarge(limits);
  // A server enforces the announced length, and reading a body as a whole is several times faster than in chunks.
  const bytes = await (announced === null ? readChunks(request, reader) : readWhole(request, reader));
  if (bytes.byteLength > limits.bodyBytes) throw tooLarge(limits);
  try {
    return UTF_8.decode(bytes);
  } catch {
    throw new InputError([{ path: "", saw: "bytes that are not UTF-8", wanted: "UTF-8" }]);
  }
}

const UTF_8 = new TextDecoder("utf-8", { fatal: true });

/** For answers to a partly read body: the connection cannot be used for another request. */
const CLOSE = { connection: "close" };

function tooLarge({ bodyBytes }: RequestLimits, headers?: Readonly<Record<string, string>>): HttpError {
  return new HttpError(413, `wanted at most ${bodyBytes} bytes (limits.bodyBytes)`, headers);
}

function tooSlow({ bodyTimeoutMs }: RequestLimits): HttpError {
  return new HttpError(408, `wanted the body within ${bodyTimeoutMs} ms`, CLOSE);
}

function interrupted(): InputError {
  return new InputError([{ path: "", saw: "a connection that was interrupted", wanted: "a complete body" }]);
}

function readWhole(request: Request, { limits, bodyDeadline }: BodyReader): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const cancelTimeout = bodyDeadline(() => reject(tooSlow(limits)));
    request.arrayBuffer().then((buffer) => {
      cancelTimeout();
      resolve(new Uint8Array(buffer));
    }, () => {
      cancelTimeout();
      reject(interrupted());
    });
  });
}

async function readChunks(request: Request, { limits, bodyDeadline }: BodyReader): Promise<Uint8Array> {
  if (request.body === null) return new Uint8Array();
  const reader = request.body.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  let isExpired = false;
  const cancelTimeout = bodyDeadline(() => {
    isExpired = true;
    // Ends a pending read.
    reader.cancel().catch(() => {});
  });
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (isExpired) throw tooSlow(limits);
      if (done) return concat(chunks, size);
      chunks.push(value);
      size += value.byteLength;
      if (size > limits.bodyBytes) throw tooLarge(limits, CLOSE);
    }
  } catch (error) {
    // A server drops the connection if a body is neither read nor cancelled.
    reader.cancel().catch(() => {});
    throw error instanceof HttpError ? error : interrupted();
  } finally {
    cancelTimeout();
  }
}

/** Frees the connection of a body that was not read. Not awaited: the answer does not depend on it. */
function discard(request: Request): void {
  if (request.body === null || request.bodyUsed) return;
  request.body.cancel().catch(() => {});
}

function statusOf(error: Error): number {
  if (error instanceof HttpError) return error.status;
  if (error instanceof InputError) return 400;
  if (error instanceof NotAuthenticError) return 403;
  // Every other error means that the event cannot be accepted now: a host, the storage or this program has failed.
  return 503;
}

const TITLES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  405: "Method Not Allowed",
  408: "Request Timeout",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  503: "Service Unavailable",
};

/**
 * Returns a response with problem details (RFC 9457). It describes mistakes in the request itself; why an event was not
 * accepted as authentic, and what has failed, is only logged.
 */
function problem(status: number, error: Error): Response {
  const detail = error instanceof HttpError || error instanceof InputError ? error.message : undefined;
  const issues = error instanceof InputError ? error.issues : undefined;
  const body = { type: "about:blank", title: TITLES[status], status, detail, issues };
  return new Response(JSON.stringify(body), {
    status,
    headers: {
      "cache-control": "no-store",
      "content-type": "application/problem+json",
      ...(error instanceof HttpError ? error.headers : {}),
    },
  });
}

/** Returns whether a refusal needs an operator: this program or its setup has failed, not a host, the storage or the sender. */
export function isUnexpected(error: Error): boolean {
  return !(error instanceof OnAppUpdateError) || error instanceof FormatError;
}

/** Returns whether a request was refused for its method: load balancers, crawlers and browsers send many. */
export function isOtherMethod(error: Error): boolean {
  return error instanceof HttpError && error.status === 405;
}

/** Returns whether a refusal is due to a failed dependency: the storage or a host. */
export function isOutage(error: Error): boolean {
  return error instanceof CannotVerifyError || error instanceof StorageError;
}
