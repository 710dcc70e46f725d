import assert from "node:assert/strict";
import { consoleChannel, type NotificationMessage } from "@b24/onappupdate/notifications";
import { describe, it, mock } from "../../../support/test.ts";
import { notification, send } from "./_channel.ts";

describe("consoleChannel()", () => {
  it("writes text by the method of its severity, without control characters", async () => {
    const lines: string[] = [];
    const methods = ["info", "warn", "error"] as const;
    const mocks = methods.map((name) => mock.method(console, name, (text: string) => lines.push(`${name} ${text}`)));
    const write = (more: Partial<NotificationMessage>): Promise<void> =>
      send(
        consoleChannel(),
        notification({ title: "a\u001b[2Jb", lines: [], portals: { shown: [], total: 0 }, ...more }),
      );
    try {
      await write({ severity: "info" });
      await write({ severity: "warning" });
      await write({ severity: "critical" });
      await write({ severity: "critical", status: "resolved" });
    } finally {
      for (const { mock } of mocks) mock.restore();
    }
    assert.deepEqual(lines, [
      "info INFO: a [2Jb\nID: n-1",
      "warn WARNING: a [2Jb\nID: n-1",
      "error CRITICAL: a [2Jb\nID: n-1",
      "info RESOLVED: a [2Jb\nID: n-1",
    ]);
  });

  it("writes nothing once its signal is aborted", async () => {
    const signal = AbortSignal.abort(new DOMException("closed", "AbortError"));
    await assert.rejects(consoleChannel().send(notification(), { id: "n-1", signal }), { name: "AbortError" });
  });
});
