/** Notifications of processes that end before or after each write, and of two processes at a time. */
import assert from "node:assert/strict";
import { type App, createApp, memoryStorage, NonRetriableError, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { type NotificationMessage, notifications } from "@b24/onappupdate/notifications";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { CLIENT_ID, post, quietLogger, trustAll } from "../support/app.ts";
import { memberIdOf } from "../support/crowd.ts";
import { OPERATOR } from "../support/operator.ts";
import { describe, it } from "../support/test.ts";
import { virtualTime } from "../support/time.ts";
import { withoutWrite } from "../support/without_write.ts";
import { MINUTE, notifier, SECOND } from "../unit/plugins/notifications/_notifier.ts";

const START = 1_785_400_000_000;

/** A write before or after which a process ends, counted from 1. */
interface End {
  readonly at: number;
  readonly when: "before" | "after";
}

interface World {
  readonly storage: Storage;
  now: number;
  /** Messages that were received, in order. */
  readonly received: { readonly id: string; readonly message: NotificationMessage }[];
  readonly bitrix24: ReturnType<typeof fakeBitrix24>;
}

/** A process that ends at a write: from then on, nothing of it has an effect. */
function processOf(world: World, end?: End): {
  readonly app: App;
  readonly writes: () => number;
  /** The upgrade succeeds from now on. */
  readonly fix: () => void;
  readonly isDead: () => boolean;
} {
  const { storage: { write, ...storage } } = world;
  let writes = 0;
  let isDead = false;
  let isBroken = true;
  const assertAlive = (): void => {
    if (isDead) throw new StorageError("the process has ended");
  };
  const around = async <T>(run: () => Promise<T>): Promise<T> => {
    assertAlive();
    writes++;
    if (end?.at === writes && end.when === "before") isDead = true;
    assertAlive();
    const result = await run();
    if (end?.at === writes) isDead = true;
    assertAlive();
    return result;
  };
  const own: Storage = {
    ...storage,
    get: async (...args) => (assertAlive(), await storage.get(...args)),
    put: (...args) => around(() => storage.put(...args)),
    delete: (...args) => around(() => storage.delete(...args)),
    ...(write !== undefined && { write: (...args) => around(() => write(...args)) }),
    close: () => Promise.resolve(),
  };
  const app = createApp({
    ...{ storage: own, clientId: CLIENT_ID, logger: quietLogger, acknowledge: "handled", checks: false },
    ...{ clock: () => world.now, tickEveryMs: false, fetch: world.bitrix24.fetch, concurrency: 1 },
  }).use(trustAll).use(notifications({
    channels: [{
      name: "chat",
      send: (message, { id }) => {
        assertAlive();
        world.received.push({ id, message });
        return Promise.resolve();
      },
    }],
  })).upgrade("3", () => {
    if (isBroken) throw new NonRetriableError("the field is missing");
  });
  return { app: app as App, writes: () => writes, fix: () => void (isBroken = false), isDead: () => isDead };
}

/** Parks two portals, lets minutes pass, and lets them finish. What fails because the process ends is ignored. */
async function live(world: World, { app, fix, isDead }: ReturnType<typeof processOf>): Promise<void> {
  const attempt = async (work: () => Promise<unknown>): Promise<void> => {
    if (!isDead()) await work().catch(() => {});
  };
  const pass = async (minutes: number): Promise<void> => {
    for (let i = 0; i < minutes; i++) {
      world.now += MINUTE;
      await attempt(() => app.tick({ budgetMs: 5000 }));
    }
  };
  const portals = [0, 1].map((number) => world.bitrix24.portal({ memberId: memberIdOf(number) }));
  for (const portal of portals) {
    await attempt(() => app.fetch(post(portal.install(2))));
    await attempt(() => app.fetch(post(portal.update(3))));
  }
  await pass(8);
  fix();
  for (const { memberId } of portals) await attempt(() => app.admin.retry(memberId, OPERATOR));
  await pass(12);
  await attempt(() => app.close());
}

async function liveAndEnd(
  end: End | undefined,
  isAtomic: boolean,
): Promise<{ readonly writes: number; readonly repeats: number }> {
  const memory = memoryStorage({ clock: () => world.now });
  const world: World = {
    storage: isAtomic ? memory : withoutWrite(memory),
    now: START,
    received: [],
    bitrix24: fakeBitrix24({ clientId: CLIENT_ID, clock: () => world.now }),
  };
  const first = processOf(world, end);
  await live(world, first);
  if (end !== undefined) {
    world.now += 10 * MINUTE;
    const next = processOf(world);
    await next.app.tick();
    await live(world, next);
  }
  const texts = new Map<string, string>();
  for (const { id, message } of world.received) {
    const text = JSON.stringify(message);
    assert.equal(texts.get(id) ?? text, text, "a message that is repeated is the same");
    texts.set(id, text);
  }
  const messages = world.received.map(({ message }) => message);
  const firing = messages.filter(({ status }) => status === "firing");
  assert.equal(Math.max(...firing.map(({ portals }) => portals.total)), 2, "both portals were told");
  assert.equal(messages.at(-1)!.status, "resolved");
  const left = await Array.fromAsync(world.storage.list(["plugin", "notifications", "group"]), ({ value }) => value);
  assert.deepEqual(left, []);
  assert.deepEqual(await Array.fromAsync(world.storage.list(["outbox", "message"])), []);
  return { writes: first.writes(), repeats: world.received.length - texts.size };
}

describe("no notification is lost, and those that are repeated have the same id, if a process ends at any write", () => {
  for (const isAtomic of [true, false]) {
    it(`${isAtomic ? "with" : "without"} atomic ordered writes`, { timeout: 300_000 }, async () => {
      const { writes, repeats } = await liveAndEnd(undefined, isAtomic);
      assert(writes > 20 && repeats === 0);
      const ends = Array.from({ length: writes }, (_, i) => i + 1)
        .flatMap((at): End[] => [{ at, when: "before" }, { at, when: "after" }]);
      // Observers of a process that has ended wait for a second: many at a time.
      await Promise.all(Array.from({ length: 40 }, async () => {
        for (let end = ends.shift(); end !== undefined; end = ends.shift()) {
          const { at, when } = end;
          await liveAndEnd(end, isAtomic).catch((error) => {
            throw new Error(`the process ended ${when} write ${at}: ${error.message}`, { cause: error });
          });
        }
      }));
    });
  }
});

describe("two processes on one storage", () => {
  it("send one message for one group", async () => {
    const time = virtualTime();
    const storage = { ...memoryStorage({ clock: time.now }), close: () => Promise.resolve() };
    const [one, other] = await Promise.all([0, 1].map(() => notifier({ world: { time, storage } })));
    await one!.install(20);
    await one!.park(0, 20);
    await time.elapse(2 * MINUTE);
    const sent = (): string[] => [...one!.sent, ...other!.sent].map(({ message: { title } }) => title);
    assert.deepEqual(sent(), ["20 portals are parked in upgrade 3"]);
    await one!.retry(0, 20);
    await time.elapse(6 * MINUTE);
    assert.equal(sent().length, 2);
    await one!.close();
    await other!.close();
  });

  it("the next one sends what a process has composed and not put into the outbox", async () => {
    const time = virtualTime();
    const storage = { ...memoryStorage({ clock: time.now }), close: () => Promise.resolve() };
    let isFull = true;
    const broken: Storage = {
      ...storage,
      write: (operations, options) => {
        const isMessage = operations.some((one) => "put" in one && one.put[0] === "outbox" && one.put[1] === "message");
        if (isFull && isMessage) return Promise.reject(new StorageError("the process hangs"));
        return storage.write!(operations, options);
      },
    };
    const one = await notifier({ world: { time, storage: broken } });
    await one.install(1);
    await one.park(0, 1);
    await time.elapse(MINUTE + SECOND);
    assert.deepEqual(one.news(), []);
    isFull = false;
    const other = await notifier({ world: { time, storage } });
    await time.elapse(2 * MINUTE);
    assert.deepEqual([...one.news(), ...other.news()], ["firing 1 portal is parked in upgrade 3"]);
    await one.close();
    await other.close();
  });
});
