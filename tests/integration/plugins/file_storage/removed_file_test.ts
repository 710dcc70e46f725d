import assert from "node:assert/strict";
import { copyFileSync, renameSync, rmSync } from "node:fs";
import { createApp, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID, post, quietLogger, trustAll } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { placeOfEachTest } from "./_file_storage.ts";

const place = placeOfEachTest();

const changes: readonly { readonly what: string; readonly change: () => void; readonly message: RegExp }[] = [
  { what: "was removed", change: () => rmSync(place.path), message: /app\.db was removed while it was open; stop all/ },
  {
    what: "was replaced by a copy of itself",
    change: () => {
      copyFileSync(place.path, `${place.path}.copy`);
      renameSync(`${place.path}.copy`, place.path);
    },
    message: /app\.db was replaced while it was open; stop all/,
  },
  {
    what: "has lost its write-ahead log",
    change: () => rmSync(`${place.path}-wal`),
    message: /app\.db-wal was removed while it was open; stop all/,
  },
];

async function assertRefused(call: () => Promise<unknown>, message: RegExp): Promise<void> {
  await assert.rejects(call, (error: Error) => {
    assert(error instanceof StorageError, String(error));
    assert.match(error.message, message);
    return true;
  });
}

/** Writes in each way. */
function writesOf(storage: Storage): (() => Promise<unknown>)[] {
  return [
    () => storage.put(["a"], 2),
    () => storage.put(["new"], 1, { ifVersion: null }),
    () => storage.delete(["a"]),
    () => storage.write!([{ put: ["b"], value: 1 }]),
  ];
}

describe("a file that was open and", () => {
  for (const { what, change, message } of changes) {
    it(`${what} takes no more writes`, async () => {
      const storage = place.open();
      await storage.put(["a"], 1);
      change();
      for (const write of writesOf(storage)) await assertRefused(write, message);
    });

    it(`${what} makes an app answer 503`, async () => {
      const storage = place.open();
      const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
      const portal = bitrix24.portal({ memberId: MEMBER_ID });
      const app = createApp({ storage, clientId: CLIENT_ID, logger: quietLogger, tickEveryMs: false, checks: false })
        .use(trustAll).upgrade("3", () => {});
      assert.equal((await app.fetch(post(portal.install(2)))).status, 200);
      await app.settled();
      change();
      assert.equal((await app.fetch(post(portal.update(3)))).status, 503);
      await app.close();
    });
  }

  it("was moved away takes writes again once it is back", async () => {
    const storage = place.open();
    await storage.put(["a"], 1);
    renameSync(place.path, `${place.path}.away`);
    await assertRefused(() => storage.put(["a"], 2), /was removed while it was open/);
    renameSync(`${place.path}.away`, place.path);
    await storage.put(["a"], 3);
    assert.equal((await storage.get(["a"]))?.value, 3);
  });
});
