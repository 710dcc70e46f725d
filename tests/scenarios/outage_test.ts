import assert from "node:assert/strict";
import { createApp, memoryStorage, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import type { Entry, ListOptions } from "@b24/onappupdate/storage";
import { serve } from "@b24/onappupdate/node-server";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { CLIENT_ID, FORM, MEMBER_ID, post, recordingLogger, rig, trusting } from "../support/app.ts";
import { connectRedis, type RedisLibrary, type RedisServer, startRedis } from "../support/redis.ts";
import { describe, it } from "../support/test.ts";
import { until } from "../support/until.ts";

/** Takes the server down; what is given brings it back. */
type TakeDown = (server: RedisServer) => Promise<() => unknown>;

const OUTAGES: Readonly<Record<string, TakeDown>> = {
  "stopped by its administrator": async (server) => {
    await server.stop();
    return server.start;
  },
  "killed": async (server) => {
    await server.stop("SIGKILL");
    return server.start;
  },
  "hanging": (server) => {
    server.pause();
    return Promise.resolve(server.resume);
  },
};

const PORTALS = 12;

async function whileRedisIsDown(library: RedisLibrary, takeDown: TakeDown): Promise<void> {
  const server = await startRedis();
  const { client, close } = await connectRedis(library, [server.port]);
  /** How often each portal's steps were run, by portal. */
  const runs = new Map<string, string[]>();
  let pass = (): void => {};
  const gate = new Promise<void>((resolve) => pass = resolve);
  let waiting = 0;
  const app = createApp({
    storage: redisStorage(client, { timeoutMs: 1500 }),
    logger: recordingLogger().logger,
    limits: { leaseMs: 1500 },
    retry: { maxAttempts: 1000, initialDelayMs: 50, maxDelayMs: 200 },
    tickEveryMs: 100,
    checks: false,
  }).use(trusting).upgrade("3", async ({ memberId, step }) => {
    const own = runs.get(memberId) ?? [];
    runs.set(memberId, own);
    await step("before", () => void own.push("before"));
    await step("meanwhile", async () => {
      own.push("meanwhile");
      waiting++;
      await gate;
    });
    await step("after", () => void own.push("after"));
  });
  const listening = await serve(app, { port: 0, onListen: () => {}, signals: [] });
  const send = async (body: string): Promise<number> => {
    const response = await fetch(listening.url, { method: "POST", body, headers: { "content-type": FORM } });
    await response.body?.cancel();
    return response.status;
  };
  const sendAll = (bodies: readonly string[]): Promise<number[]> => Promise.all(bodies.map(send));
  const all = (status: number, count: number): number[] => Array<number>(count).fill(status);
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
  const portals = Array.from(
    { length: PORTALS },
    (_, i) => bitrix24.portal({ memberId: i.toString(16).padStart(32, "0") }),
  );
  const versions = async (): Promise<(string | undefined)[]> => {
    const found = await Promise.all(portals.map(({ memberId }) => app.portal(memberId)));
    return found.map((portal) => portal?.version);
  };
  try {
    assert.deepEqual(await sendAll(portals.map((portal) => portal.install(2))), all(200, PORTALS));
    const updates = portals.map((portal) => portal.update(3));
    const [begun, later] = [updates.slice(0, PORTALS / 2), updates.slice(PORTALS / 2)];
    assert.deepEqual(await sendAll(begun), all(200, begun.length));
    await until("all upgrades are in their second step", () => waiting === begun.length);

    const bringBack = await takeDown(server);
    assert.deepEqual(await sendAll(later), all(503, later.length));
    assert.deepEqual(await sendAll(begun), all(503, begun.length), "repeated ones");
    // What was done during the outage cannot be recorded, however long the app tries.
    pass();
    await new Promise((resolve) => setTimeout(resolve, 500));
    await bringBack();

    await until("what was acknowledged is done", async () => {
      try {
        return (await versions()).slice(0, begun.length).every((version) => version === "3.0.0");
      } catch (error) {
        if (error instanceof StorageError) return false;
        throw error;
      }
    });
    // What was refused was not begun; sent again, it is done.
    assert.deepEqual((await versions()).slice(begun.length), Array(later.length).fill("2.0.0"));
    assert.deepEqual(await sendAll(updates), all(200, PORTALS));
    await until("all portals are on their version", async () => (await versions()).every((one) => one === "3.0.0"));
    for (const [i, { memberId }] of portals.entries()) {
      const [first, ...others] = runs.get(memberId)!;
      // Recorded before the outage, it is not run again.
      assert.equal(first, "before");
      assert(!others.includes("before"), others.join());
      assert.equal(others.at(-1), "after");
      if (i >= begun.length) assert.deepEqual(others, ["meanwhile", "after"]);
      const [run, ...more] = await app.admin.runs(memberId);
      assert.deepEqual([run?.to, more], ["3.0.0", []]);
    }
  } finally {
    await listening.close();
    close();
    await server.remove();
  }
}

describe("a Redis that goes down for a while", () => {
  for (const library of ["node-redis", "ioredis"] as const) {
    for (const [how, takeDown] of Object.entries(OUTAGES)) {
      it(`${how}, with ${library}: events are answered 503, nothing acknowledged is lost, work goes on`, async () => {
        await whileRedisIsDown(library, takeDown);
      });
    }
  }
});

/** A storage that is down for some calls, and what it was asked. */
function downFrom(first: number, count: number): { readonly storage: Storage; readonly calls: () => number } {
  const inner = memoryStorage();
  let calls = 0;
  const check = (): void => {
    const call = calls++;
    if (call >= first && call < first + count) throw new StorageError("cannot reach the storage: it is down");
  };
  return {
    calls: () => calls,
    storage: {
      ...inner,
      get: async (key, options) => {
        check();
        return await inner.get(key, options);
      },
      put: async (key, value, options) => {
        check();
        return await inner.put(key, value, options);
      },
      delete: async (key, options) => {
        check();
        return await inner.delete(key, options);
      },
      list: async function* <T>(prefix: readonly string[], options?: ListOptions): AsyncGenerator<Entry<T>> {
        check();
        yield* inner.list<T>(prefix, options);
      },
    },
  };
}

/**
 * A portal is installed, updated and used, while the storage is down for `count` calls, `first` is the first. Resolves to
 * how many calls there were until the last event was answered.
 */
async function lifeWithOutage(first: number, count: number): Promise<number> {
  const { storage, calls } = downFrom(first, count);
  const { app, portal, later } = rig({ storage, acknowledge: "stored" });
  const works: Promise<unknown>[] = [];
  const host = { waitUntil: (work: Promise<unknown>): void => void works.push(work) };
  const done: string[] = [];
  app.upgrade("3", async ({ step, pages }) => {
    await step("settings", () => void done.push("settings"));
    await pages("deals", 0, (page) => {
      done.push(`page ${page}`);
      return { next: page < 2 ? page + 1 : null, done: 1 };
    });
  }).on("ONCRMDEALADD", () => void done.push("deal"));
  const where = `down from call ${first}, for ${count} calls`;
  /** Whoever is refused sends it again when the storage is back; Bitrix24 does not, but a check finds out. */
  const insist = async (body: string): Promise<void> => {
    for (let copy = 0; copy < 1000; copy++) {
      const { status } = await app.fetch(post(body), host);
      await Promise.all(works);
      if (status === 200) return;
      assert.equal(status, 503, where);
    }
    assert.fail(`the storage came back and events are refused, ${where}`);
  };
  await insist(portal.install(2));
  await insist(portal.update(3));
  await insist(portal.event("ONCRMDEALADD", { "FIELDS[ID]": "7" }));
  const living = calls();
  for (let i = 0; i < 40; i++) {
    later();
    await app.tick().catch((error) => assert(error instanceof StorageError, where));
  }
  const { version, target } = (await app.portal(MEMBER_ID))!;
  assert.deepEqual([version, target], ["3.0.0", "3.0.0"], where);
  // The last step comes again at most once, as its record was lost; the next begins when the one before is recorded.
  const steps = done.filter((step) => step !== "deal");
  assert.deepEqual([...new Set(steps)], ["settings", "page 0", "page 1", "page 2"], where);
  assert.deepEqual(steps, steps.toSorted((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b)), where);
  assert(done.includes("deal"), where);
  for await (const { key } of storage.list(["inbox"])) assert.fail(`${key.join()} is left in the inbox, ${where}`);
  for await (const { key } of storage.list(["due"])) assert.fail(`${key.join()} is left in the schedule, ${where}`);
  await app.close();
  return living;
}

const ORDER = ["settings", "page 0", "page 1", "page 2"];

describe("a storage that is down for some calls", () => {
  for (const count of [1, 2, 5, 30]) {
    it(`${count}, at whatever moment: nothing acknowledged is lost, and nothing is left over`, async () => {
      const calls = await lifeWithOutage(Infinity, 0);
      assert(calls > 30, `${calls} calls`);
      for (let first = 0; first < calls; first++) await lifeWithOutage(first, count);
    });
  }
});
