import assert from "node:assert/strict";
import { memoryStorage } from "@b24/onappupdate";
import { portalKey } from "../../../src/portal/keys.ts";
import type { PortalRecord } from "../../../src/portal/record.ts";
import { type Crowd, crowd, memberIdOf } from "../../support/crowd.ts";
import { describe, it } from "../../support/test.ts";
import { virtualTime } from "../../support/time.ts";

const LEASE_MS = 30_000;

/** A portal on version 2, in a process that can be paused. */
interface Setup {
  readonly made: Crowd;
  /** Lets time pass without a timer, and so without a renewal. `isTaken`: another process takes the lease then. */
  readonly pause: (isTaken: boolean) => Promise<void>;
  /** Resolves to whether the stored lease lasts for its whole time. */
  readonly isHeld: () => Promise<boolean>;
}

async function setUp(prepare: (app: Crowd["app"], setup: Setup) => void): Promise<Setup> {
  const virtual = virtualTime();
  let paused = 0;
  const time = {
    ...virtual,
    now: () => virtual.now() + paused,
    monotonic: () => virtual.monotonic() + paused,
  };
  const storage = memoryStorage({ clock: time.now });
  const made = crowd({ limits: { leaseMs: LEASE_MS }, tickEveryMs: false }, { time, storage });
  const key = portalKey(memberIdOf(0));
  const record = async (): Promise<PortalRecord> => (await storage.get<PortalRecord>(key))!.value;
  const pause = async (isTaken: boolean): Promise<void> => {
    paused += LEASE_MS + 1;
    if (isTaken) await storage.put(key, { ...await record(), lease: { owner: "other", until: time.now() + LEASE_MS } });
  };
  const isHeld = async (): Promise<boolean> => (await record()).lease!.until >= time.now() + LEASE_MS;
  const setup: Setup = { made, pause, isHeld };
  prepare(made.app, setup);
  await made.install(1);
  return setup;
}

describe("a handler after a pause of the process", () => {
  for (const isTaken of [true, false]) {
    const what = isTaken ? "does not begin if another process has taken the lease" : "begins under a renewed lease";

    it(`${what}: between the event and its handler`, async () => {
      const ran: string[] = [];
      const { made, pause } = await setUp((app, { isHeld }) => {
        app.on("ONCRMDEALADD", async () => {
          ran.push(await isHeld() ? "handler" : "handler, not held");
        });
      });
      await made.send(made.portal(0).event("ONCRMDEALADD", { "FIELDS[ID]": "7" }));
      await pause(isTaken);
      await made.time.elapse(1);
      assert.deepEqual(ran, isTaken ? [] : ["handler"]);
      await made.close();
    });

    it(`${what}: between two handlers`, async () => {
      const ran: string[] = [];
      const { made } = await setUp((app, { pause, isHeld }) => {
        app.on("ONCRMDEALADD", async () => {
          ran.push("first");
          await pause(isTaken);
        }).on("ONCRMDEALADD", async () => {
          ran.push(await isHeld() ? "second" : "second, not held");
        });
      });
      await made.send(made.portal(0).event("ONCRMDEALADD", { "FIELDS[ID]": "7" }));
      await made.time.elapse(1);
      assert.deepEqual(ran, isTaken ? ["first"] : ["first", "second"]);
      await made.close();
    });

    it(`${what}: a step after work outside of steps`, async () => {
      const ran: string[] = [];
      const { made } = await setUp((app, { pause, isHeld }) => {
        app.upgrade("3", async ({ step }) => {
          ran.push("upgrade");
          await pause(isTaken);
          await step("a", async () => {
            ran.push(await isHeld() ? "step" : "step, not held");
          });
        });
      });
      await made.send(made.portal(0).update(3));
      await made.time.elapse(1);
      assert.deepEqual(ran, isTaken ? ["upgrade"] : ["upgrade", "step"]);
      await made.close();
    });
  }
});
