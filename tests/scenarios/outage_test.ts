import assert from "node:assert/strict";
import { createApp, memoryStorage, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import type { Entry, ListOptions } from "@b24/onappupdate/storage";
import { serve } from "@b24/onappupdate/node-server";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { deadlineFactor } from "../../scripts/test_run.ts";
import { backgroundWork, CLIENT_ID, FORM, MEMBER_ID, post, quietLogger, rig, trustAll } from "../support/app.ts";
import { connectRedis, type RedisLibrary, type RedisServer, startRedis } from "../support/redis.ts";
import { describe, it } from "../support/test.ts";
import { until } from "../support/until.ts";
import { withoutWrite } from "../support/without_write.ts";

/** Takes the server down and returns a function that brings it back. */
type TakeDown = (server: RedisServer) => Promise<() => unknown>;

const OUTAGES: Readonly<Record<string, TakeDown>> = {
  "stopped by SIGTERM": async (server) => {
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
/** Time limit of a call of the storage, and of a lease: an undisturbed step must not take longer, or it runs again. */
const LIMIT_MS = 1500 * deadlineFactor();

async function whileRedisIsDown(library: RedisLibrary, takeDown: TakeDown): Promise<void> {
  const server = await startRedis();
  const { client, close } = await connectRedis(library, [server.port]);
  /** Executed steps in order, by portal. */
  const runs = new Map<string, string[]>();
  const gate = Promise.withResolvers<void>();
  let waiting = 0;
  const app = createApp({
    storage: redisStorage(client, { timeoutMs: LIMIT_MS }),
    logger: quietLogger,
    limits: { leaseMs: LIMIT_MS },
    retry: { maxAttempts: 1000, initialDelayMs: 50, maxDelayMs: 200 },
    tickEveryMs: 100,
    checks: false,
  }).use(trustAll).upgrade("3", async ({ memberId, step }) => {
    const own = runs.get(memberId) ?? [];
    runs.set(memberId, own);
    await step("before", () => void own.push("before"));
    await step("meanwhile", async () => {
      own.push("meanwhile");
      waiting++;
      await gate.promise;
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
  /** Repeats events until all are answered 200: on a busy machine, a write may take longer than the storage's time limit. */
  const sendUntilAccepted = (bodies: readonly string[]): Promise<void> =>
    until("all events are answered 200", async () => (await sendAll(bodies)).every((status) => status === 200));
  const all = (status: number, count: number): number[] => Array<number>(count).fill(status);
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
  const memberIds = Array.from({ length: PORTALS }, (_, i) => i.toString(16).padStart(32, "0"));
  const portals = memberIds.map((memberId) => bitrix24.portal({ memberId }));
  const versions = async (): Promise<(string | undefined)[]> => {
    const found = await Promise.all(portals.map(({ memberId }) => app.portal(memberId)));
    return found.map((portal) => portal?.version);
  };
  try {
    await sendUntilAccepted(portals.map((portal) => portal.install(2)));
    const updates = portals.map((portal) => portal.update(3));
    const [started, later] = [updates.slice(0, PORTALS / 2), updates.slice(PORTALS / 2)];
    await sendUntilAccepted(started);
    await until("all upgrades are in their second step", () => waiting === started.length);

    const bringBack = await takeDown(server);
    assert.deepEqual(await sendAll(later), all(503, later.length));
    assert.deepEqual(await sendAll(started), all(503, started.length), "repeated events");
    // Work that ends during the outage cannot be recorded; give the app time to try.
    gate.resolve();
    await new Promise((resolve) => setTimeout(resolve, 500));
    await bringBack();

    await until("the acknowledged updates are done", async () => {
      try {
        return (await versions()).slice(0, started.length).every((version) => version === "3.0.0");
      } catch (error) {
        if (error instanceof StorageError) return false;
        throw error;
      }
    });
    // Refused updates have not started. Sent again, they run.
    assert.deepEqual((await versions()).slice(started.length), Array(later.length).fill("2.0.0"));
    await sendUntilAccepted(updates);
    await until("all portals are upgraded", async () => (await versions()).every((version) => version === "3.0.0"));
    for (const [i, { memberId }] of portals.entries()) assertSteps(runs.get(memberId)!, i < started.length);
    const finished = await Promise.all(portals.map(({ memberId }) => app.admin.runs(memberId)));
    assert.deepEqual(finished.map((runs) => runs.map(({ to }) => to)), portals.map(() => ["3.0.0"]));
  } finally {
    await listening.close();
    close();
    await server.remove();
  }
}

/** Asserts that the step recorded before the outage ran once, and that a portal without an outage ran each step once. */
function assertSteps([first, ...others]: readonly string[], sawOutage: boolean): void {
  assert.equal(first, "before");
  assert(!others.includes("before"), others.join());
  assert.equal(others.at(-1), "after");
  if (!sawOutage) assert.deepEqual(others, ["meanwhile", "after"]);
}

describe("a Redis outage", () => {
  for (const library of ["node-redis", "ioredis"] as const) {
    for (const [cause, takeDown] of Object.entries(OUTAGES)) {
      it(`${cause}, with ${library}: events are answered 503, nothing acknowledged is lost, work resumes`, async () => {
        await whileRedisIsDown(library, takeDown);
      });
    }
  }
});

/** Returns a storage that fails from call `first` on for `count` calls, and the number of calls so far. */
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
      ...withoutWrite(inner),
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
 * Installs, updates and uses a portal while the storage is down from call `first` on for `count` calls. Resolves to the
 * number of calls until the last event was answered.
 */
async function lifeWithOutage(first: number, count: number): Promise<number> {
  const { storage, calls } = downFrom(first, count);
  const { app, portal, later } = rig({ storage, acknowledge: "stored" });
  const { platform, settled } = backgroundWork();
  const done: string[] = [];
  app.upgrade("3", async ({ step, pages }) => {
    await step("settings", () => void done.push("settings"));
    await pages("deals", 0, (page) => {
      done.push(`page ${page}`);
      return { next: page < 2 ? page + 1 : null, done: 1 };
    });
  }).on("ONCRMDEALADD", () => void done.push("deal"));
  const outage = `down from call ${first}, for ${count} calls`;
  /** Repeats a refused event until the storage is back. Bitrix24 does not, but a check has the same effect. */
  const sendUntilAccepted = async (body: string): Promise<void> => {
    for (let copy = 0; copy < 1000; copy++) {
      const { status } = await app.fetch(post(body), platform);
      await settled();
      if (status === 200) return;
      assert.equal(status, 503, outage);
    }
    assert.fail(`events are still refused after the outage, ${outage}`);
  };
  await sendUntilAccepted(portal.install(2));
  await sendUntilAccepted(portal.update(3));
  await sendUntilAccepted(portal.event("ONCRMDEALADD", { "FIELDS[ID]": "7" }));
  const callsOfEvents = calls();
  for (let i = 0; i < 40; i++) {
    later();
    await app.tick().catch((error) => assert(error instanceof StorageError, outage));
  }
  const { version, target } = (await app.portal(MEMBER_ID))!;
  assert.deepEqual([version, target], ["3.0.0", "3.0.0"], outage);
  // Only a step whose record was lost runs again, and a step starts only after the previous one is recorded.
  const steps = done.filter((step) => step !== "deal");
  assert.deepEqual([...new Set(steps)], ["settings", "page 0", "page 1", "page 2"], outage);
  assert.deepEqual(steps, steps.toSorted((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b)), outage);
  assert(done.includes("deal"), outage);
  for await (const { key } of storage.list(["inbox"])) assert.fail(`${key.join()} is left in the inbox, ${outage}`);
  for await (const { key } of storage.list(["due"])) assert.fail(`${key.join()} is left in the schedule, ${outage}`);
  await app.close();
  return callsOfEvents;
}

const ORDER = ["settings", "page 0", "page 1", "page 2"];

describe("a storage outage at any call", () => {
  for (const count of [1, 2, 5, 30]) {
    it(`for ${count} ${count === 1 ? "call" : "calls"}: nothing acknowledged is lost, and no delivery or schedule entry is left`, async () => {
      const calls = await lifeWithOutage(Infinity, 0);
      assert(calls > 30, `${calls} calls`);
      for (let first = 0; first < calls; first++) await lifeWithOutage(first, count);
    });
  }
});
