/** A process with an app that has telemetry(), and exports what it records if its environment names a collector. */
import process from "node:process";
import { createApp, deployed, memoryStorage } from "@b24/onappupdate";
import { telemetry } from "@b24/onappupdate/telemetry";
import { quietLogger as logger, trustAll } from "../../tests/support/app.ts";
import { setUpExporter } from "../../tests/support/otlp.ts";
import { memberIds, storeInstalled } from "../../tests/support/rollout.ts";
import { answerCommands, cpuMicros } from "./_child.ts";

const STEPS = 5;

/** Resolves to the time (ms) until so many portals are on a deployed version, by an upgrade of {@linkcode STEPS} steps. */
async function upgradeAll(portals: number): Promise<{ readonly ms: number; readonly cpuMs: number }> {
  const storage = memoryStorage();
  await storeInstalled(storage, memberIds(portals), "1.0.0");
  const all = Promise.withResolvers<void>();
  let left = portals;
  const app = createApp({ storage, logger, versions: deployed("2.0.0"), checks: false, tickEveryMs: 30_000 })
    .use(telemetry())
    .use(trustAll)
    .upgrade("2.0.0", async ({ step }) => {
      for (let n = 0; n < STEPS; n++) await step(`step ${n}`, () => n);
    })
    .on("ONAPPUPDATE", () => {
      if (--left === 0) all.resolve();
    });
  const start = performance.now();
  const cpu = cpuMicros();
  await app.start();
  await all.promise;
  const times = { ms: performance.now() - start, cpuMs: (cpuMicros() - cpu) / 1000 };
  await app.close();
  return times;
}

if (process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] !== undefined) await setUpExporter();
answerCommands({ upgradeAll: (portals) => upgradeAll(Number(portals)) });
