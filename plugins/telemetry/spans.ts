/** Pieces of work as spans. */
import { type Attributes, context, type Span, SpanKind, SpanStatusCode, trace, type Tracer } from "@opentelemetry/api";
import type { TracedWork, WorkEnd } from "../../mod.ts";
import { attributesOf, b24CodeOf, errorType, methodOf, statusType } from "./attributes.ts";
import { type Place, placeHere, placeOf, placeOfRequest } from "./trace_context.ts";

/** A span, as its work begins. */
interface NewSpan {
  readonly name: string;
  readonly kind: SpanKind;
  readonly attributes: Attributes;
  readonly place: Place;
}

/** Begins the span of a piece of work. */
export function beginSpan(tracer: Tracer, work: TracedWork, trustsIncoming: boolean): Span {
  const { name, kind, attributes, place: { parent, links } } = spanOf(work, trustsIncoming);
  return tracer.startSpan(name, { kind, attributes, links }, parent);
}

/** Calls `work` in the context of a span. */
export function runInSpan<T>(span: Span, work: () => T): T {
  return context.with(trace.setSpan(context.active(), span), work);
}

/** Ends a span. */
export function endSpan(span: Span, work: TracedWork, { outcome, status, error }: WorkEnd): void {
  // The server of a request is at fault for 5xx only, a client for 4xx too.
  const type = errorType(error) ?? statusType(status, work.kind === "request" ? 500 : 400);
  span.setAttributes(attributesOf({
    "b24.outcome": outcome,
    "http.response.status_code": status,
    "error.type": type,
    "b24.error.code": b24CodeOf(error),
  }));
  if (error !== undefined) span.recordException(error);
  if (type !== undefined && outcome !== "postponed") {
    span.setStatus({ code: SpanStatusCode.ERROR, ...error === undefined ? {} : { message: error.message } });
  }
  span.end();
}

function spanOf(work: TracedWork, trustsIncoming: boolean): NewSpan {
  const internal = (name: string, place: Place, members: Parameters<typeof attributesOf>[0]): NewSpan => ({
    ...{ name: `b24.${name}`, kind: SpanKind.INTERNAL, place, attributes: attributesOf(members) },
  });
  switch (work.kind) {
    case "request": {
      const method = methodOf(work.request.method);
      return {
        ...{ name: method, kind: SpanKind.SERVER, attributes: { "http.request.method": method } },
        place: placeOfRequest(work.request, trustsIncoming),
      };
    }
    case "verification": {
      const place = work.stage === "received" ? placeHere() : placeOf(work.trace, work.attempt === 1);
      return internal("verification", place, {
        ...{ "b24.member_id": work.memberId, "b24.event": work.event, "b24.stage": work.stage },
        "b24.attempt": work.attempt,
      });
    }
    case "check": {
      const place = work.trace === undefined ? placeHere() : placeOf(work.trace, work.isFirst);
      return internal("check", place, { "b24.member_id": work.memberId });
    }
    case "delivery":
      return internal("delivery", placeOf(work.trace, work.isFirst), {
        ...{ "b24.member_id": work.memberId, "b24.event": work.event, "b24.delivery.id": work.deliveryId },
        "b24.delivery.is_first": work.isFirst,
      });
    case "run":
    case "rollback":
      return internal(work.kind, placeHere(), {
        ...{ "b24.member_id": work.memberId, "b24.version.from": work.from, "b24.version.to": work.to },
      });
    case "upgrade":
      return internal("upgrade", placeHere(), {
        ...{ "b24.member_id": work.memberId, "b24.version.from": work.from, "b24.version.to": work.to },
        ...{ "b24.upgrade.id": work.upgradeId, "b24.attempt": work.attempt },
      });
    case "step":
      return internal("step", placeHere(), {
        ...{ "b24.member_id": work.memberId, "b24.upgrade.id": work.upgradeId, "b24.step.name": work.step },
        "b24.attempt": work.attempt,
      });
    case "refresh":
      return internal("refresh", placeHere(), {});
    case "call": {
      const attributes = attributesOf({
        ...{ "http.request.method": methodOf(work.httpMethod), "server.address": work.host, "server.port": work.port },
        ...{ "b24.method": work.method, "b24.call.to": work.to },
      });
      return {
        ...{ name: `${methodOf(work.httpMethod)} ${work.method}`, kind: SpanKind.CLIENT, attributes },
        place: placeHere(),
      };
    }
  }
}
