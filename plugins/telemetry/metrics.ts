/** Pieces of work, reports and figures as metrics. None has a portal, a domain or the name of a step. */
import type { Attributes, Counter, Histogram, Meter, ObservableGauge, ObservableResult } from "@opentelemetry/api";
import type { Observers, StorageReport, TracedWork, WorkEnd } from "../../mod.ts";
import { attributesOf, errorType, eventOf, methodOf, statusType } from "./attributes.ts";
import type { Figure, Figures } from "./figures.ts";

/** Boundaries (s) of durations of requests and operations. */
const SHORT = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** Boundaries (s) of durations of steps, and of the way of an event. */
const LONG = [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21_600, 86_400];

/** The reports that are counted. */
type ReportName =
  | "eventReceived"
  | "eventPostponed"
  | "duplicateReceived"
  | "eventRejected"
  | "eventsDropped"
  | "eventHandled"
  | "tickFinished";

/** The metrics of an app. */
export interface Metrics {
  /** A piece of work has ended, after so many milliseconds. */
  readonly workEnded: (work: TracedWork, end: WorkEnd, ms: number) => void;
  readonly storageCalled: (report: StorageReport) => void;
  readonly reports: Pick<Observers, ReportName>;
  /** Reports no more gauges. */
  readonly close: () => void;
}

/** Options of {@linkcode createMetrics}. */
export interface MetricsOptions {
  readonly meter: Meter;
  readonly clock: () => number;
  /** Returns the figures that were read last. */
  readonly figures: () => Figures | undefined;
  /** Called after each tick. */
  readonly onTick: () => void;
}

/** Creates the metrics of an app. */
export function createMetrics({ meter, clock, figures, onTick }: MetricsOptions): Metrics {
  const events = meter.createCounter("b24.events", { unit: "{event}", description: "Events received, by outcome" });
  const lag = histogram(
    meter,
    "b24.event.lag",
    LONG,
    "Time from ts of an event to its receipt, and until it is handled",
  );
  let lastTick: Parameters<Observers["tickFinished"]>[0] | undefined;
  const gauges = createGauges(meter, figures, () => lastTick);
  const storage = histogram(meter, "b24.storage.duration", SHORT, "Duration of operations of the storage");
  const count = (name: string | undefined, outcome: string, times: number = 1): void =>
    events.add(times, attributesOf({ "b24.event": name && eventOf(name), "b24.outcome": outcome }));
  const lagOf = ({ ts }: { readonly ts: number }, at: number, stage: string): void =>
    lag.record(Math.max(0, at / 1000 - ts), { "b24.stage": stage });

  return {
    workEnded: createWorkMetrics(meter),
    storageCalled: ({ operation, ms, error }) =>
      storage.record(ms / 1000, attributesOf({ "b24.storage.operation": operation, "error.type": errorType(error) })),
    reports: {
      eventReceived: ({ event, receivedAt }) => {
        count(event.name, "accepted");
        lagOf(event, receivedAt, "received");
      },
      eventPostponed: ({ event }) => count(event.name, "postponed"),
      duplicateReceived: ({ event }) => count(event.name, "duplicate"),
      eventRejected: ({ event }) => count(event, "refused"),
      eventsDropped: ({ count: times, reason }) => count(undefined, reason, times),
      eventHandled: ({ event }) => lagOf(event, clock(), "handled"),
      tickFinished: (report) => {
        lastTick = report;
        onTick();
      },
    },
    close: gauges.close,
  };
}

function histogram(meter: Meter, name: string, boundaries: number[], description: string): Histogram {
  return meter.createHistogram(name, { unit: "s", description, advice: { explicitBucketBoundaries: boundaries } });
}

/** Returns the function that counts and times pieces of work. */
function createWorkMetrics(meter: Meter): Metrics["workEnded"] {
  const counter = (name: string, unit: string, description: string): Counter =>
    meter.createCounter(name, { unit, description });
  const requests = histogram(meter, "b24.request.duration", SHORT, "Duration of requests to the app");
  const calls = histogram(meter, "b24.call.duration", SHORT, "Duration of requests to portals and OAuth hosts");
  const steps = histogram(meter, "b24.step.duration", LONG, "Duration of attempts at steps");
  const counters = {
    verification: counter("b24.verifications", "{verification}", "Attempts at verifying an event"),
    delivery: counter("b24.deliveries", "{delivery}", "Attempts at the work of an event"),
    run: counter("b24.runs", "{run}", "Attempts at bringing a portal to its target"),
    upgrade: counter("b24.upgrades", "{upgrade}", "Attempts at an upgrade"),
    step: counter("b24.steps", "{step}", "Attempts at a step or a page"),
    rollback: counter("b24.rollbacks", "{rollback}", "Attempts at rolling a portal back"),
    check: counter("b24.checks", "{check}", "Questions about portals"),
    refresh: counter("b24.refreshes", "{refresh}", "Refreshes of token pairs"),
  };

  return (work, { outcome, status, error }, ms) => {
    const end = { "b24.outcome": outcome, "error.type": errorType(error) };
    if (work.kind === "request") {
      return requests.record(ms / 1000, httpAttributes(work.request.method, status, statusType(status, 500)));
    }
    if (work.kind === "call") {
      const type = errorType(error) ?? statusType(status, 400);
      const attributes = httpAttributes(work.httpMethod, status, type);
      return calls.record(ms / 1000, { ...attributes, "b24.call.to": work.to });
    }
    if (work.kind === "step") steps.record(ms / 1000, attributesOf(end));
    counters[work.kind].add(1, attributesOf({ ...end, ...detailsOf(work) }));
  };
}

function httpAttributes(method: string, status: number | undefined, type: string | undefined): Attributes {
  return attributesOf({
    ...{ "http.request.method": methodOf(method), "http.response.status_code": status, "error.type": type },
  });
}

/** Returns what distinguishes pieces of work of a kind: few values, all of them of this package or of the vendor's code. */
function detailsOf(work: TracedWork): Readonly<Record<string, string>> {
  if (work.kind === "verification") return { "b24.stage": work.stage };
  if (work.kind === "delivery") return { "b24.event": eventOf(work.event) };
  return work.kind === "upgrade" ? { "b24.upgrade.id": work.upgradeId } : {};
}

function createGauges(
  meter: Meter,
  figures: () => Figures | undefined,
  lastTick: () => Parameters<Observers["tickFinished"]>[0] | undefined,
): { readonly close: () => void } {
  const closers: (() => void)[] = [];

  function gauge(name: string, unit: string, description: string, read: () => readonly Figure[]): void {
    const created: ObservableGauge = meter.createObservableGauge(name, { unit, description });
    const callback = (result: ObservableResult): void => {
      for (const { value, attributes } of read()) result.observe(value, attributes);
    };
    created.addCallback(callback);
    closers.push(() => created.removeCallback(callback));
  }

  const ofTick = (value: number | undefined): readonly Figure[] =>
    value === undefined ? [] : [{ value, attributes: {} }];
  gauge("b24.portals", "{portal}", "Portals by version and state", () => figures()?.portals ?? []);
  gauge("b24.portals.blocked", "{portal}", "Portals that are blocked, by reason", () => figures()?.blocked ?? []);
  gauge("b24.outbox.messages", "{message}", "Messages in the outbox, by state", () => figures()?.outbox ?? []);
  gauge("b24.schedule.lag", "s", "How late the last tick began the work that was due first", () => {
    const lagMs = lastTick()?.lagMs;
    return ofTick(lagMs === undefined ? undefined : lagMs / 1000);
  });
  gauge(
    "b24.verification.budget",
    "{verification}",
    "Questions about unverified events that this process may still ask in the minute of the last tick",
    () => ofTick(lastTick()?.verificationsLeft),
  );
  return { close: () => closers.forEach((close) => close()) };
}
