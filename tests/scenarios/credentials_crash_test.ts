/** Token pairs with a crash at every operation, and at some pairs of operations. */
import assert from "node:assert/strict";
import { clearImmediate, setImmediate } from "node:timers";
import { type App, createApp, type Storage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { crashEverywhere, type FakeBitrix24, fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import type { Time } from "../../src/async/time.ts";
import { CLIENT_ID, MEMBER_ID } from "../support/app.ts";
import { openedRecord } from "../support/credentials.ts";
import { describe, it } from "../support/test.ts";
import { simulated } from "../support/time.ts";

const CLIENT_SECRET = "secret-of-the-app-0123456789";

/** Time in which short delays are over at once, such as those between two looks at a lock, and long ones do not end. */
function impatient(clock: () => number): Time {
  let elapsed = 0;
  return {
    now: clock,
    monotonic: () => elapsed,
    setTimer: (run, ms) => {
      if (ms >= 5000) return () => {};
      const timer = setImmediate(() => {
        elapsed += ms;
        run();
      });
      return () => clearImmediate(timer);
    },
  };
}

/** The remains of one execution. */
interface Left {
  readonly app: App;
  readonly portal: FakePortal;
  readonly storage: Storage;
  /** The access tokens of the portal before its removal. */
  readonly former: ReadonlySet<string>;
}

/** Crashes an app whose upgrade has its token refreshed at every operation. */
async function crashing(
  events: readonly ((portal: FakePortal) => string)[],
  atomicWrites: boolean,
  check: (left: Left) => Promise<void>,
): Promise<void> {
  let bitrix24: FakeBitrix24;
  let portal: FakePortal;
  let storage: Storage;
  const former = new Set<string>();
  const note = async (app: App): Promise<void> => {
    const { accessToken } = await app.credentials.get(MEMBER_ID);
    former.add(accessToken.reveal());
  };
  const report = await crashEverywhere({
    ...{ atomicWrites, pairs: 20 },
    reset: () => {
      bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET });
      portal = bitrix24.portal({ memberId: MEMBER_ID });
      former.clear();
    },
    fetch: (request) => bitrix24.fetch(request),
    app: (environment) => {
      storage = environment.storage;
      const keys = { clientId: CLIENT_ID, clientSecret: CLIENT_SECRET };
      const app = createApp({ ...environment, ...keys, ...simulated(impatient(environment.clock)) })
        .use(applicationToken());
      return app.upgrade("3", async ({ step }) => {
        // A crash between the host and the storage loses the new pair: another one comes with the next event.
        await step("refresh", async () => {
          await note(app).catch(() => {});
          await app.credentials.get(MEMBER_ID).then((refused) => app.credentials.refresh(MEMBER_ID, refused))
            .catch((error: unknown) => {
              if ((error as Error).name !== "NoCredentialsError") throw error;
            });
        });
      });
    },
    events: events.map((event) => () => event(portal)),
    check: (app) => check({ app, portal, storage, former }),
  });
  assert(report.executions > 100, String(report));
}

for (const atomicWrites of [true, false]) {
  describe(`a crash ${atomicWrites ? "with" : "without"} atomic writes`, () => {
    it("around refreshes and new tokens leaves a pair that works, or none", async () => {
      await crashing(
        [(portal) => portal.install(2), (portal) => portal.update(3), (portal) => portal.update(4)],
        atomicWrites,
        async ({ app, storage }) => {
          const { tokens = [], applicationToken } = (await openedRecord(storage, MEMBER_ID))!;
          assert.equal(tokens.filter(({ isVerified }) => isVerified).length, 1, "the last event brought a pair");
          assert(applicationToken);
          await app.credentials.refresh(MEMBER_ID, await app.credentials.get(MEMBER_ID));
        },
      );
    });

    it("around a removal leaves no pair", async () => {
      await crashing(
        [(portal) => portal.install(2), (portal) => portal.update(3), (portal) => portal.uninstall()],
        atomicWrites,
        async ({ storage }) => {
          const entries = await Array.fromAsync(storage.list([]));
          // An event that no list of unverified events names expires.
          const left = entries.filter(({ key }) => key[0] !== "unverified-event").map((entry) => JSON.stringify(entry));
          assert.deepEqual(left.filter((line) => /accessToken|refreshToken|acce55|fe5fe5/.test(line)), []);
        },
      );
    });

    it("around a reinstallation leaves no pair of the installation before it", async () => {
      const events = [
        (portal: FakePortal) => portal.install(2),
        (portal: FakePortal) => portal.update(3),
        (portal: FakePortal) => portal.uninstall(),
        (portal: FakePortal) => portal.install(3),
      ];
      await crashing(events, atomicWrites, async ({ app, storage, former }) => {
        const { tokens = [], generation } = (await openedRecord(storage, MEMBER_ID))!;
        assert.deepEqual([generation, tokens.length], [2, 1]);
        for (const { accessToken } of tokens) assert(!former.has(accessToken), accessToken);
        await app.credentials.get(MEMBER_ID);
      });
    });
  });
}
