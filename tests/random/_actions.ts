/** The actions of a random life. */
import assert from "node:assert/strict";
import { type App, type NewBatch, OnAppUpdateError } from "@b24/onappupdate";
import { MEMBER_ID, post } from "../support/app.ts";
import { MAX_OF_KIND } from "../../src/portal/waiting.ts";
import { portalKey } from "../../src/portal/keys.ts";
import type { PortalRecord } from "../../src/portal/record.ts";
import { digest } from "../../src/net/digest.ts";
import { claimingEvent, forgedEvent, stolenEvent } from "./_forged.ts";
import { MAX_VALUE_BYTES } from "./_storage.ts";
import type { Processes } from "./_processes.ts";
import { waitingDeliveries } from "../support/waiting.ts";
import { actOnRollout, adopt, rehearse, setVersion, silence, stopBatch, useCredentials } from "./_vendor.ts";
import { DAY, HOUR, LATEST, MINUTE, noteTruth, type PendingEvent, SECOND, USER, type World } from "./_world.ts";
import { OPERATOR } from "../support/operator.ts";

/** Actions with their weights. */
type Actions = readonly (readonly [number, () => unknown])[];

/** Does one random thing. */
export async function act(world: World, processes: Processes): Promise<void> {
  const { random, truth, character } = world;
  if (!truth.isInstalled && random() < 0.6) return install(world);
  const hasRollout = character.rollout !== undefined;
  const installed = (weight: number): number => truth.isInstalled ? weight : 0;
  const actions: Actions = [
    [installed(18), () => update(world)],
    [installed(3), () => remove(world)],
    [installed(1), () => missedReinstallation(world)],
    [installed(12), () => addDeal(world)],
    [installed(truth.isFinished ? 2 : 12), () => truth.isFinished ? addSystemUser(world) : finish(world)],
    [installed(truth.isPaid ? 1 : 20), () => pay(world)],
    [installed(8), () => open(world, processes, 1)],
    [installed(4), () => open(world, processes, USER)],
    [42, () => deliverNext(world, processes)],
    [character.isAttacked ? 20 : 0, () => forge(world, processes)],
    [character.hasOutages ? 5 : 0, () => toggleOutage(world)],
    [character.crashes ? 6 : 0, () => crashSoon(world, processes)],
    [5, () => wait(world)],
    [8, () => operate(world, processes, "tick", (app) => app.tick())],
    [3, () => operate(world, processes, "check", (app) => app.check(MEMBER_ID))],
    [2, () => operate(world, processes, "retry", (app) => app.admin.retry(MEMBER_ID, OPERATOR))],
    [2, () => operate(world, processes, "rollback", (app) => app.admin.rollback(MEMBER_ID, OPERATOR))],
    [1, () => operate(world, processes, "pause", (app) => app.admin.pause(OPERATOR))],
    [4, () => operate(world, processes, "resume", (app) => app.admin.resume(OPERATOR))],
    [2, () => operate(world, processes, "batch", (app) => app.admin.batches.start(RETRY_PARKED))],
    [1, () => operate(world, processes, "recount", (app) => app.admin.recount(OPERATOR))],
    [1, () => operate(world, processes, "skip", (app) => skipCurrent(world, app))],
    [installed(1), () => operate(world, processes, "set target", (app) => setTarget(world, app))],
    [1, () => operate(world, processes, "skip the installer", skipInstaller)],
    [installed(2), () => rename(world)],
    [installed(1), () => forgetRemoved(world, processes)],
    [1, () => forget(world, processes)],
    [installed(character.isOld ? 10 : 2), () => operate(world, processes, "adopt", (app) => adopt(world, app))],
    [2, () => operate(world, processes, "set the initial version", (app) => setVersion(world, app))],
    [installed(4), () => operate(world, processes, "credentials", (app) => useCredentials(world, app))],
    [1, () => operate(world, processes, "rehearse", rehearse)],
    [character.clocksJump ? 4 : 0, () => moveClock(world, processes)],
    [hasRollout ? 6 : 0, () => operate(world, processes, "rollout", (app) => actOnRollout(world, app))],
    [1, () => operate(world, processes, "stop the batches", stopBatch)],
    [1, () => operate(world, processes, "silence", (app) => silence(world, app))],
    [5, () => deploy(world, processes)],
  ];
  let fate = random() * actions.reduce((sum, [weight]) => sum + weight, 0);
  const action = actions.find(([weight]) => (fate -= weight) < 0)!;
  await action[1]();
  await restart(world, processes);
}

const RETRY_PARKED: NewBatch = { action: "retry", match: { status: "parked" }, expect: 1, ...OPERATOR };

/** An operator skips the upgrade that the portal is at. */
async function skipCurrent(world: World, app: App): Promise<void> {
  const upgradeId = (await world.record())?.run?.current?.upgradeId;
  if (upgradeId !== undefined) await app.admin.skip(MEMBER_ID, upgradeId, OPERATOR);
}

function skipInstaller(app: App): Promise<void> {
  return app.admin.skip(MEMBER_ID, "ONAPPINSTALL", OPERATOR);
}

/** An operator sets the version that the portal has in Bitrix24. */
function setTarget({ truth }: World, app: App): Promise<void> {
  return app.admin.setTarget(MEMBER_ID, String(truth.version), OPERATOR);
}

/** The customer removes the app and has the vendor erase the portal; the event of the removal may come later. */
async function forgetRemoved(world: World, processes: Processes): Promise<void> {
  remove(world);
  await world.time.elapse(SECOND);
  await forget(world, processes);
}

/** An operator erases the portal, whether or not Bitrix24 has the app installed. The worker may be busy with it. */
export async function forget(world: World, processes: Processes): Promise<void> {
  const { random, drive } = world;
  const tick = random() < 0.3 ? drive(processes.any().app.tick()).catch(() => {}) : undefined;
  const forgetting = operate(world, processes, "forget", async (app) => {
    try {
      await app.admin.forget(MEMBER_ID, OPERATOR);
      world.isHalfForgotten = false;
    } catch (error) {
      // A refusal changes nothing.
      const isRefused = error instanceof OnAppUpdateError && ["busy", "unknown_portal"].includes(error.code);
      world.isHalfForgotten ||= !isRefused;
      throw error;
    }
  });
  await Promise.all([forgetting, tick]);
}

/** The customer of a forgotten portal removes the app and installs it again: the app knows nothing of what went before. */
export async function reinstall(world: World): Promise<void> {
  remove(world);
  await world.time.elapse(SECOND);
  install(world, false);
  if (world.truth.isFinished) return;
  await world.time.elapse(SECOND + world.character.lagMs);
  finish(world);
}

/** Another program of the vendor received what was sent of the installation. */
export async function installElsewhere(world: World): Promise<void> {
  install(world, false);
  if (!world.truth.isFinished) finish(world);
  world.pending.splice(0);
  world.log.push("  another program received it");
  await world.time.elapse(world.character.lagMs + MINUTE);
}

function install(world: World, mayBeOlder = true): void {
  const { pick, portal, truth, character, log } = world;
  // After a removal, an older version may be installed. Targets are never lowered, so the app must not miss the removal.
  const older = mayBeOlder && character.lagMs === 0 ? pick([0, 0, 1]) : 0;
  const version = Math.max(1, truth.version - older);
  log.push(`install ${version}${character.hasWizard ? " by the wizard" : ""}`);
  const body = portal.install(version, { wizard: character.hasWizard });
  Object.assign(truth, { isInstalled: true, version, isFinished: !character.hasWizard, isPaid: true });
  truth.installations++;
  truth.isForgotten = false;
  portal.pay();
  noteTruth(world);
  if (!character.hasWizard) world.pending.push({ body, name: `install ${version}` });
}

export function update(world: World): void {
  const { random, pick, portal, truth, character, log } = world;
  if (truth.version === LATEST || !truth.isPaid) return;
  const isUser = random() < 0.2;
  const version = ++truth.version;
  const body = portal.update(version, {
    rotateToken: random() < 0.2,
    wizard: character.hasWizard,
    ...(isUser ? { userId: USER } : {}),
  });
  if (character.hasWizard) truth.isFinished = false;
  noteTruth(world);
  const copies = truth.isFinished ? pick([0, 1, 1, 1, 2]) : 0;
  log.push(`update to ${version}${isUser ? " by a user" : ""}, sent ${copies} times`);
  for (let i = 0; i < copies; i++) world.pending.push({ body, name: `update to ${version}` });
}

/** The wizard calls `installFinish`, which sends an event. */
export function finish(world: World): void {
  world.log.push("installFinish");
  const body = world.portal.installFinish();
  world.truth.isFinished = true;
  noteTruth(world);
  world.pending.push({ body, name: "install after the wizard" });
}

function remove(world: World): void {
  world.log.push("uninstall");
  const removal = ++world.truth.removals;
  world.pending.push({ body: world.portal.uninstall(), name: "uninstall", removal });
  world.truth.isInstalled = false;
}

/** The app is removed and installed again; the event of the removal is lost. */
function missedReinstallation(world: World): void {
  if (world.character.hasWizard) return;
  remove(world);
  world.pending.pop();
  world.log.push("  its event is lost");
  install(world, false);
}

function addDeal(world: World): void {
  const { portal, truth, pending, random } = world;
  if (!truth.isFinished || !truth.isPaid) return;
  const deal = `${pending.length}-${Math.floor(random() * 1e9)}`;
  const options = random() < 0.3 ? { userId: USER } : random() < 0.2 ? { tokenless: true } : {};
  const size = world.character.hasLarge ? world.pick([0, 3000, 10_000, 2 * MAX_VALUE_BYTES]) : 0;
  pending.push({
    body: portal.event("ONCRMDEALADD", { ID: deal, ...size > 0 && { TEXT: "_".repeat(size) } }, options),
    name: `deal ${deal}`,
    deal,
    installation: truth.installations,
  });
}

function addSystemUser(world: World): void {
  world.truth.hasSystemUser = true;
  world.pending.push({ body: world.portal.userReady(), name: "userReady" });
}

export function pay(world: World): void {
  const { portal, truth, pending, log } = world;
  log.push(truth.isPaid ? "the paid period ends" : "the app is paid for");
  truth.wasUnpaid = true;
  truth.isPaid = !truth.isPaid;
  pending.push({ body: truth.isPaid ? portal.pay() : portal.stopPayment(), name: "payment" });
}

/** The customer renames the portal, now and then to a name that it had before. */
function rename({ portal, truth, pick, random, log }: World): void {
  const others = [...truth.domains].filter((domain) => domain !== portal.domain);
  const domain = others.length > 0 && random() < 0.3 ? pick(others) : `renamed-${truth.domains.size}.bitrix24.de`;
  log.push(`renamed: ${domain}`);
  truth.domains.add(domain);
  portal.rename(domain);
}

/** A user opens the app's page. */
export async function open(world: World, { any }: Processes, userId: number): Promise<void> {
  const { portal, drive, log } = world;
  try {
    const { upgrade, isAdmin } = await drive(any().app.open(portal.open({ userId })));
    log.push(`  user ${userId} opens the app: ${upgrade.state}`);
    assert(!isAdmin || userId === 1);
  } catch (error) {
    if (!(error instanceof OnAppUpdateError)) throw error;
    log.push(`  user ${userId} opens the app: ${error.message}`);
  }
}

/** Delivers one event, which may overtake others. */
async function deliverNext(world: World, processes: Processes): Promise<void> {
  const { pending, random, drive } = world;
  // Events never overtake a removal: they could not be told from those before it.
  const removal = pending.findIndex(({ name }) => name === "uninstall");
  const candidates = removal < 0 ? pending.length : Math.max(1, removal);
  const [event] = pending.splice(random() < 0.7 ? 0 : Math.floor(random() * candidates), 1);
  if (event === undefined) return;
  const done = deliver(world, processes, event);
  const tick = random() < 0.5 ? drive(processes.any().app.tick()).catch(() => {}) : undefined;
  await Promise.all([done, tick]);
}

export async function deliver(world: World, processes: Processes, event: PendingEvent): Promise<void> {
  const { time, log, pending, accepted } = world;
  if (event.name.startsWith("forged ONAPPUNINSTALL with the")) world.truth.wasRemovalForged = true;
  const { status, body } = await world.drive(processes.any().app.fetch(post(event.body)));
  await body?.cancel();
  log.push(`  ${event.name}: ${status}`);
  const isTooLarge = event.body.length > MAX_VALUE_BYTES;
  assert((isTooLarge ? [413] : [200, 403, 503]).includes(status), `saw ${status} for ${event.name}`);
  if (event.isForged) return;
  if (status === 403 && event.removal !== undefined) world.truth.refusedRemoval = event.removal;
  if (status === 200 && event.removal !== undefined) world.truth.acceptedRemoval = event.removal;
  // Nothing but an installation makes a forgotten portal known again, and what was sent before belongs to what was forgotten.
  const fields = new URLSearchParams(event.body);
  const isSentBefore = Number(fields.get("ts")) < world.truth.forgottenTs;
  const record = await world.record();
  const isForgotten = isSentBefore || record?.forgottenAt !== undefined;
  // Without a valid access token, nothing shows that a removal which the app believes was made up.
  const isOver = record?.status === "uninstalled" && !(Number(fields.get("auth[expires]")) * SECOND > time.now());
  if (status === 200 && event.deal !== undefined && !isForgotten && !isOver) {
    accepted.set(event.deal, event.installation!);
  }
  if (status !== 503) return;
  // As a proxy in front of the app does, send it again after a while.
  await time.elapse(SECOND);
  await restart(world, processes);
  // Without failures, 503 says that the event is stored, and not verified yet.
  if (world.hasFailures) pending.unshift(event);
}

async function forge(world: World, processes: Processes): Promise<void> {
  const { random, storage } = world;
  // In the bounded store of unverified events, a flood may replace what is authentic: see docs/verification.md.
  if (random() < 0.05 && await isVerifiedAtOnce(world)) {
    const name = world.pick(["ONAPPUPDATE", "ONAPPINSTALL", "ONAPPUNINSTALL", "ONAPPPAYMENT"]);
    for (let i = 0; i < 2 * MAX_OF_KIND; i++) await deliver(world, processes, claimingEvent(world, name, i));
    const waiting = await waitingDeliveries(storage, MEMBER_ID);
    const ofKind = waiting.filter(({ id }) => id.startsWith(`${name}:`)).length;
    // A missed update, or a delivery that a crash kept from being counted.
    assert(ofKind <= MAX_OF_KIND + 5, `${ofKind} deliveries of ${name} wait`);
    return;
  }
  const event = random() < 0.3 ? stolenEvent(world) : undefined;
  await deliver(world, processes, event ?? forgedEvent(world));
}

/** Returns whether the app knows the current application_token of the portal, and no event waits for its verification. */
async function isVerifiedAtOnce(world: World): Promise<boolean> {
  const { storage } = world;
  const record = (await storage.get<PortalRecord>(portalKey(MEMBER_ID)))?.value;
  const token = new URLSearchParams(claimingEvent(world, "ONAPPUPDATE", 0).body).get("auth[application_token]")!;
  const isKnown = record?.status === "installed" && record.applicationToken?.current === await digest(token);
  return isKnown && (await Array.fromAsync(storage.list(["unverified"]))).length === 0;
}

function toggleOutage({ bitrix24, pick, log }: World): void {
  const kind = pick(["down", "hanging", undefined] as const);
  log.push(`OAuth hosts: ${kind ?? "up"}`);
  bitrix24.outage(kind);
}

function crashSoon({ pick, log }: World, { any }: Processes): void {
  const writes = pick([1, 2, 3, 5, 8, 13, 21]);
  log.push(`a process is killed at its write ${writes}`);
  any().killAtWrite(writes);
}

/** The clock of a process is put forward or back. */
function moveClock({ pick, log, outbox }: World, { any }: Processes): void {
  const ms = pick([-3 * HOUR, -30 * MINUTE, -MINUTE, MINUTE, 30 * MINUTE, 3 * HOUR]);
  log.push(`a clock is moved by ${ms / MINUTE} minutes`);
  // Processes whose clocks differ by more than 30 seconds may deliver the same message.
  outbox.mayRepeat();
  any().moveClock(ms);
}

/** Starts processes in place of those that were killed. */
async function restart({ time }: World, processes: Processes): Promise<void> {
  for (const [i, process] of processes.all.entries()) {
    if (!process.isKilled()) continue;
    await processes.replace(i, "kill");
    await time.elapse(SECOND);
  }
}

async function wait({ bitrix24, storage, time, pick, pending, character, log, outbox }: World): Promise<void> {
  // Not so long that tokens of pending events expire, or that events that wait for their verification are dropped.
  let isWaiting = false;
  for await (const _ of storage.list(["unverified"])) isWaiting = true;
  // Without a client secret, an event that waits is lost when its token expires after an hour.
  const hours = isWaiting ? (character.hasSecret ? [HOUR] : []) : [HOUR, 3 * HOUR, 8 * DAY];
  const ms = pick(pending.length > 0 ? [SECOND, 61 * SECOND] : [61 * SECOND, 5 * MINUTE, ...hours]);
  if (ms > HOUR) bitrix24.outage();
  if (ms > 7 * DAY) outbox.expire();
  log.push(`${ms / MINUTE} minutes pass`);
  await time.elapse(ms);
}

/** Runs an action of an operator, which the app may refuse. */
export async function operate(
  world: World,
  { any }: Processes,
  action: string,
  run: (app: App) => Promise<unknown>,
): Promise<void> {
  world.log.push(`  ${action}`);
  await world.drive(run(any().app)).catch((error) => {
    world.log.push(`    ${error.message}`);
    assert(error instanceof OnAppUpdateError || world.hasFailures, error);
  });
}

async function deploy({ random }: World, processes: Processes): Promise<void> {
  await processes.replace(Math.floor(random() * processes.all.length), random() < 0.5 ? "kill" : "close");
}
