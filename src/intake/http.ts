/** Request to Response: the only file that knows status codes. */
import type { Deadline } from "../async/deadline.ts";
import {
  CannotVerifyError,
  FormatError,
  InputError,
  type InputIssue,
  NotAuthenticError,
  OnAppUpdateError,
  StorageError,
} from "../errors.ts";
import type { Incoming } from "./accept.ts";
import type { B24Event } from "../bitrix24/events.ts";
import { type Body, type BodyKind, bodyKind, decodeBody, parseTree } from "../bitrix24/parse.ts";
import type { DecodeLimits } from "../bitrix24/tree.ts";

/** How large and how slow a request may be. */
export interface RequestLimits extends DecodeLimits {
  /** Bytes of a body; default 65536. More is answered 413. */
  readonly bodyBytes: number;
  /** Milliseconds in which a body must have come; default 10000. Later is answered 408. */
  readonly bodyTimeoutMs: number;
}

/** What answers requests. */
export interface Dispatcher {
  readonly limits: RequestLimits;
  /** Of `limits.bodyTimeoutMs`. */
  readonly bodyDeadline: Deadline;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** Accepts an event, and resolves when it may be answered 200. `platform` is what the host passed besides the request. */
  readonly accept: (incoming: Incoming, platform: readonly unknown[]) => Promise<void>;
  /** Called for every refused request. `event` is absent if the request could not be parsed. */
  readonly reportRejection: (status: number, error: Error, event?: B24Event) => void;
}

/** A refusal that is about HTTP alone. */
class HttpError extends OnAppUpdateError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super("http", message);
    this.status = status;
    this.headers = headers;
  }
}

/** Answers one request of Bitrix24. Never rejects, and leaves no body unread. */
export async function respond(
  dispatcher: Dispatcher,
  request: Request,
  platform: readonly unknown[],
): Promise<Response> {
  const receivedAt = dispatcher.clock();
  let event: B24Event | undefined;
  try {
    const body: Body = { kind: bodyKindOf(request), text: await readBody(request, dispatcher) };
    const tree = decodeBody(body, dispatcher.limits);
    event = parseTree(tree, receivedAt);
    await dispatcher.accept({ body, tree, event, receivedAt }, platform);
    return new Response();
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    const status = statusOf(error);
    discard(request);
    dispatcher.reportRejection(status, error, event);
    return problem(status, error);
  }
}

/** Answers a request that the app cannot look at now. */
export function refuse(request: Request): Response {
  discard(request);
  return problem(503, new CannotVerifyError("the app is not running"));
}

function bodyKindOf(request: Request): BodyKind {
  if (request.method !== "POST") throw new HttpError(405, "Bitrix24 sends events by POST", { allow: "POST" });
  const kind = bodyKind(request.headers.get("content-type"));
  if (kind !== null) return kind;
  throw new HttpError(415, "wanted application/x-www-form-urlencoded or application/json, in UTF-8");
}

async function readBody(request: Request, dispatcher: Dispatcher): Promise<string> {
  const { limits } = dispatcher;
  if (request.bodyUsed) throw new TypeError("cannot read the body of a request: it was read before the app got it");
  const announced = request.headers.get("content-length");
  if (Number(announced ?? 0) > limits.bodyBytes) throw tooLarge(limits);
  // A server holds a body to its announced length, and reads one as a whole several times faster than in pieces.
  const bytes = await (announced === null ? readPieces(request, dispatcher) : readWhole(request, dispatcher));
  if (bytes.byteLength > limits.bodyBytes) throw tooLarge(limits);
  try {
    return UTF_8.decode(bytes);
  } catch {
    throw new InputError([{ path: "", saw: "bytes that are not UTF-8", wanted: "UTF-8" }]);
  }
}

const UTF_8 = new TextDecoder("utf-8", { fatal: true });

/** What is still to come of a body stands between its connection and the next request: nobody is to send one. */
const CLOSE = { connection: "close" };

function tooLarge({ bodyBytes }: RequestLimits, headers?: Readonly<Record<string, string>>): HttpError {
  return new HttpError(413, `wanted at most ${bodyBytes} bytes`, headers);
}

function tooSlow({ bodyTimeoutMs }: RequestLimits): HttpError {
  return new HttpError(408, `wanted the body within ${bodyTimeoutMs} ms`, CLOSE);
}

function brokenOff(): InputError {
  return new InputError([{ path: "", saw: "a connection that broke off", wanted: "a whole body" }]);
}

function readWhole(request: Request, { limits, bodyDeadline }: Dispatcher): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const inTime = bodyDeadline(() => reject(tooSlow(limits)));
    request.arrayBuffer().then((buffer) => {
      inTime();
      resolve(new Uint8Array(buffer));
    }, () => {
      inTime();
      reject(brokenOff());
    });
  });
}

async function readPieces(request: Request, { limits, bodyDeadline }: Dispatcher): Promise<Uint8Array> {
  if (request.body === null) return new Uint8Array();
  const reader = request.body.getReader();
  const pieces: Uint8Array[] = [];
  let size = 0;
  let expired = false;
  // A read that waits ends when its stream is cancelled.
  const inTime = bodyDeadline(() => {
    expired = true;
    reader.cancel().catch(() => {});
  });
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (expired) throw tooSlow(limits);
      if (done) return joined(pieces, size);
      pieces.push(value);
      size += value.byteLength;
      if (size > limits.bodyBytes) throw tooLarge(limits, CLOSE);
    }
  } catch (error) {
    // A server drops the connection over a body that was neither read nor cancelled.
    reader.cancel().catch(() => {});
    throw error instanceof HttpError ? error : brokenOff();
  } finally {
    inTime();
  }
}

function joined(pieces: readonly Uint8Array[], size: number): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const bytes = new Uint8Array(size);
  let offset = 0;
  for (const piece of pieces) {
    bytes.set(piece, offset);
    offset += piece.byteLength;
  }
  return bytes;
}

/** Frees the connection of a body that nobody began to read. Not waited for: the answer does not depend on it. */
function discard(request: Request): void {
  if (request.body === null || request.bodyUsed) return;
  request.body.cancel().catch(() => {});
}

function statusOf(error: Error): number {
  if (error instanceof HttpError) return error.status;
  if (error instanceof InputError) return 400;
  if (error instanceof NotAuthenticError) return 403;
  // All others say that the event could not be taken now: a host, the storage, or this program.
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

/** RFC 9457. Says what is wrong with the request itself; why a genuine-looking one is refused, or what is down, never. */
function problem(status: number, error: Error): Response {
  const issues: readonly InputIssue[] | undefined = error instanceof InputError ? error.issues : undefined;
  const detail = error instanceof HttpError || error instanceof InputError ? { detail: error.message } : {};
  const body = {
    type: "about:blank",
    title: TITLES[status],
    status,
    ...detail,
    ...(issues === undefined ? {} : { issues }),
  };
  return new Response(JSON.stringify(body), {
    status,
    headers: {
      "cache-control": "no-store",
      "content-type": "application/problem+json",
      ...(error instanceof HttpError ? error.headers : {}),
    },
  });
}

/** Whether a refusal needs somebody: not the storage, a host or a stranger, but this program or its set-up. */
export function isUnexpected(error: Error): boolean {
  return !(error instanceof OnAppUpdateError) || error instanceof FormatError;
}

/** Whether a refusal is about what the app depends on. */
export function isOutage(error: Error): boolean {
  return error instanceof CannotVerifyError || error instanceof StorageError;
}
