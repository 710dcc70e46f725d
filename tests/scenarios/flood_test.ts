import assert from "node:assert/strict";
import { memoryStorage } from "@b24/onappupdate";
import { OTHER_MEMBER_ID, rig } from "../support/app.ts";
import { it } from "../support/test.ts";

const POSTS = 20_000;
const CONCURRENT = 500;

it(`${POSTS} forged events change nothing, and cause a bounded number of requests to the OAuth hosts`, async () => {
  const storage = memoryStorage();
  let now = 1785300000_000;
  const { app, bitrix24, portal, send } = rig({ storage, clock: () => now, checks: {} });
  assert.equal(await send(portal.install(2)), 200);
  const entries = async (): Promise<number> => {
    let count = 0;
    for await (const { key } of storage.list([])) if (!key[0].startsWith("unverified")) count++;
    return count;
  };
  const [entriesBefore, requestsBefore] = [await entries(), bitrix24.requests()];
  const model = new URLSearchParams(bitrix24.portal({ memberId: OTHER_MEMBER_ID }).update(3));
  const statuses = new Map<number, number>();
  for (let i = 0; i < POSTS; i += CONCURRENT) {
    await Promise.all(Array.from({ length: CONCURRENT }, async (_, j) => {
      const forged = new URLSearchParams(model);
      forged.set("auth[member_id]", (i + j).toString(16).padStart(32, "0"));
      // An event of an unknown portal without an access token is refused without a request.
      if (j % 3 === 0) forged.delete("auth[access_token]");
      else forged.set("auth[access_token]", `forged-${i + j}-0123456789abcdef`);
      forged.delete("auth[server_endpoint]");
      const status = await send(forged.toString());
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }));
    // Events of known portals are accepted all the time.
    if (i % 5000 === 0) assert.equal(await send(portal.event("ONAPPTEST", { "QUERY[n]": String(i) })), 200);
  }
  assert.deepEqual([...statuses.keys()].sort(), [403, 503]);
  // 300 verifications a minute of unknown portals, with two hosts each.
  const requests = bitrix24.requests() - requestsBefore;
  assert(requests <= 600, `${requests} requests`);
  assert.equal(await entries(), entriesBefore);
  // A new portal waits for its turn behind all of them.
  const late = bitrix24.portal({ memberId: OTHER_MEMBER_ID, domain: "late.bitrix24.de" });
  assert.equal(await send(late.install(1)), 503);
  for (let minutes = 0; minutes < 50; minutes++) {
    now += 60_000;
    await app.tick();
  }
  assert.equal((await app.portal(OTHER_MEMBER_ID))?.version, "1.0.0");
  await app.close();
});
