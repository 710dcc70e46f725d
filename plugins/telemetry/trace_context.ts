/** The context of a trace: as it is stored with an event, and as a request brings it. */
import {
  type Context,
  context,
  isSpanContextValid,
  type Link,
  propagation,
  ROOT_CONTEXT,
  type SpanContext,
  trace,
} from "@opentelemetry/api";

/** `traceparent` of W3C Trace Context, version 00; later versions may have more after the flags. */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-|$)/;

/** Returns the present span as a `traceparent`; `undefined` if there is none. */
export function traceparentHere(): string | undefined {
  const span = trace.getSpanContext(context.active());
  if (span === undefined || !isSpanContextValid(span)) return undefined;
  return `00-${span.traceId}-${span.spanId}-${(span.traceFlags & 0xff).toString(16).padStart(2, "0")}`;
}

/** Returns the span of a `traceparent`; `undefined` if it is malformed. */
function spanContextOf(traceparent: string | null | undefined): SpanContext | undefined {
  const [, traceId = "", spanId = "", flags = "0"] = TRACEPARENT.exec(traceparent ?? "") ?? [];
  const span: SpanContext = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true };
  return isSpanContextValid(span) ? span : undefined;
}

/** The place of a span: the context of its parent, and the spans that it is linked to. */
export interface Place {
  readonly parent: Context;
  readonly links: Link[];
}

/** Returns the place of work that a stored event causes: in its trace, or in a new one that is linked to it. */
export function placeOf(traceparent: string | undefined, isFirst: boolean): Place {
  const span = spanContextOf(traceparent);
  if (span === undefined) return { parent: ROOT_CONTEXT, links: [] };
  if (!isFirst) return { parent: ROOT_CONTEXT, links: [{ context: span }] };
  return { parent: trace.setSpanContext(ROOT_CONTEXT, span), links: [] };
}

/** Returns the place of work that belongs to what is under way here. */
export function placeHere(): Place {
  return { parent: context.active(), links: [] };
}

/**
 * Returns the place of a request. Its sender chooses its headers, and the span of a server that instruments itself may
 * follow them: unless they are trusted, the request is a trace of its own, which is linked to them.
 */
export function placeOfRequest({ headers }: Request, isTrusted: boolean): Place {
  const here = trace.getSpanContext(context.active());
  if (isTrusted) {
    return here === undefined ? { parent: extracted(headers), links: [] } : placeHere();
  }
  const sent = spanContextOf(headers.get("traceparent"));
  const links = [here, sent].filter((span) => span !== undefined && isSpanContextValid(span)) as SpanContext[];
  return { parent: ROOT_CONTEXT, links: links.map((context) => ({ context })) };
}

function extracted(headers: Headers): Context {
  return propagation.extract(ROOT_CONTEXT, headers, {
    get: (headers, name) => headers.get(name) ?? undefined,
    keys: (headers) => [...headers.keys()],
  });
}
