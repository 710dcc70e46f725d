/** An app and a fake Bitrix24 in virtual time, in which every request to a host takes time and every answer takes none. */
import { type App, createApp, memoryStorage, type Storage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { type FakeBitrix24, fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { delay } from "../../src/async/time.ts";
import { CLIENT_ID, post, quietLogger } from "../support/app.ts";
import { simulated, type VirtualTime, virtualTime } from "../support/time.ts";

const CLIENT_SECRET = "client-secret-0123456789abcdef";
/** Milliseconds that a host takes to answer. An answer of the app that waited for one would never come: no time passes. */
const LATENCY_MS = 100;

export interface VirtualWorld {
  readonly app: App;
  readonly bitrix24: FakeBitrix24;
  readonly storage: Storage;
  readonly time: VirtualTime;
  /** Returns the portal with this number, at first without the app. */
  readonly portal: (number: number) => FakePortal;
  /** Posts an event and resolves to the status, before any time passes. */
  readonly send: (body: string) => Promise<number>;
  /** Closes the app. Its work ends, or is aborted. */
  readonly close: () => Promise<void>;
  /** Number of storage operations so far. */
  readonly operations: () => number;
  /** Upgrades that have run, as `<member_id> <version>`. */
  readonly upgraded: string[];
}

/** The `member_id` of the portal with this number. */
export function memberIdOf(number: number): string {
  return number.toString(16).padStart(32, "0");
}

export function virtualWorld(): VirtualWorld {
  const time = virtualTime();
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, clock: time.now });
  const memory = memoryStorage({ clock: time.now });
  let operations = 0;
  const storage: Storage = {
    ...memory,
    get: (...args) => (operations++, memory.get(...args)),
    put: (...args) => (operations++, memory.put(...args)),
    write: (...args) => (operations++, memory.write!(...args)),
    delete: (...args) => (operations++, memory.delete(...args)),
    list: (...args) => (operations++, memory.list(...args)),
  };
  const upgraded: string[] = [];
  const portals = new Map<number, FakePortal>();
  let strings = 0;
  const options = {
    ...{ storage, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, logger: quietLogger },
    ...simulated(time),
    tickEveryMs: 30_000,
    random: () => `random-${++strings}`,
    lookup: () => Promise.resolve(undefined),
    fetch: async (input: Request | URL | string, init?: RequestInit) => {
      await delay(time, LATENCY_MS);
      return await bitrix24.fetch(input, init);
    },
  };
  const app = createApp(options).use(applicationToken());
  for (const version of ["3", "4", "900"]) {
    app.upgrade(version, ({ memberId }) => void upgraded.push(`${memberId} ${version}`), { id: `to ${version}` });
  }
  return {
    ...{ app, bitrix24, storage, time, upgraded },
    portal: (number) => {
      const known = portals.get(number) ??
        bitrix24.portal({ memberId: memberIdOf(number), domain: `p${number}.bitrix24.de` });
      portals.set(number, known);
      return known;
    },
    close: async () => {
      const closed = app.close();
      await time.elapse(60_000);
      await closed;
    },
    send: async (body) => (await app.fetch(post(body))).status,
    operations: () => operations,
  };
}

/** The size of a storage. */
export interface StoredSize {
  readonly entries: number;
  /** Characters of all keys and values in JSON. */
  readonly characters: number;
}

/** Returns the size of a storage, or of the entries whose keys start with `kind`. */
export async function storedSize(storage: Storage, kind = ""): Promise<StoredSize> {
  let [entries, characters] = [0, 0];
  for await (const { key, value } of storage.list([])) {
    if (!key[0].startsWith(kind)) continue;
    entries++;
    characters += JSON.stringify([key, value]).length;
  }
  return { entries, characters };
}
