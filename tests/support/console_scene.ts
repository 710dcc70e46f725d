/** A vendor's day in the middle of an incident, for tests and pictures of the console. */
import { createHash } from "node:crypto";
import {
  type App,
  type BlockedReason,
  countCall,
  createApp,
  deployed,
  memoryStorage,
  type Plugin,
  type PluginHost,
  type Storage,
} from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { B24Error } from "@b24/onappupdate/errors";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { createSnapshots } from "../../src/portal/count_snapshots.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../src/portal/record.ts";
import { writeRecord } from "../../src/portal/record_store.ts";
import { createTotals, type PortalCount } from "../../src/portal/totals.ts";
import { CLIENT_ID, post, quietLogger } from "./app.ts";
import { inOrderOf } from "./rollout.ts";
import { virtualTime } from "./time.ts";

const HOUR_MS = 60 * 60 * 1000;
const DAY_MS = 24 * HOUR_MS;

/** When the scene takes place. */
export const SCENE_TIME = Date.UTC(2026, 10, 30, 9, 42, 17);

const ADA = { by: "ada", reason: "OPS-217: lists have another name on old plans" };
const IVAN = { by: "ivan", reason: "OPS-214: the customer has paid" };

/** The scene. */
export interface ConsoleScene {
  readonly app: App;
  readonly storage: Storage;
  readonly clock: () => number;
  /** A parked portal with a long history. */
  readonly parked: string;
  /** A portal that is blocked. */
  readonly blocked: string;
}

/** Options of {@linkcode consoleScene}. */
export interface SceneOptions {
  /** Number of portals. @default 1280 */
  readonly portals?: number;
  /** Additional text of portals, errors and reasons. */
  readonly mark?: string;
  /** Additional text of errors only. */
  readonly error?: string;
  /** Called before the app starts: a console has to be made before. */
  readonly prepare?: (app: App, clock: () => number) => void | Promise<void>;
}

const NAMES = [
  ...["acme", "nordlicht", "vostok", "bluebird", "kontor", "zephyr", "altair", "brauhaus", "citrus", "delta"],
  ...["emerald", "falcon", "gorizont", "hansa", "isar", "jupiter", "karavan", "lumen", "meridian", "neva"],
];
const ZONES = ["com", "de", "ru", "eu", "kz", "com.br"];

/** Real ones are digests, too. */
function memberIdOf(n: number): string {
  return createHash("md5").update(`portal ${n}`).digest("hex");
}

function domainOf(n: number): string {
  const name = NAMES[n % NAMES.length]!;
  const round = Math.floor(n / NAMES.length);
  return `${name}${round === 0 ? "" : `-${round}`}.bitrix24.${ZONES[n % ZONES.length]}`;
}

/** Returns an app with portals, 40 of which are parked for three causes, a rollout that has paused itself, and its history. */
export async function consoleScene(
  { portals = 1280, mark = "", error = "", prepare = () => {} }: SceneOptions = {},
): Promise<ConsoleScene> {
  const storage = memoryStorage();
  let now = SCENE_TIME - 3 * HOUR_MS;
  const clock = (): number => now;
  const ids = Array.from({ length: portals }, (_, n) => memberIdOf(n));
  const failing = inOrderOf("3.0.0", ids).slice(20, 200);
  const parked = failing[0]!;
  await storePast(storage, ids, { mark, early: parked });
  await storeSnapshots(storage, portals);
  now = SCENE_TIME - 26 * DAY_MS;
  await releaseBefore(storage, parked, { clock, later: (ms) => now += ms });
  now = SCENE_TIME - 3 * HOUR_MS;
  const outbox = letters(mark);
  const app = createApp({
    ...{ storage, clock, clientId: CLIENT_ID, versions: deployed("3.0.0"), logger: quietLogger, tickEveryMs: false },
    ...{
      checks: false,
      retry: { maxAttempts: 2, initialDelayMs: 60_000 },
      fetch: () => Promise.reject(new Error("no network")),
    },
    rollout: {
      stages: [{ portals: 5 }, { percent: 30, forMs: DAY_MS }, { percent: 100 }],
      pauseWhen: { failed: 40, percent: 0 },
    },
  }).use(applicationToken()).use(outbox.plugin).upgrade("3.0.0", async ({ memberId, step, progress, portal }) => {
    await step("copy settings", () => {
      countCall("app.option.get");
      now += 180;
    });
    await step("convert lists", () => {
      now += 640;
      for (let i = 0; i < 12; i++) countCall("crm.item.list");
      const i = failing.indexOf(memberId);
      if (i >= 0 && i < 44) throw errorOf(i, portal.domain, mark + error);
    });
    progress(40, 40);
    await step("register robots", () => void countCall("bizproc.robot.add"));
  }) as App;
  await prepare(app, clock);
  await app.start();
  // The time of the first stage, and of the second one until its failures pause it.
  for (let minute = 0; minute < 12; minute++) {
    await app.tick({ limit: 30 });
    if (minute === 1) {
      await app.admin.rollout.promote("3.0.0", { by: "ada", reason: "OPS-210: the first five look good" });
    }
    now += minute < 2 ? HOUR_MS : 4 * 60_000;
  }
  now = SCENE_TIME - 20 * 60_000;
  await app.tick();
  await operate(app, { retried: failing[1]!, ids, mark });
  await receiveUnverified(app, mark);
  await outbox.put();
  now = SCENE_TIME - 60_000;
  await app.tick();
  now = SCENE_TIME;
  const [blocked] = (await app.admin.portals({ blockedOn: "payment", limit: 1 })).items;
  return { app, storage, clock, parked, blocked: blocked!.memberId };
}

/** Brings a portal to the version before. */
async function releaseBefore(
  storage: Storage,
  memberId: string,
  { clock, later }: { readonly clock: () => number; readonly later: (ms: number) => void },
): Promise<void> {
  const app = createApp({
    ...{ storage, clock, clientId: CLIENT_ID, versions: deployed("2.5.0"), logger: quietLogger, tickEveryMs: false },
    ...{ checks: false, rollout: { stages: [{ portals: 1 }], first: [memberId] } },
  }).use(applicationToken()).upgrade("2.5.0", async ({ step, pages, sleep }) => {
    await step("read field definitions", () => {
      countCall("crm.item.fields");
      later(410);
    });
    await pages("move deals", 0, (cursor) => {
      for (let i = 0; i < 50; i++) countCall("crm.item.update");
      countCall("crm.item.list");
      later(2300);
      return { next: cursor === 3 ? null : cursor + 1, done: 50, total: 200 };
    });
    await sleep("let the search index catch up", 10 * 60_000);
    await step("bind placements", () => {
      countCall("placement.bind");
      later(260);
    });
  });
  await app.start();
  await app.tick();
  later(11 * 60_000);
  await app.tick();
  await app.close();
}

function errorOf(i: number, domain: string, mark: string): Error {
  if (i < 26) {
    const description = `no list "tasks" on ${domain}${mark}`;
    return new B24Error({ code: "ERROR_NOT_FOUND", description, status: 404, method: "lists.get" });
  }
  if (i < 37) return new Error(`field UF_CRM_${1000 + i} has 12 values, wanted at most 10${mark}`);
  return new TypeError(`cannot read "stages" of pipeline ${i}${mark}`);
}

/** Stores portals as the last year has left them. */
async function storePast(
  storage: Storage,
  ids: readonly string[],
  { mark, early }: { readonly mark: string; readonly early: string },
): Promise<void> {
  const totals = createTotals({ storage, time: virtualTime(), log: quietLogger });
  const blocks: readonly (readonly [BlockedReason, string])[] = [
    ["payment", "the paid period of the app is over"],
    ["scope", `the app needs the scope "bizproc", which an administrator grants by updating it${mark}`],
    ["administrator", "the call needs the token of an administrator, who has to open the app"],
  ];
  for (const [n, memberId] of ids.entries()) {
    const version = memberId === early ? "2.4.0" : n % 29 === 0 ? "2.3.0" : n % 6 === 0 ? "2.4.0" : "2.5.0";
    const block = n % 61 === 7 ? blocks[n % 3] : undefined;
    const record: PortalRecord = {
      ...{
        format: PORTAL_FORMAT,
        memberId,
        domain: `${domainOf(n)}${mark}`,
        status: n % 47 === 46 ? "uninstalled" : "installed",
      },
      ...{ clientEndpoint: `https://${domainOf(n)}/rest/`, generation: 1, initialVersion: "2.3.0", version },
      ...{
        target: block === undefined ? version : "2.5.1",
        applied: [],
        installedTs: 1,
        latestTs: 1,
        installer: "done",
      },
      ...{ scope: ["crm", "user", "placement", "bizproc"] },
      ...(block !== undefined && {
        blocked: {
          on: block[0],
          message: block[1],
          since: SCENE_TIME - (n + 3) * HOUR_MS,
          nextTryAt: SCENE_TIME + HOUR_MS,
        },
      }),
    };
    await writeRecord(storage, memberId, () => ({ record }), null);
  }
  await totals.close();
}

/** Stores the counts of 90 days: versions come and go. */
async function storeSnapshots(storage: Storage, portals: number): Promise<void> {
  let now = SCENE_TIME - 90 * DAY_MS;
  const curve = (days: number): number => 1 / (1 + Math.exp(-days));
  const snapshots = createSnapshots({ storage, clock: () => now }, () => {
    const day = (now - SCENE_TIME) / DAY_MS;
    const all = Math.round(portals * (0.72 + 0.24 * (day + 90) / 90));
    const parts: readonly (readonly [string, number])[] = [
      ["2.5.0", curve((day + 4) * 1.6)],
      ["2.4.0", curve((day + 34) / 3)],
      ["2.3.0", curve((day + 80) / 4)],
      ["2.2.0", 1],
    ];
    let left = all;
    const counts: PortalCount[] = [];
    for (const [version, part] of parts) {
      const floor = version === "2.5.0" ? 0.8 : version === "2.4.0" ? 0.84 : 0.98;
      const count = version === "2.2.0" ? left : Math.round(left * part * floor);
      left -= count;
      if (count > 0) counts.push({ version, status: "current", count });
    }
    return Promise.resolve(counts);
  });
  for (; now < SCENE_TIME - 3 * HOUR_MS; now += now < SCENE_TIME - 8 * DAY_MS ? DAY_MS : HOUR_MS) {
    await snapshots.take();
  }
}

/** The actions of operators. */
async function operate(
  app: App,
  { retried, ids, mark }: { readonly retried: string; readonly ids: readonly string[]; readonly mark: string },
): Promise<void> {
  const { admin } = app;
  await admin.noteAction({ ...IVAN, action: "export", details: { list: "portals", format: "csv" } });
  await admin.setTarget(ids[7]!, "2.5.0", IVAN).catch(() => {});
  await admin.noteAction({ by: "guest", reason: "none", action: "pause", refusal: `guest may only read${mark}` });
  await admin.batches.start({
    ...ADA,
    action: "retry",
    match: { status: "blocked", blockedOn: "administrator" },
    expect: 1000,
  });
  await app.tick();
  await admin.retry(retried, { ...ADA, reason: `${ADA.reason}${mark}` });
  await app.tick();
  await admin.silences.add({
    ...{ kinds: ["portal_parked", "rollout_paused"], upgradeId: "3.0.0", until: SCENE_TIME + 5 * HOUR_MS, ...ADA },
    reason: `${ADA.reason}${mark}`,
  });
  await admin.silences.add({ kinds: ["nothing_received"], until: SCENE_TIME + 3 * DAY_MS, ...IVAN });
}

/** Sends events that nobody can verify: Bitrix24 does not answer. */
async function receiveUnverified(app: App, mark: string): Promise<void> {
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
  for (let i = 0; i < 4; i++) {
    const portal = bitrix24.portal({
      memberId: memberIdOf(900_000 + i),
      domain: `new-${i}.bitrix24.com${mark === "" ? "" : ".example"}`,
    });
    await app.fetch(post(portal.install(2)));
  }
}

/** A plugin whose messages cannot be delivered. */
function letters(mark: string): { readonly plugin: Plugin; readonly put: () => Promise<void> } {
  let host: PluginHost | undefined;
  return {
    plugin: {
      name: "notifications",
      setup: (own) => void (host = own),
      outbox: {
        deliver: (message) =>
          Promise.reject(
            new Error(`${message === "dead" ? "403 Forbidden: the bot was removed" : "timeout of the webhook"}${mark}`),
          ),
        retry: { maxAttempts: 1 },
      },
    },
    put: async () => {
      for (let i = 0; i < 3; i++) {
        await host!.outbox.put("dead", {
          id: `parked:3.0.0:${i}${mark.slice(0, 150)}`,
          channel: i === 2 ? "email" : `telegram${mark.slice(0, 90)}`,
        });
      }
      await host!.outbox.put("later", { id: "rollout-paused:3.0.0", notBefore: SCENE_TIME + 90_000, channel: "slack" });
    },
  };
}
