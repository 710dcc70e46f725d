/**
 * Live pages: a stream of server-sent events tells a page that something has changed, and the page fetches its parts anew. One
 * reader a process asks the storage, only while somebody watches, whatever the number of pages.
 */
import type { PortalCount, StoredPortal } from "../../mod.ts";
import { ApiError } from "../operator_api/api_error.ts";
import type { Operator } from "../operator_api/route.ts";
import { HEADERS } from "./assets/policy.ts";

/** Milliseconds between two reads of the storage. */
const READ_EVERY_MS = 2000;
/** Milliseconds after which a session is looked at again. */
const CHECK_EVERY_MS = 30_000;
/** Time (ms) after which a silent stream receives a sign of life, below the limits of common proxies. */
const BEAT_EVERY_MS = 20_000;
/** Streams end after this many milliseconds, and browsers begin them again. */
const MAX_STREAM_MS = 10 * 60_000;
const MAX_STREAMS = 100;
const MAX_STREAMS_OF_OPERATOR = 8;
/** A reader that is this far behind has gone away without a word. */
const MAX_BACKLOG = 16;

/** Parts of {@linkcode createLive}. */
export interface LiveParts {
  /** Reads the counts of all portals. */
  readonly counts: () => Promise<readonly PortalCount[]>;
  /** Reads a portal. */
  readonly portal: (memberId: string) => Promise<StoredPortal | undefined>;
  /** Called if that fails. */
  readonly onError: (thrown: unknown) => void;
  readonly clock: () => number;
  /** Calls `turn` every so many milliseconds until the function that it returns is called. */
  readonly every?: (ms: number, turn: () => Promise<void>) => () => void;
}

/** A watcher, and the page that it watches. */
export interface Watch {
  readonly operator: Operator;
  /** The `member_id` of the portal on the page; absent on pages of all portals. */
  readonly memberId?: string;
  /** Returns whether the viewer is still signed in with the same role. */
  readonly isSignedIn: () => Promise<boolean>;
}

/** The streams of a process. */
export interface Live {
  /** Returns a stream. @throws {ApiError} 429, if there are too many; 503, after `close` */
  readonly open: (watch: Watch) => Response;
  /** Ends all streams, for good. */
  readonly close: () => void;
  /** Number of open streams. */
  readonly size: () => number;
}

interface Stream extends Watch {
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
  readonly openedAt: number;
  checkedAt: number;
  /** It receives nothing meanwhile. */
  isBeingChecked: boolean;
  sentAt: number;
  /** The values that were sent last, by name. */
  readonly sent: Map<string, string>;
}

const encoder = new TextEncoder();

/** Returns the streams of a process. */
export function createLive(parts: LiveParts): Live {
  const { clock, every = everyMs } = parts;
  const streams = new Set<Stream>();
  let stop: (() => void) | undefined;
  let isClosed = false;

  function end(stream: Stream): void {
    if (!streams.delete(stream)) return;
    try {
      stream.controller.close();
    } catch {
      // The client has closed it.
    }
    if (streams.size > 0) return;
    stop?.();
    stop = undefined;
  }

  function send(stream: Stream, text: string): void {
    // It has ended while the storage was read.
    if (!streams.has(stream)) return;
    if ((stream.controller.desiredSize ?? 0) < -MAX_BACKLOG) return end(stream);
    stream.sentAt = clock();
    stream.controller.enqueue(encoder.encode(text));
  }

  /** Sends an event if `mark` has changed. */
  function tell(stream: Stream, event: string, data: object, mark: unknown = data): void {
    const text = JSON.stringify(mark);
    if (stream.sent.get(event) === text) return;
    stream.sent.set(event, text);
    send(stream, `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  async function check(stream: Stream): Promise<void> {
    // A clock that was put back must not put the check off.
    if (Math.abs(clock() - stream.openedAt) >= MAX_STREAM_MS) return end(stream);
    if (Math.abs(clock() - stream.checkedAt) < CHECK_EVERY_MS || stream.isBeingChecked) return;
    stream.checkedAt = clock();
    stream.isBeingChecked = true;
    try {
      if (!await stream.isSignedIn()) end(stream);
    } finally {
      stream.isBeingChecked = false;
    }
  }

  /** Reads the portals that somebody watches. One that cannot be read, such as one that newer code wrote, is left out. */
  async function readPortals(watches: readonly Watch[]): Promise<ReadonlyMap<string, Changes>> {
    const read = new Map<string, Changes>();
    for (const memberId of new Set(watches.flatMap(({ memberId }) => memberId ?? []))) {
      try {
        read.set(memberId, changesOf(await parts.portal(memberId)));
      } catch (error) {
        parts.onError(error);
      }
    }
    return read;
  }

  async function turn(): Promise<void> {
    // Not waited for: a sign-on that hangs for one viewer must not stop the streams of the others.
    for (const stream of streams) void check(stream).catch(() => {});
    const told = [...streams].filter(({ isBeingChecked }) => !isBeingChecked);
    try {
      const counts = await parts.counts();
      const portals = await readPortals(told);
      for (const stream of told) {
        const portal = stream.memberId === undefined ? undefined : portals.get(stream.memberId);
        if (stream.memberId !== undefined && portal === undefined) {
          tell(stream, "outage", {});
          continue;
        }
        // The page shows what it knew before: it has to fetch its parts even if nothing has changed meanwhile.
        if (stream.sent.has("outage")) stream.sent.clear();
        tell(stream, "totals", totalsOf(counts), counts);
        if (portal !== undefined) tell(stream, "portal", portal.shown, portal.mark);
      }
    } catch (error) {
      parts.onError(error);
      // The pages say what is wrong when they fetch their parts.
      for (const stream of streams) tell(stream, "outage", {});
    }
    for (const stream of streams) if (Math.abs(clock() - stream.sentAt) >= BEAT_EVERY_MS) send(stream, ":\n\n");
  }

  return {
    open: (watch) => {
      // Browsers open their streams again, which would keep a server from stopping all the same.
      if (isClosed) throw new ApiError(503, { code: "closed", message: "the app is closing" }, { "retry-after": "5" });
      const own = [...streams].filter(({ operator }) => operator.name === watch.operator.name).length;
      if (streams.size >= MAX_STREAMS || own >= MAX_STREAMS_OF_OPERATOR) {
        throw new ApiError(429, { code: "too_many", message: "too many pages are open" }, { "retry-after": "30" });
      }
      let stream: Stream | undefined;
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => {
          const now = clock();
          stream = {
            ...watch,
            controller,
            openedAt: now,
            checkedAt: now,
            isBeingChecked: false,
            sentAt: now,
            sent: new Map(),
          };
          streams.add(stream);
          // Proxies and browsers pass an answer on once it has begun.
          send(stream, "retry: 5000\n\n");
          stop ??= every(READ_EVERY_MS, turn);
        },
        cancel: () => end(stream!),
      });
      const headers = {
        ...{ ...HEADERS, "content-type": "text/event-stream; charset=utf-8" },
        // For the compression of frameworks and proxies, and for nginx: they would collect the events.
        ...{ "cache-control": "no-store, no-transform", "x-accel-buffering": "no" },
        // An idle connection would keep a server from stopping after its stream has ended.
        connection: "close",
      };
      return new Response(body, { headers });
    },
    close: () => {
      isClosed = true;
      [...streams].forEach(end);
    },
    size: () => streams.size,
  };
}

/** Numbers of portals by state. */
function totalsOf(counts: readonly PortalCount[]): Readonly<Record<string, number>> {
  const totals: Record<string, number> = {};
  for (const { status, count } of counts) totals[status] = (totals[status] ?? 0) + count;
  return totals;
}

/** The data about a portal that a page receives, and the value by which its changes are seen. */
interface Changes {
  readonly shown: object;
  readonly mark: unknown;
}

function changesOf(portal: StoredPortal | undefined): Changes {
  return { shown: portal === undefined ? {} : { state: portal.state, version: portal.version }, mark: portal ?? null };
}

/** One turn after the other, the first one at once. */
function everyMs(ms: number, turn: () => Promise<void>): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isStopped = false;
  const next = (): void =>
    void turn().finally(() => {
      if (!isStopped) timer = setTimeout(next, ms);
    });
  queueMicrotask(next);
  return () => {
    isStopped = true;
    clearTimeout(timer);
  };
}
