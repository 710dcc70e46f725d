/** A flood of forged events with authentic ones among them, in virtual time. */
import process from "node:process";
import type { FakePortal } from "@b24/onappupdate/testing";
import { CLIENT_ID } from "../support/app.ts";
import { seeded } from "../support/seeded.ts";
import { memberIdOf, type StoredSize, storedSize, type VirtualWorld, virtualWorld } from "./_virtual_world.ts";

/** The size of a flood. Events are spread evenly over its minute. */
export interface FloodOptions {
  /** Forged events a second. */
  readonly perSecond: number;
  /** Portals that the app knows and the flood names. Each is updated twice during the flood. */
  readonly known: number;
  /** Made-up `member_id`s. */
  readonly unknown: number;
  /** Authentic installations of new portals. */
  readonly installations: number;
}

/** The effects of a flood. */
export interface FloodFigures {
  /** Answers by HTTP status, of forged and of authentic events. */
  readonly forged: Readonly<Record<number, number>>;
  readonly authentic: Readonly<Record<number, number>>;
  /** Requests to the OAuth hosts in each minute from the start, and how many of them were about forged tokens. */
  readonly requestsPerMinute: readonly number[];
  /** Seconds from the start until an update or installation took effect, in order. */
  readonly updatesAfter: readonly number[];
  readonly installationsAfter: readonly number[];
  /** Descriptions of what is in effect and not authentic. */
  readonly forgedInEffect: readonly string[];
  /** The stored entries before the flood, at the peak, and a day later. */
  readonly stored: { readonly before: StoredSize; readonly peak: StoredSize; readonly after: StoredSize };
  /** Number of stored entries of events that still wait a day later. */
  readonly waiting: number;
  /** Growth of the heap at the peak, with the fake Bitrix24, in MiB. Depends on the garbage collector. */
  readonly heapMiB: number;
}

const FLOOD_SECONDS = 60;
/** Seconds from the start within which everything authentic takes effect. */
export const LIMIT_SECONDS = 5 * 60;
const DAY_MS = 24 * 60 * 60 * 1000;

/** Runs a flood. */
export async function runFlood(options: FloodOptions): Promise<FloodFigures> {
  const world = virtualWorld();
  const { bitrix24, storage, time } = world;
  const known = Array.from({ length: options.known }, (_, i) => world.portal(i));
  for (const portal of known) await world.send(portal.install(2));
  await time.elapse(60 * 60 * 1000);

  const before = await storedSize(storage);
  const heapBefore = process.memoryUsage().heapUsed;
  const forge = createForger(options, world, known);
  const authentic = authenticEvents(options, world, known);
  const statuses: Record<"forged" | "authentic", Record<number, number>> = { forged: {}, authentic: {} };
  const send = async (kind: "forged" | "authentic", body: string): Promise<void> => {
    const status = await world.send(body);
    statuses[kind][status] = (statuses[kind][status] ?? 0) + 1;
  };
  const requestsPerMinute: number[] = [];
  const updatesAfter: number[] = [];
  const installationsAfter: number[] = [];
  let peak = before;
  let heapMiB = 0;
  for (let second = 0; second < LIMIT_SECONDS; second++) {
    if (second % 60 === 0) requestsPerMinute.push(0);
    const requestsBefore = bitrix24.requests();
    if (second < FLOOD_SECONDS) {
      for (let i = 0; i < options.perSecond / 2; i++) await send("forged", forge());
      for (const event of authentic(second)) await send("authentic", event());
      for (let i = 0; i < options.perSecond / 2; i++) await send("forged", forge());
    }
    await time.elapse(1000);
    requestsPerMinute[requestsPerMinute.length - 1]! += bitrix24.requests() - requestsBefore;
    const { updates, installations } = await countEffects(world, known, options);
    while (updatesAfter.length < updates) updatesAfter.push(second + 1);
    while (installationsAfter.length < installations) installationsAfter.push(second + 1);
    if (second % 10 === 9) {
      const size = await storedSize(storage);
      if (size.characters > peak.characters) peak = size;
      heapMiB = Math.max(heapMiB, (process.memoryUsage().heapUsed - heapBefore) / 2 ** 20);
    }
  }
  await time.elapse(DAY_MS + 2 * 60 * 60 * 1000);
  const figures: FloodFigures = {
    ...statuses,
    ...{ requestsPerMinute, updatesAfter, installationsAfter, heapMiB },
    forgedInEffect: await findForged(world, known, options),
    stored: { before, peak, after: await storedSize(storage) },
    waiting: (await storedSize(storage, "unverified")).entries,
  };
  await world.close();
  return figures;
}

/** Numbers of portals: known ones come first, then made-up ones, then those that install the app. */
const MADE_UP = 10_000;
const NEW = 20_000;

/** Returns a function that returns one forged event after the other. */
function createForger(
  { unknown }: FloodOptions,
  { bitrix24 }: VirtualWorld,
  known: readonly FakePortal[],
): () => string {
  const random = seeded(1);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
  // The attacker is an administrator of a portal of his own, on which the app is installed.
  const own = bitrix24.portal({ memberId: "e".repeat(32), domain: "attacker.bitrix24.de", clientId: CLIENT_ID });
  own.install(2);
  const ownTokens = Array.from({ length: 20 }, () => own.tokens());
  const repeated = Array.from({ length: 20 }, (_, i) => ({ accessToken: `repeated-${i}-0123456789abcdef` }));
  let count = 0;
  return () => {
    const n = ++count;
    const fresh = { accessToken: `fresh-${n}-0123456789abcdef`, refreshToken: `refresh-${n}-0123456789abcdef` };
    const isUnknown = random() < unknown / (unknown + known.length);
    const name = pick(["ONAPPUPDATE", "ONAPPINSTALL", "ONAPPUNINSTALL"]);
    const data: Record<string, string> = name === "ONAPPUNINSTALL"
      ? { CLEAN: "1" }
      : { VERSION: "900", PREVIOUS_VERSION: "2", ACTIVE: "Y", INSTALLED: "Y" };
    const tokens = pick([fresh, fresh, pick(repeated), pick(ownTokens)]);
    const auth: Record<string, string | undefined> = isUnknown
      ? { member_id: memberIdOf(MADE_UP + Math.floor(random() * unknown)) }
      : {};
    // Such events cost more requests.
    if (random() < 0.1) auth["server_endpoint"] = undefined;
    if (random() < 0.1) auth["expires_in"] = "0";
    return pick(known).forge(name, data, { applicationToken: "f".repeat(32), tokens, auth });
  };
}

/** Returns the authentic events of a second: each known portal is updated twice, and new portals install the app. */
function authenticEvents(
  { installations }: FloodOptions,
  world: VirtualWorld,
  known: readonly FakePortal[],
): (second: number) => readonly (() => string)[] {
  const half = FLOOD_SECONDS / 2;
  const share = (count: number, second: number, seconds: number): readonly number[] =>
    Array.from({ length: count }, (_, i) => i).filter((i) => Math.floor(i * seconds / count) === second);
  return (second) => [
    ...share(known.length, second % half, half).map((i) => () =>
      known[i]!.update(second < half ? 3 : 4, { rotateToken: true })
    ),
    ...share(installations, second, FLOOD_SECONDS).map((i) => () => world.portal(NEW + i).install(2)),
  ];
}

async function countEffects(
  { app }: VirtualWorld,
  known: readonly FakePortal[],
  { installations }: FloodOptions,
): Promise<{ readonly updates: number; readonly installations: number }> {
  let [updates, installed] = [0, 0];
  for (const { memberId } of known) updates += Number((await app.portal(memberId))?.version?.split(".")[0]) - 2;
  for (let i = 0; i < installations; i++) {
    if ((await app.portal(memberIdOf(NEW + i)))?.version === "2.0.0") installed++;
  }
  return { updates, installations: installed };
}

async function findForged(
  { app, upgraded }: VirtualWorld,
  known: readonly FakePortal[],
  { unknown }: FloodOptions,
): Promise<readonly string[]> {
  const found = upgraded.filter((one) => one.endsWith(" 900"));
  for (const { memberId } of known) {
    const portal = await app.portal(memberId);
    if (portal?.status !== "installed" || portal.target !== "4.0.0") found.push(`${memberId}: ${portal?.target}`);
  }
  for (let i = 0; i < unknown; i++) {
    if (await app.portal(memberIdOf(MADE_UP + i)) !== undefined) found.push(`unknown portal ${i}`);
  }
  return found;
}
