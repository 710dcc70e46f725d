/**
 * The costs of work in storage operations, bytes, Redis keys and requests. These figures are counts, the same on every
 * machine: `scripts/bench/costs.ts` prints them, and tests assert them.
 */
import assert from "node:assert/strict";
import { type App, createApp, memoryStorage, type Plugin } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { rest } from "@b24/onappupdate/rest";
import { type FakeBitrix24, fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { createClient } from "redis";
import { systemTime } from "../../src/async/time.ts";
import { backgroundWork, CLIENT_ID, MEMBER_ID, post, quietLogger, trustAll } from "./app.ts";
import { type CountingStorage, countingStorage } from "./counting_storage.ts";
import { simulated, type VirtualTime, virtualTime } from "./time.ts";

/** A count, and the maximum that it must keep. */
export interface Cost {
  readonly name: string;
  readonly count: number;
  readonly atMost: number;
  /** @default "" */
  readonly unit?: string;
}

/** The costs of one event and its work. */
interface EventCost {
  /** Storage operations in sequence until the answer, and until all work is done. */
  readonly untilAnswer: number;
  readonly untilDone: number;
  /** Bytes of the values that were passed to the storage. */
  readonly bytes: number;
}

/** Work that an event can cause. */
interface Work {
  /** The version that the event announces; the portal is on 2. */
  readonly to: number;
  /** Number of steps of the upgrade to version 3; absent: there is none. */
  readonly steps?: number;
  /** Length of the result of each step in characters. @default 0 */
  readonly resultLength?: number;
  /** @default applicationToken() */
  readonly verification?: Plugin;
  /** Another process has received all earlier events of the portal, and the event brings a new token pair. */
  readonly isColdProcess?: true;
}

/** Sends an update to an app on which the portal has version 2, and counts. */
async function eventCost(
  { to, steps, resultLength = 0, verification = applicationToken(), isColdProcess }: Work,
): Promise<EventCost> {
  let now = Date.now();
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, accessTokenSeconds: 86_400, clock: () => now });
  const portal = bitrix24.portal({ memberId: MEMBER_ID });
  const counting = countingStorage(memoryStorage());
  const start = (): App => {
    const app = createApp({
      ...{ storage: counting.storage, clientId: CLIENT_ID, fetch: bitrix24.fetch, logger: quietLogger },
      ...{ checks: false, tickEveryMs: false, ...simulated({ ...systemTime, now: () => now }) },
    }).use(verification);
    return steps === undefined ? app : app.upgrade("3", async ({ step }) => {
      for (let n = 1; n <= steps; n++) {
        await step(`step ${n}`, () => resultLength === 0 ? undefined : "x".repeat(resultLength));
      }
    });
  };
  let app = start();
  const { platform, settled } = backgroundWork();
  const send = async (body: string): Promise<number> => {
    const { status } = await app.fetch(post(body), platform);
    assert.equal(status, 200);
    return counting.inSequence();
  };
  await send(portal.install(2));
  await settled();
  // An event that waited for its verification is deleted after its work.
  await counting.idle();
  if (isColdProcess === true) {
    await app.close();
    app = start();
    await app.start();
    await counting.idle();
    now += 12 * 3_600_000;
  }
  const body = portal.update(to);
  counting.reset();
  const untilAnswer = await send(body);
  await settled();
  const cost = { untilAnswer, untilDone: counting.inSequence(), bytes: counting.bytes() };
  assert.equal((await app.portal(MEMBER_ID))?.version, `${to}.0.0`);
  await app.close();
  return cost;
}

/** Number of steps over which the cost of one more step is averaged: two chunks of a journal. */
const MANY_STEPS = 32;

/** Returns the costs of events and upgrades in storage operations that wait for one another, and in bytes. */
export async function storageCosts(): Promise<Cost[]> {
  const nothing = await eventCost({ to: 2 });
  const update = await eventCost({ to: 3, verification: trustAll });
  const claimedUpdate = await eventCost({ to: 3 });
  const upgrade = await eventCost({ to: 3, steps: 0, verification: trustAll });
  const claimedUpgrade = await eventCost({ to: 3, steps: 0 });
  const coldNothing = await eventCost({ to: 2, isColdProcess: true });
  const coldUpgrade = await eventCost({ to: 3, steps: 0, isColdProcess: true });
  const manySteps = await eventCost({ to: 3, steps: MANY_STEPS, verification: trustAll });
  const [hundred, fourHundred, large] = [
    await eventCost({ to: 3, steps: 100 }),
    await eventCost({ to: 3, steps: 400 }),
    await eventCost({ to: 3, steps: 100, resultLength: 1000 }),
  ];
  const perStep = (manySteps.untilDone - upgrade.untilDone) / MANY_STEPS;
  return [
    ...inSequence("event with nothing to do", nothing, 2),
    ...inSequence("update without an upgrade", update, 3),
    ...inSequence("update without an upgrade, confirmed at Bitrix24", claimedUpdate, 3),
    ...inSequence("upgrade without steps", upgrade, 4),
    ...inSequence("upgrade without steps, confirmed at Bitrix24", claimedUpgrade, 4),
    ...inSequence("event with nothing to do, tokens not in memory", coldNothing, 2),
    ...inSequence("upgrade without steps, confirmed at Bitrix24, tokens not in memory", coldUpgrade, 4),
    { name: "storage operations of each step", count: perStep, atMost: 1 },
    { name: "bytes written for 100 steps", count: hundred.bytes, atMost: 60_000, unit: "bytes" },
    { name: "bytes written for 400 steps", count: fourHundred.bytes, atMost: 240_000, unit: "bytes" },
    { name: "bytes written for 100 steps with results of 1 kB", count: large.bytes, atMost: 260_000, unit: "bytes" },
  ];
}

function inSequence(what: string, { untilAnswer, untilDone }: EventCost, atMost: number): Cost[] {
  return [
    { name: `storage operations until 200, ${what}`, count: untilAnswer, atMost: 2 },
    { name: `storage operations until done, ${what}`, count: untilDone, atMost },
  ];
}

/** An app with `rest()` whose portal is installed, in virtual time. */
interface RestWorld {
  readonly bitrix24: FakeBitrix24;
  readonly portal: FakePortal;
  readonly counting: CountingStorage;
  readonly time: VirtualTime;
  readonly app: App;
  readonly plugin: ReturnType<typeof rest>;
  /** Lets time pass, `tickMs` milliseconds at once, until `promise` resolves. @default 100 */
  readonly finish: <T>(promise: Promise<T>, tickMs?: number) => Promise<T>;
}

async function restWorld(answerMs = 0): Promise<RestWorld> {
  const time = virtualTime();
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clock: time.now });
  const portal = bitrix24.portal({ memberId: MEMBER_ID });
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => void time.setTimer(resolve, ms));
  const plugin = rest({ timer: { now: time.monotonic, sleep } });
  const counting = countingStorage(memoryStorage());
  const app = createApp({
    ...{ storage: counting.storage, clientId: CLIENT_ID, clientSecret: "secret", logger: quietLogger },
    ...{ checks: false, tickEveryMs: false, ...simulated(time) },
    fetch: async (input, init) => {
      if (/\/rest\/crm/.test(new Request(input, init).url)) await sleep(answerMs);
      return await bitrix24.fetch(input as Request, init);
    },
  }).use(applicationToken()).use(plugin);
  const finish: RestWorld["finish"] = async (promise, tickMs = 100) => {
    let isSettled = false;
    const settle = (): boolean => isSettled = true;
    promise.then(settle, settle);
    while (!isSettled) await time.elapse(tickMs);
    return await promise;
  };
  const { platform, settled } = backgroundWork();
  await finish(app.fetch(post(portal.install(2)), platform));
  await finish(settled());
  return { bitrix24, portal, counting, time, app, plugin, finish };
}

/** Number of requests to the portal; a batch is one. */
function requestsOf(portal: FakePortal): number {
  return portal.calls().filter(({ at, isInBatch }) => at === "portal" && isInBatch !== true).length;
}

const ROWS = 10_000;
/** Rows of about 1 kB. */
const LISTED = Array.from({ length: ROWS }, (_, i) => ({ ID: String(i + 1), TITLE: "x".repeat(1000) }));
/** Calls to one portal, and what each takes. */
const [CALLS, CALL_MS] = [8, 500];
/** Returns the costs of calls by `rest()`: requests, storage reads, and milliseconds of virtual time. */
export async function restCosts(): Promise<Cost[]> {
  const costs: Cost[] = [];
  for (const [method, how] of [["crm.deal.list", "paged by ID"], ["crm.status.list", "paged by start"]] as const) {
    const { portal, plugin, finish, app } = await restWorld();
    portal.data(method, LISTED);
    const before = requestsOf(portal);
    const rows = await finish(Array.fromAsync(plugin.portal(MEMBER_ID).list<{ ID: string }>(method)));
    assert.deepEqual([rows.length, rows.at(-1)?.ID], [ROWS, String(ROWS)]);
    costs.push({
      name: `requests for a list of ${ROWS} rows, ${how}`,
      count: requestsOf(portal) - before,
      atMost: 5,
    });
    await app.close();
  }

  const { portal, plugin, counting, finish, time, app } = await restWorld(CALL_MS);
  const b24 = plugin.portal(MEMBER_ID);
  const call = (): Promise<unknown> => b24.call("crm.deal.fields");
  portal.answer("crm.deal.fields", () => ({}));
  await finish(call());
  counting.reset();
  await finish(call());
  costs.push({ name: "storage reads of a REST call while the token is good", count: counting.reads(), atMost: 0 });

  await time.elapse(60_000);
  const callMany = async (): Promise<number> => {
    const start = time.monotonic();
    await finish(Promise.all(Array.from({ length: CALLS }, call)), 1);
    return time.monotonic() - start;
  };
  costs.push({
    name: `${CALLS} calls of ${CALL_MS} ms to one portal`,
    count: await callMany(),
    atMost: 1200,
    unit: "ms",
  });
  await app.close();
  return costs;
}

/** Numbers of portals between which the keys are compared, so that keys that all portals share do not count. */
const [FEW, MANY] = [10, 30];

/**
 * Returns the number of Redis keys of a portal just after an upgrade of one step, without the receipts of writes, which expire
 * by themselves. `port` is that of a Redis server.
 */
export async function redisCosts(port: number): Promise<Cost[]> {
  const client = await createClient({ socket: { host: "127.0.0.1", port } }).connect();
  const prefix = `costs-${crypto.randomUUID()}`;
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, accessTokenSeconds: 86_400 });
  const app = createApp({
    ...{ storage: redisStorage(client, { prefix }), clientId: CLIENT_ID, fetch: bitrix24.fetch, logger: quietLogger },
    ...{ checks: false, tickEveryMs: false },
  }).use(applicationToken()).upgrade("3", async ({ step }) => void await step("one", () => 1));
  const { platform, settled } = backgroundWork();
  try {
    const counts: number[] = [];
    for (let n = 1; n <= MANY; n++) {
      const portal = bitrix24.portal({ memberId: n.toString(16).padStart(32, "0") });
      for (const body of [portal.install(2), portal.update(3)]) {
        assert.equal((await app.fetch(post(body), platform)).status, 200);
        await settled();
      }
      if (n === FEW || n === MANY) counts.push((await client.keys(`*${prefix}}:entry:*`)).length);
    }
    const [few = 0, many = 0] = counts;
    return [{ name: "Redis keys of a portal just after an upgrade", count: (many - few) / (MANY - FEW), atMost: 9 }];
  } finally {
    for (const key of await client.keys(`*${prefix}*`)) await client.del(key);
    await client.close();
  }
}
