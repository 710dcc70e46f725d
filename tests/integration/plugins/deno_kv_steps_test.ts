import assert from "node:assert/strict";
import { denoKvStorage } from "@b24/onappupdate/deno-kv-storage";
import { MEMBER_ID, rig } from "../../support/app.ts";
import { openKv } from "../../support/deno_kv.ts";
import { test } from "../../support/test.ts";
import { until } from "../../support/until.ts";

/** More than what would fit one value of Deno KV. */
const STEPS = 7000;

test("an upgrade of 7,000 steps on Deno KV fails near its end, and is resumed without repeating a step", async () => {
  const kv = await openKv(":memory:");
  const { app, portal, send, later } = rig({ storage: denoKvStorage(kv) });
  const ran: number[] = [];
  app.upgrade("3", async ({ step }) => {
    for (let i = 0; i < STEPS; i++) await step(`step ${i}`, () => void ran.push(i));
    if (ran.push(STEPS) === STEPS + 1) throw new Error("the first attempt fails");
  });
  await send(portal.install(2));
  await send(portal.update(3));
  await app.settled();
  later();
  await app.tick();
  await until("the portal is upgraded", async () => (await app.portal(MEMBER_ID))?.version === "3.0.0");
  assert.deepEqual(ran, [...Array(STEPS + 1).keys(), STEPS]);
  const [run] = await app.admin.runs(MEMBER_ID);
  assert.deepEqual(
    run?.upgrades[0]?.steps.map(({ name }) => name),
    Array.from({ length: STEPS }, (_, i) => `step ${i}`),
  );
  await app.close();
  kv.close();
});
