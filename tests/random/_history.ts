/**
 * A random life of a portal: installations, updates, removals, payments and openings; events that are lost, repeated,
 * reordered and forged; failures, kills and outages of one or two processes and of the OAuth hosts. Nothing that was never
 * true takes effect, and once the failures end, the app reaches the state in Bitrix24.
 */
import assert from "node:assert/strict";
import type { App } from "@b24/onappupdate";
import type { PortalRecord } from "../../src/portal/record.ts";
import { entryTime, listDue } from "../../src/portal/schedule.ts";
import { MEMBER_ID } from "../support/app.ts";
import { act, deliver, finish, forget, installElsewhere, open, operate, pay, reinstall, update } from "./_actions.ts";
import { type Processes, startProcesses } from "./_processes.ts";
import type { Truth } from "./_invariants.ts";
import { createWorld, DAY, HOUR, LATEST, MINUTE, SECOND, type World } from "./_world.ts";
import { letRolloutsGoOn } from "./_vendor.ts";
import { waitingDeliveries } from "../support/waiting.ts";
import { OPERATOR } from "../support/operator.ts";

/** The result of a history. */
export interface HistoryResult {
  /**
   * The app has a client secret, had the portal from its installation on, and reached the state in Bitrix24 only after an
   * administrator had opened it.
   */
  readonly neededContact: boolean;
}

/**
 * Runs the history of `seed`.
 *
 * @throws {Error} with all that happened, if a wrong state was in effect, or is at the end
 */
export async function runHistory(seed: number): Promise<HistoryResult> {
  const log: string[] = [];
  try {
    return await runLogged(seed, log);
  } catch (error) {
    throw new Error(`history ${seed} goes wrong: ${(error as Error).message}\n${log.join("\n")}`, { cause: error });
  }
}

async function runLogged(seed: number, log: string[]): Promise<HistoryResult> {
  const world = createWorld(seed, log);
  const processes = startProcesses(world, seed);
  const { random, time, violations } = world;
  if (world.character.isOld) await installElsewhere(world);
  const maxLength = random() < 0.1 ? 100 : 25;
  for (let i = 0, length = 5 + Math.floor(random() * maxLength); i < length; i++) {
    // Events in the same second have no order.
    await time.elapse(SECOND + Math.floor(random() * 5 * SECOND));
    await act(world, processes);
  }
  await endFailures(world, processes);
  await letPass(world, processes, QUIET);
  let neededContact = false;
  if (world.truth.isInstalled && !await isCurrent(world)) {
    neededContact = true;
    log.push(`contact is needed: ${JSON.stringify(await describe(world))}`);
    await open(world, processes, 1);
    await letPass(world, processes, [MINUTE, 20 * MINUTE, 4 * HOUR, DAY, DAY, 10 * DAY]);
  }
  // Its first contact was no installation: only an operator knows.
  if ((await world.record())?.blocked?.on === "version") {
    const { target } = (await world.record())!;
    await operate(world, processes, "set version", (app) => app.admin.setInitialVersion(MEMBER_ID, target!, OPERATOR));
    await letPass(world, processes, [MINUTE, 20 * MINUTE, 4 * HOUR]);
  }
  const never = [...new Set(violations)].join("; ");
  assert.equal(never, "", `in effect, and never true: ${never}`);
  const { app } = processes.all[0]!;
  await assertFinalState(world, app);
  await assertFound(world, app);
  const closed = app.close();
  await time.elapse(MINUTE);
  await closed;
  return { neededContact: neededContact && world.character.hasSecret && !world.character.isOld };
}

/** Asserts that the portal is found by each domain that it is known by, and by no other one. */
async function assertFound({ domains, truth }: World, { admin }: App): Promise<void> {
  const [current, ...former] = domains.all();
  for (const domain of truth.domains) {
    const found = [(await admin.portals({ domain })).items, (await admin.portals({ formerDomain: domain })).items];
    assert.deepEqual(
      found.map(({ length }) => length),
      [domain === current ? 1 : 0, former.includes(domain) ? 1 : 0],
      domain,
    );
  }
}

/** Ends everything that goes wrong, and delivers what is left. */
async function endFailures(world: World, processes: Processes): Promise<void> {
  const { truth, bitrix24, time, pending, log } = world;
  log.push("failures end");
  world.hasFailures = false;
  bitrix24.outage();
  await processes.settleDown();
  // The lease of the last process expires.
  await time.elapse(61 * SECOND);
  await operate(world, processes, "resume", (app) => app.admin.resume(OPERATOR));
  if (truth.isInstalled && !truth.isPaid) pay(world);
  // The customer gets the version that the vendor publishes after an aborted one.
  while (world.isAborted && truth.isInstalled && truth.version < LATEST) {
    update(world);
    await time.elapse(SECOND);
  }
  if (truth.isInstalled && !truth.isFinished) {
    await time.elapse(world.character.lagMs);
    await open(world, processes, 1);
    await time.elapse(MINUTE);
    finish(world);
  }
  for (let i = 0; pending.length > 0 && i < 500; i++) await deliver(world, processes, pending.shift()!);
  if ((await world.record())?.forgottenAt === undefined) return;
  if (world.isHalfForgotten) await forget(world, processes);
  if (!truth.isInstalled || !truth.isForgotten) return;
  await reinstall(world);
  for (let i = 0; pending.length > 0 && i < 500; i++) await deliver(world, processes, pending.shift()!);
}

/** Pauses between ticks, long enough for everything that is retried, slept, or checked. */
const QUIET: readonly number[] = [
  ...[SECOND, MINUTE, 2 * MINUTE, 11 * MINUTE, HOUR, HOUR, 3 * HOUR, 7 * HOUR, DAY, DAY, DAY],
  ...[3 * DAY, 4 * DAY, 4 * DAY, HOUR, HOUR, 4 * DAY, HOUR],
];

async function letPass(world: World, processes: Processes, pauses: readonly number[]): Promise<void> {
  for (const [i, pause] of pauses.entries()) {
    await world.time.elapse(pause);
    const { run, failure } = await world.record() ?? {};
    const isParked = failure?.retryAt === undefined;
    if (run?.isRollingBack) {
      await operate(world, processes, "rollback", (app) => app.admin.rollback(MEMBER_ID, OPERATOR));
    }
    if (isParked && i % 3 === 2) {
      await operate(world, processes, "retry", (app) => app.admin.retry(MEMBER_ID, OPERATOR));
    }
    if (world.character.rollout !== undefined) {
      await operate(world, processes, "let the rollouts go on", (app) => letRolloutsGoOn(world, app));
    }
    await operate(world, processes, "tick", (app) => app.tick());
    await world.time.elapse(MINUTE);
  }
}

async function isCurrent(world: World): Promise<boolean> {
  const record = await world.record();
  return record?.status === "installed" && record.target === record.version && isReached(world, record);
}

/** Returns whether a portal is on the version of Bitrix24. After a removal that the app missed, it may be on a later one. */
function isReached({ truth, character }: World, { version = "0" }: PortalRecord): boolean {
  const major = Number(version.split(".")[0]);
  if (character.isDeployed) return major === LATEST;
  return major === truth.version || (isRemovalMissed(truth) && major > truth.version);
}

/** Returns whether the app has refused a removal, and no other one came since: the token in it was new, and unproved. */
function isRemovalMissed({ refusedRemoval, acceptedRemoval }: Truth): boolean {
  return refusedRemoval > acceptedRemoval;
}

async function describe({ record }: World): Promise<object> {
  const { status, version, target, blocked, failure, generation } = await record() ?? {};
  return { status, version, target, blocked, failure, generation };
}

async function assertFinalState(world: World, app: App): Promise<void> {
  const { truth, storage, time, accepted, seen } = world;
  const record = await world.record();
  const isInstalled = record?.status === "installed";
  assert(isInstalled || !truth.isInstalled, `saw ${record?.status}, Bitrix24 has the app installed`);
  if (isInstalled && !truth.isInstalled) await assertShown(world, app, record);
  assert.equal(record?.lease, undefined);
  const all = await Array.fromAsync(listDue(storage, Infinity));
  const due = all.filter(({ memberId }) => memberId === MEMBER_ID).map((entry) => entry.due);
  assert(
    record?.due === undefined || entryTime(record.due) > time.now(),
    `due at ${record?.due}, now is ${time.now()}`,
  );
  const wanted = record?.due === undefined ? [] : [record.due];
  assert.deepEqual(due, wanted, "the schedule has only the entry of the record");
  for (const [deal, installation] of accepted) {
    const isCurrent = truth.isInstalled && installation === truth.installations;
    assert(!isCurrent || seen.has(deal), `no handler saw deal ${deal}`);
  }
  assert.deepEqual(record?.reports, undefined, "observers were told everything");
  world.told.assertAll();
  await world.outbox.assertAll(app);
  await world.assertStored();
  if (record === undefined) return;
  if (truth.isInstalled) {
    assert.equal(record.version, record.target);
    assert(isReached(world, record), `on ${record.version}, Bitrix24 has ${truth.version}`);
  } else if (!isInstalled) await assertNoTokens(world);
  // A portal whose removal was missed may have work that waits for the app.
  if (isInstalled !== truth.isInstalled) return;
  const inbox = (await waitingDeliveries(storage, record.memberId)).map(({ id }) => id);
  assert.deepEqual(inbox.filter((id) => !waitsForToken(record, id)), [], "the inbox is empty");
  const status = truth.isInstalled ? "current" : "uninstalled";
  // No total is replaced while it would lack a portal that this code cannot read.
  if (world.character.hasNewer) return;
  assert.deepEqual((await app.admin.counts()).map(({ status, count }) => [status, count]), [[status, 1]]);
}

/**
 * Asserts that a removal without effect is shown to the operator: its event was refused or contradicted, and nobody could be
 * asked afterwards.
 */
async function assertShown({ truth, character }: World, app: App, { claims }: PortalRecord): Promise<void> {
  const codes = (await app.check(MEMBER_ID)).problems.map(({ code }) => code);
  // The app is gone, or no token works.
  const noContact = character.hasSecret ? ["installation", "authorization"] : ["installation", "configuration"];
  assert(codes.some((code) => noContact.includes(code)), `the removal is not shown: ${codes.join() || "no problems"}`);
  const isUnconfirmed = claims?.removal?.settled?.as === "dropped" && codes.includes("unconfirmed");
  assert(isRemovalMissed(truth) || (truth.wasRemovalForged && isUnconfirmed), "the removal has no effect");
}

/** Events with each kind of claim. */
const CLAIMED = { version: /^ONAPP(UPDATE|INSTALL):/, removal: /^ONAPPUNINSTALL:/, payment: /^ONAPPPAYMENT:/ } as const;

/** Returns whether a delivery waits because what it claims was not confirmed, and no token is left to ask with. */
function waitsForToken({ claims = {} }: PortalRecord, deliveryId: string): boolean {
  return Object.entries(CLAIMED).some(([kind, name]) => {
    const claim = claims[kind as keyof typeof CLAIMED];
    return claim !== undefined && claim.settled === undefined && claim.nextAskAt === undefined && name.test(deliveryId);
  });
}

/** No token of a removed portal is stored. Those of the fake Bitrix24 start with `acce55` and `fe5fe5`. */
async function assertNoTokens({ storage }: World): Promise<void> {
  for await (const { key, value } of storage.list([])) {
    assert.doesNotMatch(
      JSON.stringify(value),
      /(acce55|fe5fe5)fa4e70ce[0-9a-f]{4}a223/,
      `${key.join("/")} has a token`,
    );
  }
}
