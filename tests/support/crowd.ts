/** An app with many portals, in virtual time. */
import assert from "node:assert/strict";
import { type App, type AppOptions, createApp, memoryStorage, type Storage } from "@b24/onappupdate";
import { type FakeBitrix24, fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { delay } from "../../src/async/time.ts";
import { CLIENT_ID, post, quietLogger, recorder, trustAll } from "./app.ts";
import { simulated, type VirtualTime, virtualTime } from "./time.ts";

export interface Crowd {
  readonly app: App;
  readonly storage: Storage;
  readonly time: VirtualTime;
  readonly reports: ReturnType<typeof recorder>["reports"];
  /** Returns the portal with this number. */
  readonly portal: (number: number) => FakePortal;
  /** Posts an event; asserts nothing. */
  readonly send: (body: string) => Promise<Response>;
  /** Installs version 2 on the portals with the numbers below `count`. */
  readonly install: (count: number) => Promise<void>;
  /** Sends the update to version 3 of the portals with the numbers from `from` to below `to`. */
  readonly update: (from: number, to: number) => Promise<void>;
  /** Work of a handler that takes so many milliseconds. */
  readonly takes: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** Closes the app. */
  readonly close: () => Promise<void>;
}

export function memberIdOf(number: number): string {
  return number.toString(16).padStart(32, "0");
}

/** Returns the number of a portal. */
export function numberOf(memberId: string): number {
  return parseInt(memberId, 16);
}

export function crowd(
  options: Partial<AppOptions> = {},
  world: { readonly storage?: Storage; readonly time?: VirtualTime; readonly bitrix24?: FakeBitrix24 } = {},
): Crowd {
  const time = world.time ?? virtualTime();
  const storage = world.storage ?? memoryStorage({ clock: time.now });
  const bitrix24 = world.bitrix24 ?? fakeBitrix24({ clientId: CLIENT_ID, clock: time.now });
  const { plugin, reports } = recorder();
  const portals = new Map<number, FakePortal>();
  const app = createApp({
    ...{ storage, clientId: CLIENT_ID, logger: quietLogger, checks: false },
    ...{ tickEveryMs: 30_000, fetch: bitrix24.fetch },
    ...simulated(time),
    ...options,
  }).use(trustAll).use(plugin);
  const send = (body: string): Promise<Response> => app.fetch(post(body));
  const portal = (number: number): FakePortal => {
    const known = portals.get(number) ??
      bitrix24.portal({ memberId: memberIdOf(number), domain: `p${number}.bitrix24.de` });
    portals.set(number, known);
    return known;
  };
  const sendAll = async (from: number, to: number, body: (portal: FakePortal) => string): Promise<void> => {
    for (let number = from; number < to; number++) await send(body(portal(number)));
  };
  return {
    ...{ app, storage, time, reports, portal, send },
    install: async (count) => {
      await sendAll(0, count, (portal) => portal.install(2));
      await time.elapse(1);
    },
    update: (from, to) => sendAll(from, to, (portal) => portal.update(3)),
    takes: (ms, signal) => delay(time, ms, signal),
    close: async () => {
      const closed = app.close();
      await time.elapse(60_000);
      await closed;
    },
  };
}

/**
 * Asserts that turns of `turnMs` are all that many portals, whose upgrades have long pages, delay a fresh update of another
 * portal. Closes the app.
 */
export async function assertFreshIsNotDelayed(made: Crowd, portals: number, turnMs: number): Promise<void> {
  const begun = new Set<string>();
  const finished: number[] = [];
  made.app.upgrade("3", async ({ memberId, pages }) => {
    if (numberOf(memberId) < portals) {
      begun.add(memberId);
      await pages("all", 1, async (page: number) => {
        await made.takes(turnMs);
        return { next: page < 100 ? page + 1 : null, done: 1 };
      });
    }
    finished.push(numberOf(memberId));
  });
  await made.install(portals + 3);
  await made.update(0, portals);
  while (begun.size < portals) await made.time.elapse(turnMs);
  for (let number = portals; number < portals + 3; number++) {
    await made.update(number, number + 1);
    await made.time.elapse(turnMs);
    assert.deepEqual(finished, [number]);
    finished.length = 0;
  }
  await made.close();
}
