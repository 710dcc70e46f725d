// deno-lint-ignore-file no-console
/**
 * A process of an app with telemetry(). `receive` stores an update and does no work on it, `work` does the work. `upgrade` does
 * both, for many portals.
 *
 *     telemetry_child.ts receive|work|upgrade <file of SQLite>
 *
 * On Deno, its exporter is set up by the environment. On Node, this module sets up the SDK.
 */
import { createApp } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { rest } from "@b24/onappupdate/rest";
import { telemetry } from "@b24/onappupdate/telemetry";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { metrics } from "@opentelemetry/api";
import process from "node:process";
import { CLIENT_ID, MEMBER_ID, post, trustAll } from "../../support/app.ts";

const [, , part, path = ""] = process.argv;

/** Sets up the SDK, and returns a function that exports everything. */
async function setUpSdk(): Promise<() => Promise<void>> {
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

const shutDown = "Deno" in globalThis ? undefined : await setUpSdk();
// Both processes make the same tokens.
const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
const portal = bitrix24.portal({ memberId: MEMBER_ID });
portal.answer("crm.deal.list", () => []);
const install = portal.install(2);
const app = createApp({
  ...{ storage: fileStorage({ path }), clientId: CLIENT_ID, fetch: bitrix24.fetch, tickEveryMs: false },
  // Work that another process has left is due once a lease would have expired.
  limits: { leaseMs: 2000 },
})
  .use(telemetry())
  .use(trustAll)
  .use(rest())
  .upgrade("3", async ({ step, b24, log }) => {
    await step("one", async () => {
      log.info("step runs");
      await b24.call("crm.deal.list");
    });
  });
const note = { by: "test", reason: "telemetry" };

if (part === "receive") {
  await app.fetch(post(install));
  await app.settled();
  await app.admin.pause(note);
  await app.fetch(post(portal.update(3)));
} else if (part === "work") {
  portal.update(3);
  await app.start();
  await app.admin.resume(note);
  while ((await app.portal(MEMBER_ID))?.version !== "3.0.0") await app.tick();
  console.log(`version ${(await app.portal(MEMBER_ID))?.version}`);
  // Gauges are exported at intervals.
  await new Promise<void>((resolve) => process.once("SIGTERM", () => resolve()));
} else {
  const portals = Array.from({ length: 50 }, (_, n) => bitrix24.portal({ memberId: n.toString(16).padStart(32, "5") }));
  for (const one of portals) {
    one.answer("crm.deal.list", () => []);
    await app.fetch(post(one.install(2)));
  }
  await app.settled();
  const startedAt = performance.now();
  await Promise.all(portals.map((one) => app.fetch(post(one.update(3)))));
  await app.settled();
  const counts = await app.admin.counts();
  console.log(
    `upgraded ${counts.find(({ version }) => version === "3.0.0")?.count} in ${performance.now() - startedAt} ms`,
  );
  // An exporter may wait at the end for a collector that hangs.
  process.kill(process.pid, "SIGKILL");
}
await app.close();
await shutDown?.();
