/**
 * A random history of a portal: its installations, updates and removals; events that are lost, repeated and reordered; and
 * failures, kills and outages of one or two processes. Once the failures end, the app must reach the state in Bitrix24.
 */
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import {
  type App,
  createApp,
  mapped,
  memoryStorage,
  NonRetriableError,
  OnAppUpdateError,
  RetryAfterError,
} from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { fakeBitrix24, type Faults, faultyStorage } from "@b24/onappupdate/testing";
import type { PortalRecord } from "../../src/portal/record.ts";
import { portalKey } from "../../src/portal/keys.ts";
import { entryTime, listDue } from "../../src/portal/schedule.ts";
import { CLIENT_ID, MEMBER_ID, post, quietLogger } from "../support/app.ts";
import { seeded } from "../support/seeded.ts";

const SECOND = 1000;
const HOUR = 3600 * SECOND;
const DAY = 24 * HOUR;
/** The latest version of the app. */
const LATEST = 6;

/** A process that can be killed. */
interface Process {
  readonly app: App;
  readonly faults: Faults;
}

/** An event that is not delivered yet. */
interface PendingEvent {
  readonly body: string;
  readonly name: string;
  /** Id of the deal that a handler must see. */
  readonly deal?: string;
}

/** The result of a history. */
export interface HistoryResult {
  /** An event could not be verified, so the app may not know all that Bitrix24 does. */
  readonly isRefused: boolean;
}

/**
 * Runs the history of `seed`.
 *
 * @throws {Error} with all that happened, if the final state is wrong
 */
export async function runHistory(seed: number): Promise<HistoryResult> {
  const log: string[] = [];
  try {
    return await runLogged(seed, log);
  } catch (error) {
    throw new Error(`history ${seed} has a wrong final state:\n${log.join("\n")}`, { cause: error });
  }
}

async function runLogged(seed: number, log: string[]): Promise<HistoryResult> {
  const random = seeded(seed);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
  let now = Date.UTC(2026, 10, 1);
  const clock = (): number => now;
  const storage = memoryStorage();
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clock });
  const portal = bitrix24.portal({ memberId: MEMBER_ID });

  // The character of this history.
  const throws = pick([0, 0.1, 0.3]);
  const outage = pick([0, 0, 0.02]);
  const isMapped = random() < 0.3;
  const sleeps = random() < 0.5;

  let hasFailures = true;
  /** Number of versions and upgrades in the code of the next deploy. */
  let code = { versions: 3, upgrades: 3 };
  let started = 0;
  let version = 0;
  let isInstalled = false;
  let isRefused = false;
  let deals = 0;
  const pending: PendingEvent[] = [];
  const accepted = new Set<string>();
  const seen = new Set<string>();

  function mayFail(where: string): void {
    if (!hasFailures || random() >= throws) return;
    const error = pick([
      () => new Error("a random failure"),
      () => new NonRetriableError("a random permanent failure"),
      () => new RetryAfterError(pick([0, HOUR, 10 * DAY])),
    ])();
    log.push(`    ${where}: ${error.message}`);
    throw error;
  }

  function start(): Process {
    const faults: Faults = { unavailable: hasFailures ? outage : 0, lostReply: hasFailures ? outage : 0 };
    const names = Array.from({ length: code.versions }, (_, i) => [`${i + 1}`, `${i + 1}.0.0`]);
    const id = ++started;
    let strings = 0;
    const app = createApp({
      storage: { ...faultyStorage(storage, faults, seed + id), close: () => Promise.resolve() },
      ...{ clock, clientId: CLIENT_ID, clientSecret: "client-secret-0123456789abcdef" },
      random: () => `${id}-${++strings}`,
      acknowledge: pick(["stored", "handled"]),
      ...{ logger: quietLogger, fetch: bitrix24.fetch, lookup: () => Promise.resolve(undefined), tickEveryMs: false },
      ...(isMapped ? { versions: mapped(Object.fromEntries(names)) } : {}),
    }).use(applicationToken());
    for (let to = 2; to <= code.upgrades; to++) {
      app.upgrade(`${to}.0.0`, async ({ step, pages, sleep }) => {
        mayFail(`upgrade ${to}`);
        await step("one", () => mayFail(`step of ${to}`), { undo: () => mayFail(`undo of ${to}`) });
        if (sleeps) await sleep("a minute", 60 * SECOND);
        await pages("pages", 0, (page) => {
          mayFail(`page ${page} of ${to}`);
          return Promise.resolve({ next: page < 2 ? page + 1 : null, done: 1 });
        });
      }, { id: `to ${to}` });
    }
    app.on("ONCRMDEALADD", ({ event }) => {
      mayFail("deal");
      seen.add(String(event.data.extra.ID));
    }).on(["ONAPPINSTALL", "ONAPPUPDATE"], ({ event }) => mayFail(event.name));
    return { app, faults };
  }

  const processes = Array.from({ length: pick([1, 2]) }, start);
  const anyApp = (): App => pick(processes).app;

  async function deliver(event: PendingEvent): Promise<void> {
    const response = await anyApp().fetch(post(event.body));
    await response.body?.cancel();
    log.push(`  ${event.name}: ${response.status}`);
    assert([200, 403, 503].includes(response.status), `saw ${response.status} for ${event.name}`);
    if (response.status === 403) isRefused = true;
    // What waits for its verification is lost if the app is removed before.
    const waits = await storage.get(["unverified", MEMBER_ID]) !== null;
    if (response.status === 200 && event.deal !== undefined && !waits) accepted.add(event.deal);
    if (response.status !== 503) return;
    // As a proxy in front of the app does, send it again after a while.
    now += SECOND;
    pending.unshift(event);
  }

  const currentRecord = async (): Promise<PortalRecord | undefined> =>
    (await storage.get<PortalRecord>(portalKey(MEMBER_ID)))?.value;

  /** Waits for the background work of answers and calls. */
  async function untilIdle(): Promise<void> {
    do await pause(2); while (((await currentRecord())?.lease?.until ?? 0) > now);
  }

  /** Runs an action of an operator, which the app may refuse. */
  async function operate(action: string, run: (app: App) => Promise<unknown>): Promise<void> {
    log.push(`  ${action}`);
    await run(anyApp()).catch((error) => {
      log.push(`    ${error.message}`);
      assert(error instanceof OnAppUpdateError || hasFailures, error);
    });
  }

  function update(): void {
    if (version === LATEST) return;
    const body = portal.update(++version, { rotateToken: random() < 0.2 });
    const copies = pick([0, 1, 1, 1, 2]);
    log.push(`update to ${version}, sent ${copies} times`);
    for (let i = 0; i < copies; i++) pending.push({ body, name: `update to ${version}` });
  }

  function installOrRemove(): void {
    isInstalled = !isInstalled;
    // After a removal, an older version may be installed.
    version = isInstalled ? Math.max(1, version - pick([0, 0, 1])) : version;
    const name = isInstalled ? `install ${version}` : "uninstall";
    log.push(name);
    pending.push({ body: isInstalled ? portal.install(version) : portal.uninstall(), name });
  }

  function addDeal(): void {
    const deal = `${++deals}`;
    pending.push({ body: portal.event("ONCRMDEALADD", { ID: deal }), name: `deal ${deal}`, deal });
  }

  async function deliverNext(): Promise<void> {
    // Events never overtake a removal: they could not be told from those before it.
    const removal = pending.findIndex(({ name }) => name === "uninstall");
    const candidates = removal < 0 ? pending.length : Math.max(1, removal);
    const [event] = pending.splice(random() < 0.7 ? 0 : Math.floor(random() * candidates), 1);
    if (event === undefined) return;
    const done = deliver(event);
    if (random() < 0.5) await Promise.all([done, pause(0).then(() => anyApp().tick()).catch(() => {})]);
    else await done;
  }

  async function deploy(): Promise<void> {
    const i = Math.floor(random() * processes.length);
    const { app, faults } = processes[i]!;
    const isKilled = random() < 0.5;
    // Nothing of a killed process reaches the storage.
    if (isKilled) faults.unavailable = 1;
    const closed = app.close();
    code = { versions: code.versions + pick([0, 1]), upgrades: code.upgrades + pick([0, 1]) };
    log.push(`${isKilled ? "kill" : "close"} process ${i}; the next one has ${JSON.stringify(code)}`);
    processes[i] = start();
    await closed;
  }

  for (let i = 0, length = 5 + Math.floor(random() * 25); i < length; i++) {
    // Events in the same second have no order.
    now += SECOND + Math.floor(random() * 5 * SECOND);
    const fate = random();
    if (!isInstalled && random() < 0.6) installOrRemove();
    else if (fate < 0.18) isInstalled && update();
    else if (fate < 0.21) isInstalled && installOrRemove();
    else if (fate < 0.33) isInstalled && addDeal();
    else if (fate < 0.75) await deliverNext();
    // Not so long that tokens of pending events expire.
    else if (fate < 0.8) now += pick(pending.length > 0 ? [SECOND, 61 * SECOND] : [61 * SECOND, HOUR, 8 * DAY]);
    else if (fate < 0.88) await operate("tick", (app) => app.tick());
    else if (fate < 0.91) await operate("check", (app) => app.check(MEMBER_ID));
    else if (fate < 0.93) await operate("retry", (app) => app.admin.retry(MEMBER_ID));
    else if (fate < 0.95) await operate("rollback", (app) => app.admin.rollback(MEMBER_ID));
    else await deploy();
    if (random() < 0.5) await pause(0);
  }

  log.push("failures end");
  hasFailures = false;
  await Promise.all(processes.map(({ app }) => app.close()));
  code = { versions: LATEST, upgrades: LATEST };
  const { app } = processes[0] = start();
  processes.length = 1;
  // The lease of the last process expires.
  for (now += 61 * SECOND; pending.length > 0;) await deliver(pending.shift()!);
  for (let i = 0; i < 12; i++) {
    now += i < 5 ? 2 * HOUR : 4 * DAY;
    if (i === 3) await operate("check", () => app.check(MEMBER_ID));
    if (i === 4) await operate("retry", () => app.admin.retry(MEMBER_ID));
    await untilIdle();
    log.push(`  tick ${JSON.stringify(await app.tick())}`);
    await untilIdle();
  }
  await app.close();

  const record = await currentRecord();
  assert(isRefused || (record?.status === "installed") === isInstalled, `saw ${record?.status}`);
  assert.equal(record?.lease, undefined);
  assert(
    record?.due === undefined || entryTime(record.due) > now,
    `the portal is due at ${record?.due}, now is ${now}`,
  );
  if (outage === 0) {
    const due = await Array.fromAsync(listDue(storage, Infinity), (entry) => entry.due);
    assert.deepEqual(
      due,
      record?.due === undefined ? [] : [record.due],
      "the schedule has only the entry of the record",
    );
  }
  for (const deal of accepted) assert(seen.has(deal), `no handler saw deal ${deal}`);
  if (record === undefined || isRefused) return { isRefused };
  if (isInstalled) assert.deepEqual([record.version, record.target], [`${version}.0.0`, `${version}.0.0`]);
  const inbox = await Array.fromAsync(storage.list(["inbox"]), ({ key }) => key.join(" "));
  assert.deepEqual(inbox, [], "the inbox is empty");
  const status = isInstalled ? "current" : "uninstalled";
  assert.deepEqual((await app.admin.counts()).map(({ status, count }) => [status, count]), [[status, 1]]);
  return { isRefused };
}
