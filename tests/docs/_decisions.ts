/** The decision table of `docs/verification.md`, and the outcome of one event for each of its combinations. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type App, B24Error, createApp, digestToken, memoryStorage, Secret } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import type { Key, Storage } from "@b24/onappupdate/storage";
import { type FakeBitrix24, fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { backgroundWork, CLIENT_ID, MEMBER_ID, OTHER_MEMBER_ID, post, quietLogger } from "../support/app.ts";
import { openedRecord } from "../support/credentials.ts";
import { root } from "../support/process.ts";
import { withoutWrite } from "../support/without_write.ts";

/** The values of each column that is a condition. */
const CONDITIONS = {
  token: ["equal", "previous", "other", "none"],
  portal: ["unknown", "installed", "removed", "reinstalled"],
  access: ["none", "administrator's", "user's", "other portal's", "other app's", "expired"],
  host: ["up", "behind", "down"],
  event: [
    ...[
      "install",
      "update",
      "uninstall",
      "payment",
      "payment expired",
      "method confirm",
      "test",
      "user ready",
      "other",
    ],
  ],
} as const;

const NAMES = Object.keys(CONDITIONS) as (keyof typeof CONDITIONS)[];

/** One value of each condition. */
export type Combination = { readonly [Name in keyof typeof CONDITIONS]: string };

/** One row of the table. */
export interface Row {
  /** From 1 on. */
  readonly number: number;
  readonly conditions: { readonly [Name in keyof typeof CONDITIONS]: readonly string[] };
  readonly outcome: Outcome;
}

/** The outcome of an event. */
export interface Outcome {
  /** HTTP status. */
  readonly answer: string;
  readonly effect: string;
  readonly claim: string;
  readonly tokenAfter: string;
  readonly identity: string;
}

/** Returns the rows of the table. */
export function readRows(): readonly Row[] {
  const page = readFileSync(join(root, "docs/verification.md"), "utf8");
  const text = page.split("\n## Decisions\n")[1]!.split("\n## ")[0]!;
  const lines = text.split("\n").filter((line) => line.startsWith("| ")).slice(2);
  return lines.map((line, index) => {
    const cells = line.split("|").slice(1, -1).map((cell) => cell.trim().replace("\\*", "*"));
    assert.equal(cells.length, 10, line);
    const conditions = Object.fromEntries(NAMES.map((name, i) => {
      const wanted: readonly string[] = cells[i] === "*" ? CONDITIONS[name] : cells[i]!.split(", ");
      for (const value of wanted) assert((CONDITIONS[name] as readonly string[]).includes(value), `${value}: ${line}`);
      return [name, wanted];
    })) as unknown as Row["conditions"];
    const [answer, effect, claim, tokenAfter, identity] = cells.slice(5) as [string, string, string, string, string];
    return { number: index + 1, conditions, outcome: { answer, effect, claim, tokenAfter, identity } };
  });
}

/** Returns all combinations. */
export function allCombinations(): readonly Combination[] {
  let all: Record<string, string>[] = [{}];
  for (const name of NAMES) all = all.flatMap((one) => CONDITIONS[name].map((value) => ({ ...one, [name]: value })));
  return all as Combination[];
}

/** Returns the first row that matches a combination. */
export function rowOf(rows: readonly Row[], combination: Combination): Row | undefined {
  return rows.find(({ conditions }) => NAMES.every((name) => conditions[name].includes(combination[name])));
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const START = Date.UTC(2027, 0, 1);
/** When the event is sent. The tokens of the installation have expired. */
const SENT = START + 6 * HOUR;

const [ADMIN, USER, SYSTEM_USER, STRANGER] = [5, 7, 1000, 9];

/** Fields that the storage has of a portal. */
interface StoredPortal {
  readonly status: string;
  readonly target?: string;
  readonly blocked?: { readonly on: string };
  readonly claims?: Readonly<Record<string, { readonly settled?: unknown; readonly droppedAt?: number }>>;
  readonly applicationToken?: { readonly current: string };
  readonly tokens?: readonly {
    readonly owner: string;
    readonly userId?: number;
    readonly isVerified?: boolean;
    readonly isAdmin?: boolean;
  }[];
}

/** A fake Bitrix24 with the portal in one state, and an app whose storage knows that. */
interface World {
  readonly bitrix24: FakeBitrix24;
  readonly portal: FakePortal;
  readonly tokens: Readonly<Record<string, string>>;
  now: number;
}

interface RunningApp {
  readonly app: App;
  readonly send: (body: string) => Promise<number>;
  /** Lets time pass, and does the work that is due then. */
  readonly pass: (ms: number) => Promise<void>;
  readonly record: () => Promise<StoredPortal | undefined>;
  readonly runs: () => number;
  readonly hasClaimed: () => boolean;
  /** The portal was blocked on a payment. */
  readonly wasUnpaid: () => boolean;
  isHostDown: boolean;
}

/** Brings the portal of a new fake into a state, and passes the body of each of its events to `send`. */
async function bring(state: string, send: (world: World, body: string) => Promise<void>): Promise<World> {
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clientSecret: "secret-0123456789", clock: () => world.now });
  const portal = bitrix24.portal({ memberId: MEMBER_ID });
  const tokens: Record<string, string> = { equal: "e".repeat(32), previous: "d".repeat(32), other: "f".repeat(32) };
  const world: World = { bitrix24, portal, tokens, now: START };
  portal.user(ADMIN, { admin: true });
  portal.user(USER, {});
  const step = async (body: string): Promise<void> => {
    const current = new URLSearchParams(body).get("auth[application_token]")!;
    if (current !== tokens.equal) [tokens.previous, tokens.equal] = [tokens.equal!, current];
    await send(world, body);
    world.now += HOUR;
  };
  if (state === "unknown") return world;
  await step(portal.install(1));
  world.now = SENT - (state === "installed" ? 1 : 3) * HOUR;
  await step(portal.update(2, { rotateToken: true }));
  if (state !== "installed") await step(portal.uninstall());
  if (state === "reinstalled") await step(portal.install(2));
  return world;
}

function appOf(world: World, storage: Storage): RunningApp {
  let [runs, hasClaimed, wasUnpaid] = [0, false, false];
  const { platform, settled } = backgroundWork();
  const app = createApp({
    storage: {
      ...withoutWrite(storage),
      put: (key, value, options) => {
        const { claims = {}, blocked } = key[0] === "portal" ? value as unknown as Partial<StoredPortal> : {};
        wasUnpaid ||= blocked?.on === "payment";
        hasClaimed ||= Object.values(claims).some((claim) => claim.settled === undefined && !claim.droppedAt);
        return storage.put(key, value, options);
      },
    },
    clientId: CLIENT_ID,
    clientSecret: "secret-0123456789",
    clock: () => world.now,
    tickEveryMs: false,
    // They would make up for events that are refused.
    checks: false,
    logger: quietLogger,
    fetch: (input, init) => {
      const { host } = new URL(input instanceof Request ? input.url : input);
      if (running.isHostDown && /^oauth\./.test(host)) return Promise.reject(new TypeError("down"));
      return world.bitrix24.fetch(input, init);
    },
  }).use(applicationToken()).on(
    [...new Set(Object.values(WIRE).map(({ name }) => name))] as ["ONAPPTEST"],
    () => void runs++,
  );
  const running: RunningApp = {
    app,
    isHostDown: false,
    runs: () => runs,
    hasClaimed: () => hasClaimed,
    wasUnpaid: () => wasUnpaid,
    record: async () => await openedRecord(storage, MEMBER_ID),
    send: async (body) => {
      const { status } = await app.fetch(post(body), platform);
      await settled();
      return status;
    },
    pass: async (ms) => {
      world.now += ms;
      await app.tick();
      await settled();
    },
  };
  return running;
}

/** Returns the names and `data` of the events. */
const WIRE: Readonly<Record<string, { readonly name: string; readonly data: Readonly<Record<string, string>> }>> = {
  install: { name: "ONAPPINSTALL", data: { VERSION: "3", ACTIVE: "Y", INSTALLED: "Y" } },
  update: { name: "ONAPPUPDATE", data: { VERSION: "3", PREVIOUS_VERSION: "2" } },
  uninstall: { name: "ONAPPUNINSTALL", data: { CLEAN: "1" } },
  payment: { name: "ONAPPPAYMENT", data: { CODE: "a.b", VERSION: "2", STATUS: "S", PAYMENT_EXPIRED: "N" } },
  "payment expired": { name: "ONAPPPAYMENT", data: { CODE: "a.b", VERSION: "2", STATUS: "S", PAYMENT_EXPIRED: "Y" } },
  "method confirm": { name: "ONAPPMETHODCONFIRM", data: { TOKEN: "secret-of-it", METHOD: "a.b", CONFIRMED: "1" } },
  test: { name: "ONAPPTEST", data: { "QUERY][any": "x" } },
  "user ready": { name: "ONAPPUSERREADY", data: {} },
  other: { name: "ONCRMDEALADD", data: { "FIELDS][ID": "1" } },
};

/** Returns the event of a combination. */
function bodyOf({ token, access, event }: Combination, world: World): string {
  const { bitrix24, portal, tokens, now } = world;
  const { name, data } = WIRE[event]!;
  const systemUser = event === "user ready" ? portal.tokens(SYSTEM_USER) : undefined;
  const owner = access === "user's" ? USER : access === "administrator's" || access === "expired" ? ADMIN : STRANGER;
  const others = access === "other app's"
    ? { memberId: MEMBER_ID, clientId: "app.other" }
    : { memberId: OTHER_MEMBER_ID };
  let from = portal;
  if (owner === STRANGER) {
    from = bitrix24.portal({ ...others, domain: "other.bitrix24.de" });
    from.install(3);
  }
  world.now = access === "expired" ? now - 2 * HOUR : now;
  const pair = access === "none" ? undefined : from.tokens(owner);
  world.now = now;
  const auth = {
    member_id: MEMBER_ID,
    domain: portal.domain,
    ...(token === "none" ? {} : { application_token: tokens[token]! }),
    ...(pair === undefined ? {} : {
      access_token: pair.accessToken,
      refresh_token: pair.refreshToken,
      expires: String(pair.expiresAt / 1000),
      user_id: String(owner),
    }),
  };
  const user = systemUser === undefined ? {} : {
    access_token: systemUser.accessToken,
    refresh_token: systemUser.refreshToken,
    expires: String(systemUser.expiresAt / 1000),
    user_id: String(SYSTEM_USER),
  };
  const fields = (map: string, values: Readonly<Record<string, string>>): [string, string][] =>
    Object.entries(values).map(([key, value]) => [`${map}[${key}]`, value]);
  return new URLSearchParams([
    ...[["event", name], ["ts", String(now / 1000)]],
    ...fields("data", { ...data, ...user, LANGUAGE_ID: "de" }),
    ...fields("auth", auth),
  ]).toString();
}

/** Changes Bitrix24 to what the event says. Of a portal that has not the app, it says that it has been installed. */
function happen({ event, portal: state }: Combination, { portal }: World): void {
  if (state === "unknown" || state === "removed") portal.install(3);
  else if (event === "install" || event === "update") portal.update(3);
  if (event === "uninstall") portal.uninstall();
  if (event === "payment expired") {
    const refusal = { error: "PAYMENT_REQUIRED", error_description: "Payment required" };
    portal.answer("profile", () => Response.json(refusal, { status: 401 }));
  }
}

const snapshots = new Map<string, Promise<readonly (readonly [Key, unknown])[]>>();

/** Returns what an app has stored of a portal in a state. Each state is built once. */
async function snapshotOf(state: string): Promise<readonly (readonly [Key, unknown])[]> {
  const storage = memoryStorage();
  let running: RunningApp | undefined;
  await bring(state, async (world, body) => {
    running ??= appOf(world, storage);
    assert.equal(await running.send(body), 200);
    for (const ms of [MINUTE, MINUTE, 10 * MINUTE]) await running.pass(ms);
    world.now -= 12 * MINUTE;
  });
  const record = await running?.record();
  const statuses: Readonly<Record<string, string>> = { removed: "uninstalled", installed: "installed" };
  assert.equal(record?.status, statuses[state === "reinstalled" ? "installed" : state]);
  const entries: [Key, unknown][] = [];
  for await (const { key, value } of storage.list<unknown>([])) entries.push([key, value]);
  return entries;
}

/** Sends the event of a combination to an app with a portal in that state, and returns what becomes of it. */
export async function outcomeOf(combination: Combination, row: Row): Promise<Outcome> {
  const { token, portal: state, access, host, event } = combination;
  const snapshot = snapshots.get(state) ?? snapshotOf(state);
  snapshots.set(state, snapshot);
  const storage = memoryStorage();
  for (const [key, value] of await snapshot) await storage.put(key, value);
  const world = await bring(state, () => Promise.resolve());
  world.now = SENT;
  const running = appOf(world, storage);
  const before = await running.record();
  const body = bodyOf(combination, world);
  if (host !== "behind") happen(combination, world);
  running.isHostDown = host === "down";
  const answer = String(await running.send(body));
  const isNow = running.runs() > 0;
  await running.pass(2 * MINUTE);
  const isEarly = running.runs() > 0;
  running.isHostDown = false;
  if (host === "behind") happen(combination, world);
  for (const ms of [MINUTE, 10 * MINUTE, HOUR]) await running.pass(ms);
  const isLate = running.runs() > 0;
  assert(running.runs() <= 1, "its handlers ran more than once");
  const isStored = !isLate || hasEffect(combination, row, running, await running.record());
  // A host that answers at once does not show whether the event waited for it.
  const mustWait = host === "down" ||
    (host === "behind" && (row.outcome.claim === "yes" || before?.status !== "installed"));
  const seen = !isLate ? "never" : isNow ? "now" : isEarly && mustWait ? "early" : "later";
  const effect = !isStored
    ? "handlers only"
    : seen === "now" && !mustWait && row.outcome.effect === "later"
    ? "later"
    : seen;

  world.portal.answer("profile", undefined);
  await running.pass(HOUR);
  await running.app.check(MEMBER_ID).catch(() => {});
  await tryAllUsers(running.app);
  await running.app.check(MEMBER_ID).catch(() => {});
  const settled = await running.record();
  await running.app.close();
  return {
    answer,
    effect,
    claim: running.hasClaimed() ? "yes" : "no",
    // A new installation starts without one.
    tokenAfter: await tokenAfterOf(
      row,
      isLate && before?.status === "uninstalled" ? undefined : before,
      settled,
      world.tokens[token],
    ),
    identity: identityOf(access, event, settled),
  };
}

/** Returns whether the version, the removal or the payment state of an event whose handlers ran is stored. */
function hasEffect(
  { event }: Combination,
  { outcome }: Row,
  { wasUnpaid }: RunningApp,
  after: StoredPortal | undefined,
): boolean {
  if (event === "uninstall") return after?.status === "uninstalled";
  if (after?.status !== "installed") return false;
  if (event === "install" || event === "update") return after.target === "3.0.0";
  return event !== "payment expired" || outcome.claim === "no" || wasUnpaid();
}

/** Has every stored token pair verified, by a call that each user is denied. */
async function tryAllUsers({ credentials }: App): Promise<void> {
  const denied = new B24Error({ code: "ACCESS_DENIED", description: "", status: 403, method: "profile" });
  await credentials.call(MEMBER_ID, () => Promise.reject(denied)).catch(() => {});
}

async function tokenAfterOf(
  { outcome }: Row,
  before: StoredPortal | undefined,
  after: StoredPortal | undefined,
  sent: string | undefined,
): Promise<string> {
  const current = after?.applicationToken?.current;
  const own = sent === undefined ? before?.applicationToken?.current : await digestToken(new Secret(sent));
  const values: Readonly<Record<string, string | undefined>> = {
    kept: before?.applicationToken?.current,
    "event's": own,
  };
  // The expected one first, for both may be the same.
  return [outcome.tokenAfter, "kept", "event's"].find((value) => values[value] === current) ?? "another";
}

function identityOf(access: string, event: string, after: StoredPortal | undefined): string {
  const tokens = after?.tokens ?? [];
  const known = (userId: number, owner: string) =>
    tokens.find((pair) => pair.isVerified === true && pair.userId === userId && pair.owner === owner);
  if (known(STRANGER, "user") !== undefined) return "stranger";
  const isSystem = known(SYSTEM_USER, "system") !== undefined;
  const isAdmin = access === "administrator's" || access === "expired";
  if (isAdmin && known(ADMIN, "user")?.isAdmin === true) return event === "user ready" && !isSystem ? "half" : "owner";
  if (isSystem) return "system";
  const user = known(USER, "user");
  if (access === "user's" && user !== undefined) return user.isAdmin === true ? "administrator" : "owner";
  // `owner` of a row says that the owner is stored if the token is of this app on this portal.
  return "no";
}
