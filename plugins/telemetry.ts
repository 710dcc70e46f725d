/**
 * Traces and metrics of an app by OpenTelemetry: one trace from the request of Bitrix24 over processes to the calls of a step.
 * You install `@opentelemetry/api`, and set up an SDK, or Deno's exporter; without one, nothing is recorded.
 *
 * @module
 */
import { context, isSpanContextValid, metrics, ROOT_CONTEXT, trace, type Tracer } from "@opentelemetry/api";
import { checkOptions, option, type Plugin, type TracedWork, type WorkSpan } from "../mod.ts";
import { createFigureReader, type FigureReader } from "./telemetry/figures.ts";
import { createMetrics, type Metrics } from "./telemetry/metrics.ts";
import { beginSpan, endSpan, runInSpan } from "./telemetry/spans.ts";
import { traceparentHere } from "./telemetry/trace_context.ts";

/** Options of {@linkcode telemetry}. */
export interface TelemetryOptions {
  /**
   * A request continues the trace of its header `traceparent`, or of the span of your server. Only for an app behind a proxy that
   * replaces these headers: anybody can send them. By default, a request is a trace of its own that is linked to them.
   *
   * @default false
   */
  readonly trustIncomingTrace?: boolean;
}

/** Name of the instrumentation scope. */
const SCOPE = "@b24/onappupdate";

/**
 * Records the work of an app as spans and metrics of OpenTelemetry, and adds `trace_id` and `span_id` to its log lines.
 * `docs/telemetry.md` lists all of them.
 *
 * The SDK must be set up before the app starts. A retry, and whatever a run resumes after, is a trace of its own, which is linked
 * to the one of the request. No span and no metric has a token, a query string or a body. Metrics have no portal.
 *
 * @throws {TypeError} if an option is unknown or invalid
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage } from "@b24/onappupdate";
 * import { applicationToken } from "@b24/onappupdate/application-token";
 * import { telemetry } from "@b24/onappupdate/telemetry";
 *
 * const app = createApp({ storage: memoryStorage() })
 *   .use(telemetry())
 *   .use(applicationToken());
 * await app.close();
 * ```
 */
export function telemetry(options: TelemetryOptions = {}): Plugin {
  checkOptions("cannot record telemetry", options, { trustIncomingTrace: option.flag() });
  const { trustIncomingTrace = false } = options;
  let tracer: Tracer = trace.getTracer(SCOPE);
  let recorded: Metrics | undefined;
  let figures: FigureReader | undefined;

  function begin(work: TracedWork): WorkSpan {
    const startedAt = performance.now();
    const span = beginSpan(tracer, work, trustIncomingTrace);
    return {
      run: (work) => runInSpan(span, work),
      end: (end) => {
        endSpan(span, work, end);
        recorded?.workEnded(work, end, performance.now() - startedAt);
      },
    };
  }

  return {
    name: "telemetry",
    setup: (host) => {
      tracer = trace.getTracer(SCOPE);
      figures = createFigureReader(host);
      recorded = createMetrics({
        ...{ meter: metrics.getMeter(SCOPE), clock: host.clock, figures: figures.last },
        onTick: () => void figures?.refresh(),
      });
    },
    observe: {
      eventReceived: (report) => recorded?.reports.eventReceived(report),
      eventPostponed: (report) => recorded?.reports.eventPostponed(report),
      duplicateReceived: (report) => recorded?.reports.duplicateReceived(report),
      eventRejected: (report) => recorded?.reports.eventRejected(report),
      eventsDropped: (report) => recorded?.reports.eventsDropped(report),
      eventHandled: (report) => recorded?.reports.eventHandled(report),
      tickFinished: (report) => recorded?.reports.tickFinished(report),
    },
    tracing: {
      begin,
      context: traceparentHere,
      detach: (work) => context.with(ROOT_CONTEXT, work),
      logFields: () => {
        const span = trace.getSpanContext(context.active());
        return span === undefined || !isSpanContextValid(span) ? {} : { trace_id: span.traceId, span_id: span.spanId };
      },
      storageCalled: (report) => recorded?.storageCalled(report),
    },
    close: () => recorded?.close(),
  };
}
