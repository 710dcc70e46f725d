import assert from "node:assert/strict";
import { createApp, memoryStorage, type Plugin } from "@b24/onappupdate";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { backgroundWork, CLIENT_ID, MEMBER_ID, post, quietLogger } from "../../support/app.ts";
import { it } from "../../support/test.ts";

const WRONG: Readonly<Record<string, [status: number, around: Plugin["around"]]>> = {
  "throws an error of its own": [503, () => Promise.reject(new TypeError("no database"))],
  "returns without calling next()": [403, () => Promise.resolve()],
};

for (const [name, [status, around]] of Object.entries(WRONG)) {
  it(`a plugin of phase verify that ${name} lets no event in`, async () => {
    const portal = fakeBitrix24({ clientId: CLIENT_ID }).portal({ memberId: MEMBER_ID });
    const { platform, settled } = backgroundWork();
    let runs = 0;
    const app = createApp({
      ...{ storage: memoryStorage(), clientId: CLIENT_ID, logger: quietLogger, tickEveryMs: false },
      acknowledge: "handled",
    }).use({ name: "wrong", phase: "verify", around: around! }).on("ONAPPINSTALL", () => void runs++);
    assert.equal((await app.fetch(post(portal.install(2)), platform)).status, status);
    await settled();
    assert.deepEqual([await app.portal(MEMBER_ID), runs], [undefined, 0]);
    await app.close();
  });
}
