import assert from "node:assert/strict";
import { memoryStorage, type Observers } from "@b24/onappupdate";
import { DEFAULT_BOUNDS } from "../../../src/portal/unverified_bounds.ts";
import { portalKey } from "../../../src/portal/keys.ts";
import type { PortalRecord } from "../../../src/portal/record.ts";
import { MAX_WAITING } from "../../../src/portal/waiting.ts";
import { MEMBER_ID, OTHER_MEMBER_ID } from "../../support/app.ts";
import { changed, type Scene, scene, TOKENLESS, UNKNOWN_APPLICATION_TOKEN } from "../../support/scene.ts";
import { describe, it } from "../../support/test.ts";

const { maxEvents: MAX_EVENTS, maxCharacters: MAX_SIZE } = DEFAULT_BOUNDS;

/** Ends of events, by their names; with the reason if they were dropped. */
type Counts = Record<string, number>;

interface Counted {
  readonly made: Scene;
  /** Number of events that were posted. */
  readonly posted: () => number;
  /** Posts an event, or any other body, and waits for what this process does about it. */
  readonly post: (body: string) => Promise<number>;
  /** The reports since the last call. */
  readonly counted: () => Counts;
}

/** An app with a plugin that counts what becomes of events. */
function counted(acknowledge: "stored" | "handled"): Counted {
  const made = scene({}, { acknowledge, storage: memoryStorage({ clock: () => made.now }) });
  let counts: Counts = {};
  let posted = 0;
  const count = (name: string, times = 1): void => void (counts[name] = (counts[name] ?? 0) + times);
  const observe: Partial<Observers> = {
    eventReceived: () => count("received"),
    eventPostponed: () => count("postponed"),
    eventRejected: ({ status }) => count(`rejected ${status}`),
    duplicateReceived: () => count("duplicate"),
    eventsDropped: ({ count: times, reason }) => count(`dropped ${reason}`, times),
  };
  made.app.use({ name: "counter", observe }).on("ONCRMDEALADD", () => {});
  return {
    made,
    posted: () => posted,
    post: async (body) => {
      posted++;
      const status = await made.send(body);
      await made.settled();
      return status;
    },
    counted: () => {
      const result = counts;
      counts = {};
      return result;
    },
  };
}

const ended = (counts: Counts): number =>
  Object.entries(counts).reduce((sum, [name, count]) => sum + (name === "postponed" ? 0 : count), 0);

const down = (): Response => Response.json({ error: "INTERNAL_SERVER_ERROR" }, { status: 500 });

for (const acknowledge of ["stored", "handled"] as const) {
  describe(`each event that is received ends in exactly one report, acknowledged when ${acknowledge}:`, () => {
    const test = (name: string, run: (made: Counted) => Promise<Counts>): void =>
      it(name, async () => {
        const all = counted(acknowledge);
        const wanted = await run(all);
        const counts = all.counted();
        assert.deepEqual(counts, wanted);
        assert.equal(ended(counts), all.posted());
        await all.made.app.close();
      });

    test("an authentic one is received, and its copies are duplicates", async ({ made: { portal }, post }) => {
      const install = portal.install(2);
      const update = portal.update(3);
      for (const body of [install, install, update, update]) await post(body);
      return { postponed: 1, received: 2, duplicate: 2 };
    });

    test("a forged one is rejected, also when it is posted again", async ({ made: { portal }, post }) => {
      await post(portal.install(2));
      const made = { ...UNKNOWN_APPLICATION_TOKEN, "auth[access_token]": "made-up-0123456789abcdef" };
      for (let i = 0; i < 3; i++) await post(changed(portal.update(3), made));
      await post(changed(portal.update(4), { ...TOKENLESS, ...UNKNOWN_APPLICATION_TOKEN }));
      return { postponed: 2, received: 1, "rejected 403": 4 };
    });

    test("one without a host that answers waits, and its copies are duplicates", async ({ made, post }) => {
      made.answer = down;
      const install = made.portal.install(2);
      for (let i = 0; i < 3; i++) await post(install);
      made.answer = undefined;
      made.now += 60_000;
      await made.app.tick();
      return { postponed: 1, duplicate: 2, received: 1 };
    });

    test("one without an answer for 24 hours is dropped", async ({ made, post }) => {
      made.answer = down;
      await post(made.portal.install(2));
      for (let hour = 0; hour < 25; hour++) {
        made.now += 3_600_000;
        await made.app.tick();
      }
      return { postponed: 1, "dropped expired": 1 };
    });

    test("one that is replaced is dropped", async ({ made, post }) => {
      await post(made.portal.install(2));
      made.answer = down;
      for (let i = 0; i < MAX_EVENTS + 3; i++) {
        await post(changed(made.portal.update(3 + i), UNKNOWN_APPLICATION_TOKEN));
      }
      made.answer = undefined;
      for (let minute = 0; minute < 30; minute++) {
        made.now += 60_000;
        await made.app.tick();
      }
      // The others are older than the newest, or claims of it.
      return { postponed: MAX_EVENTS + 4, received: MAX_EVENTS + 1, "dropped replaced": 3 };
    });

    test("one whose portal has removed the app is dropped", async ({ made, post }) => {
      await post(made.portal.install(2));
      made.answer = down;
      await post(changed(made.portal.event("ONCRMDEALADD", { ID: "1" }), UNKNOWN_APPLICATION_TOKEN));
      made.answer = undefined;
      made.now += 1000;
      await post(made.portal.uninstall());
      await made.app.tick();
      return { postponed: 2, received: 2, "dropped removed": 1 };
    });

    test("one that cannot be read, or is too large to wait, is rejected", async ({ made: { portal }, post }) => {
      const padding = { "data[padding]": "x".repeat(MAX_SIZE) };
      await post("event=ONAPPUPDATE");
      await post(changed(portal.install(2), padding));
      await post(changed(portal.event("ONCRMDEALADD", { ID: "1" }), padding));
      return { "rejected 400": 2, "rejected 503": 1 };
    });

    test("one without room in the inbox is rejected, or waits", async ({ made, post }) => {
      const { storage, portal } = made;
      await post(portal.install(2));
      const { key, value } = (await storage.get<PortalRecord>(portalKey(MEMBER_ID)))!;
      await storage.put(key, { ...value, overflow: { events: MAX_WAITING, size: 1, lifeCycle: {} } });
      await post(portal.event("ONCRMDEALADD", { ID: "1" }));
      await post(changed(portal.event("ONCRMDEALADD", { ID: "2" }), UNKNOWN_APPLICATION_TOKEN));
      // The turn of the portal ends after the request's work.
      await made.app.tick();
      await storage.put(key, value);
      made.now += 60_000;
      await made.app.tick();
      return { postponed: 2, received: 2, "rejected 503": 1 };
    });

    test("one that does not say where a new portal comes from is received", async (all) => {
      const portal = all.made.bitrix24.portal({ memberId: OTHER_MEMBER_ID });
      portal.install(1);
      await all.post(changed(portal.update(2), { "data[PREVIOUS_VERSION]": undefined }));
      return { postponed: 1, received: 1 };
    });
  });
}
