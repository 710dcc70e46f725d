/** A collector of OpenTelemetry: takes OTLP over HTTP, in JSON. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

/** A span as it arrives. */
export interface CollectedSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly links?: readonly { readonly traceId: string; readonly spanId: string }[];
}

/** The data that a collector has received. */
export interface Collector {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly endpoint: string;
  /** Returns the spans that have arrived since the last call. */
  readonly takeSpans: () => readonly CollectedSpan[];
  /** Returns the names of all metrics since {@linkcode forgetMetrics}. */
  readonly metricNames: () => ReadonlySet<string>;
  readonly forgetMetrics: () => void;
  /** Returns everything that has arrived, as it was sent. */
  readonly text: () => string;
  /** Number of requests so far. */
  readonly requests: () => number;
  readonly close: () => void;
}

interface Body {
  readonly resourceSpans?: readonly {
    readonly scopeSpans?: readonly { readonly spans?: readonly CollectedSpan[] }[];
  }[];
  readonly resourceMetrics?: readonly {
    readonly scopeMetrics?: readonly { readonly metrics?: readonly { readonly name: string }[] }[];
  }[];
}

/** Starts a collector at a free port. `isHanging`: it never answers. */
export async function startCollector({ isHanging = false }: { readonly isHanging?: boolean } = {}): Promise<Collector> {
  const texts: string[] = [];
  let spans: CollectedSpan[] = [];
  const metrics = new Set<string>();
  let requests = 0;

  const server: Server = createServer((request, response) => {
    requests++;
    if (isHanging) return;
    let text = "";
    request.setEncoding("utf8");
    request.on("data", (part: string) => text += part);
    request.on("end", () => {
      texts.push(text);
      const { resourceSpans = [], resourceMetrics = [] } = JSON.parse(text) as Body;
      for (const { scopeSpans = [] } of resourceSpans) spans.push(...scopeSpans.flatMap(({ spans = [] }) => spans));
      for (const { scopeMetrics = [] } of resourceMetrics) {
        for (const { name } of scopeMetrics.flatMap(({ metrics = [] }) => metrics)) metrics.add(name);
      }
      response.writeHead(200, { "content-type": "application/json" }).end("{}");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    endpoint: `http://127.0.0.1:${port}`,
    takeSpans: () => {
      const taken = spans;
      spans = [];
      return taken;
    },
    metricNames: () => metrics,
    forgetMetrics: () => metrics.clear(),
    text: () => texts.join("\n"),
    requests: () => requests,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
