/**
 * A portal's life by its seed: what happens to the portal, which of it is told, how often and in which order, and what goes
 * wrong meanwhile in one or two processes. Once nothing goes wrong any more, the end is the one that Bitrix24 says.
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
import { listDue } from "../../src/portal/schedule.ts";
import { CLIENT_ID, MEMBER_ID, post, recordingLogger } from "../support/app.ts";
import { seeded } from "../support/seeded.ts";

const SECOND = 1000;
const HOUR = 3600 * SECOND;
const DAY = 24 * HOUR;
/** The latest version there is. */
const LATEST = 6;

/** One that can be killed. */
interface Process {
  readonly app: App;
  readonly faults: Faults;
}

/** An event on its way. */
interface Mail {
  readonly body: string;
  readonly what: string;
  /** Of a deal. */
  readonly deal?: string;
}

/** What a life was about; it says more than its seed when it ended wrong. */
export interface Life {
  /** An event could not be verified, so that the app may know less than Bitrix24. */
  readonly isRefused: boolean;
}

/**
 * Lives the life of `seed`.
 *
 * @throws {Error} with what happened, when it ends wrong
 */
export async function live(seed: number): Promise<Life> {
  const story: string[] = [];
  try {
    return await lived(seed, story);
  } catch (error) {
    throw new Error(`life ${seed} ended wrong:\n${story.join("\n")}`, { cause: error });
  }
}

async function lived(seed: number, story: string[]): Promise<Life> {
  const chance = seeded(seed);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(chance() * from.length)]!;
  let now = Date.UTC(2026, 10, 1);
  const clock = (): number => now;
  const storage = memoryStorage();
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clock });
  const portal = bitrix24.portal({ memberId: MEMBER_ID });
  const { logger } = recordingLogger();

  // What this life is like.
  const throws = pick([0, 0.1, 0.3]);
  const outage = pick([0, 0, 0.02]);
  const isMapped = chance() < 0.3;
  const sleeps = chance() < 0.5;

  let isStorm = true;
  /** What the code of the next deploy knows. */
  let code = { versions: 3, upgrades: 3 };
  let started = 0;
  let version = 0;
  let isInstalled = false;
  let isRefused = false;
  let deals = 0;
  const mails: Mail[] = [];
  const accepted = new Set<string>();
  const heard = new Set<string>();

  function mayFail(where: string): void {
    if (!isStorm || chance() >= throws) return;
    const error = pick([
      () => new Error("it went wrong"),
      () => new NonRetriableError("it cannot go right"),
      () => new RetryAfterError(pick([0, HOUR, 10 * DAY])),
    ])();
    story.push(`    ${where}: ${error.message}`);
    throw error;
  }

  function start(): Process {
    const faults: Faults = { unavailable: isStorm ? outage : 0, lostReply: isStorm ? outage : 0 };
    const names = Array.from({ length: code.versions }, (_, i) => [`${i + 1}`, `${i + 1}.0.0`]);
    const id = ++started;
    let texts = 0;
    const app = createApp({
      storage: { ...faultyStorage(storage, faults, seed + id), close: () => Promise.resolve() },
      ...{ clock, clientId: CLIENT_ID, clientSecret: "client-secret-0123456789abcdef" },
      random: () => `${id}-${++texts}`,
      acknowledge: pick(["stored", "handled"]),
      ...{ logger, fetch: bitrix24.fetch, lookup: () => Promise.resolve(undefined), tickEveryMs: false },
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
      heard.add(String(event.data.extra.ID));
    }).on(["ONAPPINSTALL", "ONAPPUPDATE"], ({ event }) => mayFail(event.name));
    return { app, faults };
  }

  const processes = Array.from({ length: pick([1, 2]) }, start);
  const anApp = (): App => pick(processes).app;

  async function deliver(mail: Mail): Promise<void> {
    const response = await anApp().fetch(post(mail.body));
    await response.body?.cancel();
    story.push(`  ${mail.what}: ${response.status}`);
    assert([200, 403, 503].includes(response.status), `saw ${response.status} for ${mail.what}`);
    if (response.status === 403) isRefused = true;
    if (response.status === 200 && mail.deal !== undefined) accepted.add(mail.deal);
    if (response.status !== 503) return;
    // The proxy before the app sends it again, after a while.
    now += SECOND;
    mails.unshift(mail);
  }

  const recordNow = async (): Promise<PortalRecord | undefined> =>
    (await storage.get<PortalRecord>(portalKey(MEMBER_ID)))?.value;

  /** Waits for what goes on behind answers and calls. */
  async function rest(): Promise<void> {
    do await pause(2); while (((await recordNow())?.lease?.until ?? 0) > now);
  }

  /** What a person does may be refused, in words. */
  async function ask(what: string, does: (app: App) => Promise<unknown>): Promise<void> {
    story.push(`  ${what}`);
    await does(anApp()).catch((error) => {
      story.push(`    ${error.message}`);
      assert(error instanceof OnAppUpdateError || isStorm, error);
    });
  }

  function update(): void {
    if (version === LATEST) return;
    const body = portal.update(++version, { rotateToken: chance() < 0.2 });
    const copies = pick([0, 1, 1, 1, 2]);
    story.push(`the portal has version ${version}, told ${copies} times`);
    for (let i = 0; i < copies; i++) mails.push({ body, what: `update to ${version}` });
  }

  function move(): void {
    isInstalled = !isInstalled;
    // Who removes the app may install an older version later.
    version = isInstalled ? Math.max(1, version - pick([0, 0, 1])) : version;
    const what = isInstalled ? `install ${version}` : "uninstall";
    story.push(what);
    mails.push({ body: isInstalled ? portal.install(version) : portal.uninstall(), what });
  }

  function addDeal(): void {
    const deal = `${++deals}`;
    mails.push({ body: portal.event("ONCRMDEALADD", { ID: deal }), what: `deal ${deal}`, deal });
  }

  async function someMail(): Promise<void> {
    // What overtakes a removal cannot be told from what came before it.
    const end = mails.findIndex(({ what }) => what === "uninstall");
    const among = end < 0 ? mails.length : Math.max(1, end);
    const [mail] = mails.splice(chance() < 0.7 ? 0 : Math.floor(chance() * among), 1);
    if (mail === undefined) return;
    const done = deliver(mail);
    if (chance() < 0.5) await Promise.all([done, pause(0).then(() => anApp().tick()).catch(() => {})]);
    else await done;
  }

  async function deploy(): Promise<void> {
    const i = Math.floor(chance() * processes.length);
    const { app, faults } = processes[i]!;
    const isKilled = chance() < 0.5;
    // Of one that is dead, nothing reaches the storage.
    if (isKilled) faults.unavailable = 1;
    const closed = app.close();
    code = { versions: code.versions + pick([0, 1]), upgrades: code.upgrades + pick([0, 1]) };
    story.push(`${isKilled ? "kill" : "close"} process ${i}; the next one knows ${JSON.stringify(code)}`);
    processes[i] = start();
    await closed;
  }

  for (let i = 0, length = 5 + Math.floor(chance() * 25); i < length; i++) {
    // Events of one second are in no order.
    now += SECOND + Math.floor(chance() * 5 * SECOND);
    const fate = chance();
    if (!isInstalled && chance() < 0.6) move();
    else if (fate < 0.18) isInstalled && update();
    else if (fate < 0.21) isInstalled && move();
    else if (fate < 0.33) isInstalled && addDeal();
    else if (fate < 0.75) await someMail();
    // Not so much that tokens of events on their way end.
    else if (fate < 0.8) now += pick(mails.length > 0 ? [SECOND, 61 * SECOND] : [61 * SECOND, HOUR, 8 * DAY]);
    else if (fate < 0.88) await ask("tick", (app) => app.tick());
    else if (fate < 0.91) await ask("check", (app) => app.check(MEMBER_ID));
    else if (fate < 0.93) await ask("retry", (app) => app.admin.retry(MEMBER_ID));
    else if (fate < 0.95) await ask("rollback", (app) => app.admin.rollback(MEMBER_ID));
    else await deploy();
    if (chance() < 0.5) await pause(0);
  }

  story.push("nothing goes wrong any more");
  isStorm = false;
  await Promise.all(processes.map(({ app }) => app.close()));
  code = { versions: LATEST, upgrades: LATEST };
  const { app } = processes[0] = start();
  processes.length = 1;
  // What the last process had is free when its lease is over.
  for (now += 61 * SECOND; mails.length > 0;) await deliver(mails.shift()!);
  for (let i = 0; i < 12; i++) {
    now += i < 5 ? 2 * HOUR : 4 * DAY;
    if (i === 3) await ask("check", () => app.check(MEMBER_ID));
    if (i === 4) await ask("retry", () => app.admin.retry(MEMBER_ID));
    await rest();
    story.push(`  tick ${JSON.stringify(await app.tick())}`);
    await rest();
  }
  await app.close();

  const record = await recordNow();
  assert(isRefused || (record?.status === "installed") === isInstalled, `saw ${record?.status}`);
  assert.equal(record?.lease, undefined);
  assert(
    record?.due === undefined || Number(record.due.slice(0, 14)) > now,
    `saw it due at ${record?.due}, now ${now}`,
  );
  if (outage === 0) {
    const due = await Array.fromAsync(listDue(storage, Infinity), (entry) => entry.due);
    assert.deepEqual(due, record?.due === undefined ? [] : [record.due], "the schedule is that of the record");
  }
  for (const deal of accepted) assert(heard.has(deal), `wanted that deal ${deal} was heard`);
  if (record === undefined || isRefused) return { isRefused };
  if (isInstalled) assert.deepEqual([record.version, record.target], [`${version}.0.0`, `${version}.0.0`]);
  const inbox = await Array.fromAsync(storage.list(["inbox"]), ({ key }) => key.join(" "));
  assert.deepEqual(inbox, [], "nothing is left to do");
  const status = isInstalled ? "current" : "uninstalled";
  assert.deepEqual((await app.admin.counts()).map((one) => [one.status, one.count]), [[status, 1]]);
  return { isRefused };
}
