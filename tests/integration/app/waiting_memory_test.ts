import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createApp } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { CLIENT_ID, post, quietLogger, trustAll } from "../../support/app.ts";
import { memberIdOf } from "../../support/crowd.ts";
import { test } from "../../support/test.ts";

const PORTALS = 2000;
/** Bytes of the heap for each portal: it holds no event. */
const MAX_BYTES = 3000;

test("a portal that waits for its turn takes little memory", { timeout: 300_000 }, async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  /** Returns what is left once nothing more is collected. Finalizers run between collections. */
  const heap = async (): Promise<number> => {
    for (let i = 0; i < 5; i++) {
      collect();
      await delay(20);
    }
    return process.memoryUsage().heapUsed;
  };
  const folder = mkdtempSync(join(tmpdir(), "waiting-"));
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
  const portals = Array.from({ length: PORTALS }, (_, n) => bitrix24.portal({ memberId: memberIdOf(n) }));
  const installs = portals.map((portal) => portal.install(2));
  const updates = portals.map((portal) => portal.update(3));
  const gate = Promise.withResolvers<void>();
  // Its database is not a part of the heap.
  const storage = fileStorage({ path: join(folder, "app.db") });
  const app = createApp({ storage, clientId: CLIENT_ID, logger: quietLogger, checks: false, tickEveryMs: false })
    .use(trustAll)
    .upgrade("3", () => gate.promise);
  const sendAll = async (bodies: readonly string[]): Promise<void> => {
    for (const body of bodies) assert.equal((await app.fetch(post(body))).status, 200);
  };
  await sendAll(installs);
  await app.settled();
  await sendAll(updates);
  const waiting = await heap();
  gate.resolve();
  await app.settled();
  // Excludes memory that is kept after the work, such as cached tokens.
  const each = (waiting - await heap()) / PORTALS;
  await app.close();
  rmSync(folder, { recursive: true });
  assert.equal(updates.length, PORTALS, "kept alive until here, so that freeing them does not count");
  assert.ok(each > 0 && each < MAX_BYTES, `${Math.round(each)} bytes for each portal`);
});
