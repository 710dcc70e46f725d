/** Holds `docs/grafana-dashboard.json` and `docs/telemetry.md` against the metrics that an app emits. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { rest } from "@b24/onappupdate/rest";
import { telemetry } from "@b24/onappupdate/telemetry";
import { memoryStorage, type Plugin } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { post, quietLogger, rig } from "../support/app.ts";
import { inMemorySdk } from "../support/otel.ts";
import { before, describe, it } from "../support/test.ts";

const read = (file: string): string => readFileSync(new URL(`../../docs/${file}`, import.meta.url), "utf8");

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}

/** Returns the expressions of the dashboard, and the labels in its legends. */
function expressions(): readonly { readonly title: string; readonly expr: string; readonly legend: string }[] {
  const { panels } = JSON.parse(read("grafana-dashboard.json")) as { readonly panels: readonly Panel[] };
  return panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr, legendFormat: legend }) => ({ title, expr, legend }))
  );
}

/** Runs an app through everything that it has a metric for. Resolves to the labels of each metric, as Prometheus names them. */
async function emitted(): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const sdk = inMemorySdk();
  const outbox: Plugin = { name: "mail", outbox: { deliver: () => {} } };
  const memory = memoryStorage();
  let isDown = false;
  const get: typeof memory.get = (...args) => isDown ? Promise.reject(new StorageError("down")) : memory.get(...args);
  const { app, bitrix24, portal, send, later } = rig({
    ...{ storage: { ...memory, get }, logger: quietLogger, clientSecret: "s3cr3t-of-the-app" },
  });
  let failures = 1;
  app.use(telemetry()).use(rest()).use(outbox).upgrade("3", async ({ step, b24 }) => {
    await step("one", async () => {
      if (failures-- > 0) throw new Error("not yet");
      await b24.call("crm.deal.list");
    });
  }).upgrade("4", () => {}, { requires: { scope: "telephony" } });
  portal.answer("crm.deal.list", () => []);
  await send(portal.install(2));
  await send(portal.update(3));
  await app.fetch(post("nonsense"));
  isDown = true;
  await send(portal.update(3));
  isDown = false;
  portal.expireTokens();
  later();
  await app.tick();
  await app.admin.rollback(portal.memberId, { by: "test", reason: "dashboard" });
  await send(portal.update(4));
  bitrix24.outage();
  await app.check(portal.memberId).catch(() => {});
  later();
  await app.tick();
  await app.settled();
  const metrics = await sdk.prometheus();
  await app.close();
  await sdk.close();
  return metrics;
}

let metrics: ReadonlyMap<string, ReadonlySet<string>>;
before(async () => void (metrics = await emitted()));

describe("the dashboard for Grafana", () => {
  for (const { title, expr, legend } of expressions()) {
    it(`shows what is emitted in "${title}": ${expr}`, () => {
      const words = [...expr.matchAll(/\b(?:b24|http|error)_\w+/g)].map(([word]) => word);
      const names = words.filter((word) => metrics.has(word));
      const labels = new Set(names.flatMap((name) => [...metrics.get(name)!]));
      assert(names.length > 0, `no metric of ${Array.from(metrics.keys()).join(", ")}`);
      for (const word of words) assert(metrics.has(word) || labels.has(word), `neither a metric nor a label: ${word}`);
      for (const [, label] of legend.matchAll(/\{\{(\w+)\}\}/g)) assert(labels.has(label!), `no label ${label}`);
      const isOfWholeApp = /b24_(portals|portals_blocked|outbox_messages)\b/.test(expr);
      if (isOfWholeApp) assert.match(expr, /max by/);
    });
  }

  it("shows each metric", () => {
    const shown = expressions().map(({ expr }) => expr).join("\n");
    const families = new Set(Array.from(metrics.keys(), (name) => name.replace(/_(bucket|count|sum)$/, "")));
    for (const family of families) assert(shown.includes(family), family);
  });
});

describe("docs/telemetry.md", () => {
  it("lists each metric with its unit and attributes, and no other", () => {
    const rows = read("telemetry.md").split("\n## Metrics\n")[1]!.split("\n## ")[0]!.split("\n")
      .filter((line) => line.startsWith("| `b24."));
    const listed = new Map(rows.map((row) => {
      const cells = row.split("|").map((cell) => cell.trim());
      const name = cells[1]!.replaceAll("`", "").replaceAll(".", "_");
      const unit = cells[3] === "s" ? "_seconds" : "";
      const suffix = cells[2] === "counter" ? "_total" : "";
      const labels = [...cells[5]!.matchAll(/`((?:b24|http|error)[\w.]+)`/g)].map(([, label]) => label!);
      return [`${name}${unit}${suffix}`, new Set(labels.map((label) => label.replaceAll(".", "_")))];
    }));
    const families = new Set(Array.from(metrics.keys(), (name) => name.replace(/_(bucket|count|sum)$/, "")));
    assert.deepEqual([...listed.keys()].sort(), [...families].sort());
    for (const [name, labels] of metrics) {
      const known = listed.get(name.replace(/_(bucket|count|sum)$/, ""))!;
      for (const label of labels) assert(known.has(label) || label === "le", `${name}: ${label}`);
    }
  });
});
