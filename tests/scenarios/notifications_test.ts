/** A process is killed between sending a notification and recording it: the next one sends it again, with the same id. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../support/process.ts";
import { it } from "../support/test.ts";

it("a notification that was sent and not recorded is sent again with the same id", { timeout: 120_000 }, async () => {
  const received: { readonly id: string; readonly message: unknown }[] = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    received.push(JSON.parse(body));
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const folder = mkdtempSync(join(tmpdir(), "notifications-"));
  try {
    const args = [join(folder, "portals.db"), `http://127.0.0.1:${(server.address() as AddressInfo).port}/`];
    const worker = "tests/scenarios/notifications_worker.ts";
    const killed = run(worker, { args: [...args, "kill"] });
    assert.equal(await killed.exited, null, killed.output());
    assert.equal(received.length, 1);
    const next = run(worker, { args: [...args, "go-on"] });
    assert.equal(await next.exited, 0, next.output());
    assert.equal(received.length, 2);
    assert.deepEqual(received[1], received[0]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await new Promise((resolve) => server.close(resolve));
  }
});
