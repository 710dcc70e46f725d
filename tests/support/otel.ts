/** An SDK of OpenTelemetry that keeps spans and metrics in memory. */
import { context, metrics, propagation, trace } from "@opentelemetry/api";
import {
  AggregationTemporality,
  DataPointType,
  InMemoryMetricExporter,
  MeterProvider,
  type MetricData,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-node";

/** A value of a metric: a number, or the count and sum of a histogram. */
export interface Point {
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly value: number | { readonly count: number; readonly sum?: number | undefined };
}

/** An SDK in memory. */
export interface InMemorySdk {
  /** Returns the spans that have ended. */
  readonly spans: () => readonly ReadableSpan[];
  /** Forgets all spans. */
  readonly reset: () => void;
  /** Resolves to the present points of all metrics, by name. */
  readonly points: () => Promise<ReadonlyMap<string, readonly Point[]>>;
  /** Resolves to the names of all metrics with their labels, as the exporter of Prometheus writes them. */
  readonly prometheus: () => Promise<ReadonlyMap<string, ReadonlySet<string>>>;
  /** Undoes the registration. */
  readonly close: () => Promise<void>;
}

/** Registers an SDK in memory. */
export function inMemorySdk(): InMemorySdk {
  const exporter = new InMemorySpanExporter();
  const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  provider.register();
  const metricExporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter: metricExporter, exportIntervalMillis: 2 ** 30 });
  const meterProvider = new MeterProvider({ readers: [reader] });
  metrics.setGlobalMeterProvider(meterProvider);
  const collect = async (): Promise<readonly MetricData[]> => {
    metricExporter.reset();
    await meterProvider.forceFlush();
    return metricExporter.getMetrics().at(-1)?.scopeMetrics.flatMap(({ metrics }) => metrics) ?? [];
  };
  return {
    spans: () => exporter.getFinishedSpans(),
    reset: () => exporter.reset(),
    points: async () =>
      new Map((await collect()).map(({ descriptor, dataPoints }) => [descriptor.name, dataPoints as readonly Point[]])),
    prometheus: async () => new Map((await collect()).flatMap(prometheusSeries)),
    close: async () => {
      await provider.shutdown();
      await meterProvider.shutdown();
      for (const api of [trace, context, metrics, propagation]) api.disable();
    },
  };
}

/** Returns the series of a metric, with their labels: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics */
function prometheusSeries({ descriptor, dataPoints, dataPointType }: MetricData): [string, ReadonlySet<string>][] {
  const withUnit = `${descriptor.name.replaceAll(".", "_")}${descriptor.unit === "s" ? "_seconds" : ""}`;
  const points = dataPoints as readonly { readonly attributes: object }[];
  const labels = points.flatMap(({ attributes }) => Object.keys(attributes)).map((name) => name.replaceAll(".", "_"));
  if (dataPointType === DataPointType.HISTOGRAM) {
    return ["bucket", "count", "sum"].map((part) => [
      ...[`${withUnit}_${part}`, new Set(part === "bucket" ? [...labels, "le"] : labels)] as const,
    ]);
  }
  // This package has no counters that fall.
  return [[`${withUnit}${dataPointType === DataPointType.SUM ? "_total" : ""}`, new Set(labels)]];
}
