/** Capacity while the OAuth hosts do not answer, in virtual time. `deno test -A` of this file prints the figures. */
import assert from "node:assert/strict";
import { describe, it } from "../support/test.ts";
import { memberIdOf, storedSize, type VirtualWorld, virtualWorld } from "./_virtual_world.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** Installs the app on portals and lets an hour pass. */
async function installAll(world: VirtualWorld, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    assert.equal(await world.send(world.portal(i).install(2)), 200);
    if (i % 200 === 199) await world.time.elapse(MINUTE_MS);
  }
  await world.time.elapse(HOUR_MS);
}

/** Returns the numbers of the portals that are not on a version. */
async function behind({ app }: VirtualWorld, numbers: readonly number[], version: string): Promise<readonly number[]> {
  const found: number[] = [];
  for (const number of numbers) {
    if ((await app.portal(memberIdOf(number)))?.version !== version) found.push(number);
  }
  return found;
}

const numbersFrom = (first: number, count: number): readonly number[] =>
  Array.from({ length: count }, (_, i) => first + i);

describe("receiving while the OAuth hosts hang", () => {
  /** Returns the storage operations of each answer, in three kinds of events. No time passes while they are answered. */
  async function operations(outage?: "hanging"): Promise<readonly number[]> {
    const world = virtualWorld();
    const { bitrix24, time } = world;
    const portals = numbersFrom(0, 30).map(world.portal);
    for (const portal of portals.slice(0, 20)) await world.send(portal.install(2));
    await time.elapse(HOUR_MS);
    bitrix24.outage(outage);
    // The verifier and the worker have as much as they can do at a time.
    for (const number of numbersFrom(100, 50)) await world.send(world.portal(number).install(2));
    await time.elapse(1);
    const counts: number[] = [];
    for (const [i, portal] of portals.entries()) {
      const body = i < 10 ? portal.update(3) : i < 20 ? portal.update(3, { rotateToken: true }) : portal.install(2);
      const before = world.operations();
      assert.equal(await world.send(body), 200);
      counts.push(world.operations() - before);
    }
    await world.close();
    return counts;
  }

  it("costs the same storage operations as otherwise, and waits for nothing", async () => {
    const [up, hanging] = [await operations(), await operations("hanging")];
    assert.deepEqual(hanging, up);
    assert(Math.max(...up) <= 12, `at most ${Math.max(...up)} operations`);
  });
});

it("2,000 events that come while the OAuth hosts are down for two hours all take effect afterwards", async () => {
  const world = virtualWorld();
  const { bitrix24, time, storage } = world;
  const [updated, installed] = [numbersFrom(0, 1000), numbersFrom(1000, 1000)];
  await installAll(world, updated.length);
  const portals = updated.map(world.portal);
  assert.deepEqual(await behind(world, updated, "2.0.0"), []);
  const before = bitrix24.refreshes();

  bitrix24.outage("down");
  for (let minute = 0; minute < 120; minute++) {
    // In the first half, so that the pairs have expired before the outage ends.
    for (let i = minute * 20; minute < 50 && i < (minute + 1) * 20; i++) {
      assert.equal(await world.send(portals[i]!.update(3, { rotateToken: true })), 200);
      assert.equal(await world.send(world.portal(installed[i]!).install(2)), 200);
    }
    await time.elapse(MINUTE_MS);
  }
  const waiting = await storedSize(storage, "unverified");
  assert.deepEqual(await behind(world, installed, ""), installed, "nothing is believed");

  bitrix24.outage();
  let minutes = 0;
  const isDone = async (): Promise<boolean> =>
    (await behind(world, updated, "3.0.0")).length + (await behind(world, installed, "2.0.0")).length === 0;
  for (; minutes < 60 && !await isDone(); minutes++) await time.elapse(MINUTE_MS);
  // deno-lint-ignore no-console
  console.log(
    `${waiting.entries} entries (${(waiting.characters / 2 ** 20).toFixed(1)} MiB) waited; all in effect ${minutes} ` +
      `minutes after the outage; ${bitrix24.refreshes() - before} pairs refreshed`,
  );
  assert.deepEqual(await behind(world, updated, "3.0.0"), []);
  assert.deepEqual(await behind(world, installed, "2.0.0"), []);
  assert.equal(world.upgraded.length, 1000, "each upgrade ran once");
  assert(bitrix24.refreshes() - before >= 2000, "the hour of all pairs was over");
  assert.equal((await storedSize(storage, "unverified")).entries, 0);
  await world.close();
});
