import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import type { Entry } from "@b24/onappupdate/storage";
import { MEMBER_ID, rig } from "../../support/app.ts";
import { type Crowd, crowd, memberIdOf, numberOf } from "../../support/crowd.ts";
import { describe, it } from "../../support/test.ts";
import { virtualTime } from "../../support/time.ts";
import { OPERATOR } from "../../support/operator.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;

/** A process whose storage never answers again once it is killed. */
interface Life extends Crowd {
  readonly kill: () => void;
}

/** Returns a function that starts one process after the other on a storage. */
function lives(): () => Life {
  const time = virtualTime();
  const inner = memoryStorage({ clock: time.now });
  return () => {
    let isDead = false;
    const never = new Promise<never>(() => {});
    const alive = <T>(call: () => Promise<T>): Promise<T> => isDead ? never : call().then((v) => isDead ? never : v);
    const storage: Storage = {
      ...inner,
      get: (...args) => alive(() => inner.get(...args)),
      put: (...args) => alive(() => inner.put(...args)),
      write: (...args) => alive(() => inner.write!(...args)),
      delete: (...args) => alive(() => inner.delete(...args)),
      list: async function* <T>(...args: Parameters<Storage["list"]>): AsyncGenerator<Entry<T>> {
        if (isDead) await never;
        yield* inner.list<T>(...args);
      },
      close: () => Promise.resolve(),
    };
    return { ...crowd({}, { storage, time }), kill: () => void (isDead = true) };
  };
}

async function states({ app }: Crowd, portals: number): Promise<string[]> {
  const all = await Promise.all(Array.from({ length: portals }, (_, number) => app.portal(memberIdOf(number))));
  return all.map((portal) => portal?.failure?.message ?? portal!.version!);
}

describe("portals whose process has ended", () => {
  it("resume one at a time; others are not held up", async () => {
    const start = lives();
    const first = start();
    first.app.upgrade("3", () => first.takes(MINUTE));
    await first.install(6);
    await first.update(0, 5);
    await first.time.elapse(SECOND);
    first.kill();
    const second = start();
    const running = new Set<number>();
    let most = 0;
    const order: number[] = [];
    second.app.upgrade("3", async ({ memberId }) => {
      const number = numberOf(memberId);
      order.push(number);
      running.add(number);
      most = Math.max(most, [...running].filter((number) => number < 5).length);
      await second.takes(10 * SECOND);
      running.delete(number);
    });
    await second.app.start();
    await second.time.elapse(61 * SECOND);
    await second.send(second.portal(5).install(2));
    await second.update(5, 6);
    await second.time.elapse(SECOND);
    assert(running.has(5) && running.size === 2, [...running].join());
    await second.time.elapse(2 * MINUTE);
    assert.equal(most, 1);
    assert.deepEqual(order.filter((number) => number < 5).toSorted(), [0, 1, 2, 3, 4]);
    assert.deepEqual(await states(second, 6), Array(6).fill("3.0.0"));
    await second.close();
  });

  it("let the next one resume once they have finished a step", async () => {
    const start = lives();
    const first = start();
    first.app.upgrade("3", () => first.takes(MINUTE));
    await first.install(3);
    await first.update(0, 3);
    await first.time.elapse(SECOND);
    first.kill();
    const second = start();
    const begun: number[] = [];
    second.app.upgrade("3", async ({ memberId, step }) => {
      begun.push(numberOf(memberId));
      await step("short", () => second.takes(SECOND));
      await step("long", () => second.takes(10 * MINUTE));
    });
    await second.app.start();
    await second.time.elapse(65 * SECOND);
    assert.equal(begun.length, 3);
    await second.close();
  });

  it("are parked for a third death while alone, and only the one that causes it", async () => {
    const start = lives();
    let life = start();
    await life.install(4);
    await life.close();
    life = start();
    const deadly = 2;
    let deaths = 0;
    for (let i = 0; i < 8; i++) {
      const current = life;
      current.app.upgrade("3", async ({ memberId }) => {
        await current.takes(SECOND);
        if (numberOf(memberId) !== deadly) return await current.takes(SECOND);
        deaths++;
        current.kill();
        await new Promise(() => {});
      });
      if (i === 0) await current.update(0, 4);
      else await current.app.start();
      await current.time.elapse(2 * MINUTE);
      life = start();
    }
    assert.equal(deaths, 4, "the first time together with the others");
    const reason = "its process ended 3 times while it was resumed alone";
    assert.deepEqual(await states(life, 4), ["3.0.0", "3.0.0", reason, "3.0.0"]);
    assert.equal((await life.app.portal(memberIdOf(deadly)))?.failure?.retryAt, undefined);
    // An operator's retry is a new try.
    life.app.upgrade("3", () => {});
    await life.app.start();
    const retried = life.app.admin.retry(memberIdOf(deadly), OPERATOR);
    await life.time.elapse(MINUTE);
    await retried;
    assert.deepEqual(await states(life, 4), Array(4).fill("3.0.0"));
    await life.close();
  });

  it("are not parked for deaths at different steps or pages", async () => {
    const start = lives();
    let life = start();
    await life.install(1);
    await life.close();
    life = start();
    for (let i = 0; i < 12; i++) {
      const current = life;
      const attempts: number[] = [];
      let isKilled = false;
      current.app.upgrade("3", async ({ attempt, step, pages }) => {
        attempts.push(attempt);
        const work = async (): Promise<void> => {
          await current.takes(SECOND);
          if (!isKilled) return void (isKilled = true);
          current.kill();
          await new Promise(() => {});
        };
        for (let i = 0; i < 5; i++) await step(`${i}`, work);
        await pages("all", 1, async (page: number) => {
          await work();
          return { next: page < 5 ? page + 1 : null, done: 1 };
        });
      });
      if (i === 0) await current.update(0, 1);
      else await current.app.start();
      await current.time.elapse(2 * MINUTE);
      assert.deepEqual(attempts, i < 10 ? [1] : []);
      life = start();
    }
    assert.deepEqual(await states(life, 1), ["3.0.0"]);
  });

  it("are told from those whose app was closed", async () => {
    const start = lives();
    const first = start();
    first.app.upgrade("3", () => first.takes(10 * MINUTE));
    await first.install(3);
    await first.update(0, 3);
    for (let i = 0; i < 4; i++) {
      const current = i === 0 ? first : start();
      if (i > 0) current.app.upgrade("3", () => current.takes(10 * MINUTE));
      await current.app.start();
      await current.time.elapse(MINUTE);
      await current.close();
    }
    const last = start();
    let running = 0;
    last.app.upgrade("3", () => {
      running++;
      return last.takes(MINUTE);
    });
    await last.app.start();
    await last.time.elapse(31 * SECOND);
    assert.equal(running, 3);
    await last.close();
  });

  it("are told from those whose storage failed in the middle of an attempt", async () => {
    const inner = memoryStorage();
    let isDown = false;
    const answered = <T>(call: () => Promise<T>): Promise<T> =>
      isDown ? Promise.reject(new StorageError("the storage is down")) : call();
    const storage: Storage = {
      ...inner,
      get: (...args) => answered(() => inner.get(...args)),
      put: (...args) => answered(() => inner.put(...args)),
      write: (...args) => answered(() => inner.write!(...args)),
      delete: (...args) => answered(() => inner.delete(...args)),
    };
    const { app, portal, send, later } = rig({ storage });
    const attempts: number[] = [];
    app.upgrade("3", async ({ step }) => {
      await step("flaky", ({ attempt }) => {
        isDown = attempts.push(attempt) < 7;
      });
    });
    await send(portal.install(2));
    await send(portal.update(3));
    for (let i = 0; i < 8; i++) {
      isDown = false;
      later();
      await app.tick();
    }
    assert.deepEqual(attempts, [1, 2, 3, 4, 5, 6, 7]);
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
    await app.close();
  });

  it("show a step that its process ended during it", async () => {
    const start = lives();
    const seen: string[] = [];
    for (let i = 0; i < 3; i++) {
      const current = start();
      current.app.upgrade("3", async ({ step }) => {
        await step("a", ({ attempt }) => void seen.push(`a ${attempt}`));
        await step("b", async ({ attempt }) => {
          seen.push(`b ${attempt}`);
          if (i === 2) return;
          current.kill();
          await new Promise(() => {});
        });
        await step("c", ({ attempt }) => void seen.push(`c ${attempt}`));
      });
      if (i === 0) {
        await current.install(1);
        await current.update(0, 1);
      } else await current.app.start();
      await current.time.elapse(2 * MINUTE);
    }
    assert.deepEqual(seen, ["a 1", "b 1", "b 2", "b 3", "c 1"]);
  });
});
