/** The export to a collector by OTLP, in a process that {@linkcode exportsTo} has the environment of. */
import { metrics } from "@opentelemetry/api";

/** Returns the environment of a process that exports to a collector. Metrics are exported every half second. */
export function exportsTo(endpoint: string): Readonly<Record<string, string>> {
  return {
    ...{ OTEL_DENO: "true", OTEL_EXPORTER_OTLP_PROTOCOL: "http/json", OTEL_EXPORTER_OTLP_ENDPOINT: endpoint },
    OTEL_METRIC_EXPORT_INTERVAL: "500",
  };
}

/**
 * Sets up the SDK on Node, and returns a function that exports the rest. On Deno, the environment has set up the exporter of the
 * runtime.
 */
export async function setUpExporter(): Promise<() => Promise<void>> {
  if ("Deno" in globalThis) return () => Promise.resolve();
  const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-http");
  const { OTLPMetricExporter } = await import("@opentelemetry/exporter-metrics-otlp-http");
  const { MeterProvider, PeriodicExportingMetricReader } = await import("@opentelemetry/sdk-metrics");
  const { BatchSpanProcessor, NodeTracerProvider } = await import("@opentelemetry/sdk-trace-node");
  const traces = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())] });
  traces.register();
  const reader = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter(),
    exportIntervalMillis: 500,
    exportTimeoutMillis: 400,
  });
  const meters = new MeterProvider({ readers: [reader] });
  metrics.setGlobalMeterProvider(meters);
  return async () => {
    await traces.shutdown();
    await meters.shutdown();
  };
}
