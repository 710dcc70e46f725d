/** telemetry() in processes that export to a collector: by Deno's own exporter, or by the SDK for Node. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Collector, startCollector } from "../../support/collector.ts";
import { assertNoToken } from "../../support/leaks.ts";
import { exportsTo } from "../../support/otlp.ts";
import { run } from "../../support/process.ts";
import { describe, it } from "../../support/test.ts";
import { until } from "../../support/until.ts";

const CHILD = "tests/integration/plugins/telemetry_child.ts";

async function inFolder(test: (path: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "telemetry-"));
  try {
    await test(join(folder, "portals.db"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs a part in a process of its own, which is stopped once `isOver` returns true. Resolves to its output. */
async function runPart(part: string, path: string, { endpoint }: Collector, isOver?: () => boolean): Promise<string> {
  const child = run(CHILD, {
    args: [part, path],
    env: exportsTo(endpoint),
  });
  if (isOver !== undefined) {
    await child.printed(/^version/m);
    const ended = child.exited.then(() => assert.fail(`${part} has ended by itself:\n${child.output()}`));
    await Promise.race([until(`${part} to export what is awaited`, isOver), ended]);
    ended.catch(() => {});
    child.stop();
  }
  assert.equal(await child.exited, part === "upgrade" ? null : 0, child.output());
  return child.output();
}

describe("telemetry() of two processes", () => {
  it("is one trace from the request in one to the step in the other, without a token", () =>
    inFolder(async (path) => {
      const collector = await startCollector();
      try {
        const received = await runPart("receive", path, collector);
        collector.forgetMetrics();
        const requests = collector.takeSpans().filter(({ name }) => name === "POST");
        const worked = await runPart("work", path, collector, () => collector.metricNames().has("b24.portals"));
        const spans = collector.takeSpans();
        assert.match(worked, /version 3\.0\.0/);
        // The installation, and the update.
        assert.equal(requests.length, 2);
        const only = (name: string): typeof spans[number] => {
          const found = spans.filter((span) => span.name === name);
          assert.equal(found.length, 1, `${name}: ${found.length} of ${spans.map(({ name }) => name).join(", ")}`);
          return found[0]!;
        };
        const path_ = ["b24.delivery", "b24.run", "b24.upgrade", "b24.step", "POST crm.deal.list"].map(only);
        const request = requests.find(({ traceId }) => traceId === path_[0]!.traceId);
        assert(request !== undefined, "the work is in the trace of no request");
        assert.equal(request, requests[1]);
        let parent = request;
        for (const span of path_) {
          assert.deepEqual([span.name, span.traceId, span.parentSpanId], [span.name, request.traceId, parent.spanId]);
          parent = span;
        }
        for (const name of ["b24.deliveries", "b24.steps", "b24.storage.duration", "b24.portals"]) {
          assert(collector.metricNames().has(name), `${name} is not in ${[...collector.metricNames()].join(", ")}`);
        }
        // The line is logged by the handler's process, in the trace of the request.
        assert(worked.includes(`"trace_id":"${request.traceId}"`), worked);
        assertNoToken("a span, a metric or a log record", collector.text());
        assertNoToken("a log line", received + worked);
      } finally {
        collector.close();
      }
    }));

  it("upgrades all portals while the collector answers nothing", () =>
    inFolder(async (path) => {
      const collector = await startCollector({ isHanging: true });
      try {
        assert.match(await runPart("upgrade", path, collector), /upgraded 50 /);
      } finally {
        collector.close();
      }
    }));
});
