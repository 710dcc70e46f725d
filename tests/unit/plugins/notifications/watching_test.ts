import assert from "node:assert/strict";
import {
  createApp,
  memoryStorage,
  NonRetriableError,
  type Plugin,
  type PluginHost,
  RetryAfterError,
  type Storage,
} from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import type { Entry } from "@b24/onappupdate/storage";
import { notifications, type NotificationsOptions } from "@b24/onappupdate/notifications";
import { type Faults, faultyStorage } from "@b24/onappupdate/testing";

import type { GroupStore } from "../../../../plugins/notifications/group_store.ts";
import { nameOf } from "../../../../plugins/notifications/level.ts";
import { createTally } from "../../../../plugins/notifications/observing.ts";
import { recordingLogger, trustAll } from "../../../support/app.ts";
import { OPERATOR } from "../../../support/operator.ts";
import { describe, it } from "../../../support/test.ts";
import { virtualTime } from "../../../support/time.ts";
import { HOUR, MINUTE, notifier, SECOND } from "./_notifier.ts";

describe("notifications of what is watched", () => {
  it("no event for long, and that they come again", async () => {
    const made = await notifier({ options: { nothingReceivedMs: 6 * HOUR } });
    await made.install(1);
    await made.time.elapse(6 * HOUR - 2 * MINUTE);
    assert.deepEqual(made.news(), []);
    await made.time.elapse(5 * MINUTE);
    const start = new Date(made.time.now() - 6 * HOUR - 3 * MINUTE).toISOString();
    assert.deepEqual(made.news(), [
      `firing No event has been received since ${start.slice(0, 10)} ${start.slice(11, 16)} UTC`,
    ]);
    await made.install(1);
    await made.time.elapse(6 * MINUTE);
    assert.deepEqual(made.news(), ["resolved Events are received again"]);
    await made.close();
  });

  it("the storage fails: each process says so by itself, and that it works again", async () => {
    const time = virtualTime();
    const storage = memoryStorage({ clock: time.now });
    let isDown = false;
    const failing = failingStorage(storage, () => isDown);
    const made = await notifier({ world: { time, storage: failing }, channels: ["chat", "mail"] });
    await made.install(1);
    isDown = true;
    let isRefused = true;
    made.behavior = ({ channel }) => {
      if (channel === "mail" && isRefused) throw new Error("down, too");
    };
    await time.elapse(2 * MINUTE);
    assert.deepEqual(made.news(), ["firing The storage fails"]);
    assert.equal(made.sent[0]!.message.severity, "critical");
    isRefused = false;
    await time.elapse(2 * MINUTE);
    assert.deepEqual(made.news(), ["mail: firing The storage fails"]);
    await time.elapse(HOUR);
    assert.deepEqual(made.news(), []);
    isDown = false;
    await time.elapse(2 * MINUTE);
    assert.deepEqual(made.news(), ["resolved The storage works again", "mail: resolved The storage works again"]);
    assert.equal(new Set(made.sent.map(({ id }) => id)).size, 4);
    await made.close();
  });

  for (const options of [{}, { heartbeat: { url: "https://hc.example/ping", everyMs: MINUTE } }]) {
    it(`the storage is full, and still answers reads, with the options ${JSON.stringify(options)}`, async () => {
      const time = virtualTime();
      const faults: Faults = {};
      const storage = faultyStorage(memoryStorage({ clock: time.now }), faults, 1);
      const fetch = (): Promise<Response> => Promise.resolve(new Response("ok"));
      const made = await notifier({ world: { time, storage }, app: { fetch }, options });
      await made.install(1);
      await time.elapse(10 * MINUTE);
      faults.full = 1;
      await time.elapse(3 * MINUTE);
      assert.deepEqual(made.news(), ["firing The storage fails"]);
      await time.elapse(HOUR);
      assert.deepEqual(made.news(), []);
      faults.full = 0;
      await time.elapse(2 * MINUTE);
      assert.deepEqual(made.news(), ["resolved The storage works again"]);
      await made.close();
    });
  }

  it("the storage fails: a channel is called again when it asks for it, and one that is gone not at all", async () => {
    const time = virtualTime();
    let isDown = false;
    const storage = failingStorage(memoryStorage({ clock: time.now }), () => isDown);
    const made = await notifier({
      ...{ world: { time, storage }, channels: ["chat", "mail", "page", "spare"] },
      options: { fallback: "spare", rules: [{ channels: ["chat", "mail", "page"] }] },
    });
    await made.install(1);
    const start = time.now();
    const calls: string[] = [];
    made.behavior = ({ channel }) => {
      calls.push(channel);
      if (channel === "mail" || channel === "page") throw new NonRetriableError("it is gone");
      if (channel === "chat" && time.now() - start < 20 * MINUTE) throw new RetryAfterError(10 * MINUTE, "429");
    };
    isDown = true;
    await time.elapse(HOUR);
    assert.deepEqual(calls, ["chat", "mail", "page", "spare", "chat", "chat"]);
    assert.deepEqual(made.news(), ["spare: firing The storage fails", "firing The storage fails"]);
    isDown = false;
    await made.close();
  });

  it("a failure of the storage is not told while a silence holds that was known before it", async () => {
    const time = virtualTime();
    let isDown = false;
    const storage = failingStorage(memoryStorage({ clock: time.now }), () => isDown);
    const made = await notifier({ world: { time, storage } });
    await made.install(1);
    const until = time.now() + HOUR;
    await made.app.admin.silences.add({ kinds: ["storage_failing"], until, ...OPERATOR });
    await time.elapse(2 * MINUTE);
    isDown = true;
    await time.elapse(57 * MINUTE);
    assert.deepEqual(made.news(), []);
    await time.elapse(3 * MINUTE);
    assert.deepEqual(made.news(), ["firing The storage fails"]);
    isDown = false;
    await made.close();
  });

  it("a failure of the storage that is over soon is not told", async () => {
    const time = virtualTime();
    let isDown = false;
    const storage = failingStorage(memoryStorage({ clock: time.now }), () => isDown);
    const made = await notifier({ world: { time, storage }, options: { groupWaitMs: MINUTE } });
    await made.install(1);
    isDown = true;
    await time.elapse(40 * SECOND);
    isDown = false;
    await time.elapse(10 * MINUTE);
    assert.deepEqual(made.news(), []);
    await made.close();
  });

  it("events that are refused, messages that are dropped and registrations that drift, in numbers", async () => {
    const { counts, tick, sent } = await harness();
    for (const memberId of ["a", "b", "b"]) {
      counts.portalChecked!({
        memberId,
        isRaised: false,
        problems: [{ code: "registrations", message: "events X: missing" }],
      });
    }
    counts.portalChecked!({ memberId: "c", isRaised: false, problems: [{ code: "payment", message: "unpaid" }] });
    counts.outboxDropped!({ plugin: "mirror", count: 3, reason: "full" });
    counts.outboxDropped!({ plugin: "notifications", count: 3, reason: "full" });
    for (let i = 0; i < 9; i++) counts.eventRejected!({ status: 403, error: new Error("no") });
    counts.eventRejected!({ status: 400, error: new Error("no") });
    await tick(MINUTE);
    await tick(MINUTE);
    assert.deepEqual(sent.splice(0).toSorted(), [
      "firing 3 messages of plugin mirror dropped",
      "firing Registrations of 2 portals differed from the declaration",
    ]);
    counts.eventRejected!({ status: 403, error: new Error("no") });
    await tick(MINUTE);
    await tick(MINUTE);
    assert.deepEqual(sent.splice(0), ["firing 10 events refused as not authentic"]);
    for (let i = 0; i < 40; i++) await tick(MINUTE);
    assert.deepEqual(sent.splice(0), ["resolved Events are no longer refused as not authentic"]);
    for (let i = 0; i < 5 * 60; i++) await tick(MINUTE);
    assert.deepEqual(sent, []);
  });
});

describe("nameOf()", () => {
  it("returns a portal whose record is damaged without its domain", async () => {
    const host = { portal: () => Promise.reject(new StorageError("cannot read it")) };
    assert.deepEqual(await nameOf(host, "a223"), { memberId: "a223" });
  });
});

describe("createTally()", () => {
  it("does not name a portal that was erased since it was counted", async () => {
    const states: Readonly<Record<string, string>> = { a: "current", b: "uninstalled" };
    const portal = (memberId: string) =>
      memberId === "c" ? Promise.reject(new StorageError("damaged")) : Promise.resolve({ state: states[memberId] });
    const tally = createTally({ portal } as unknown as PluginHost);
    for (const memberId of ["a", "b", "c"]) tally.count("registrations_drifted", {}, memberId);
    const added: unknown[] = [];
    const add = (occurrence: unknown) => Promise.resolve(void added.push(occurrence));
    await tally.store({ add } as unknown as GroupStore);
    const counted = { count: 3, memberIds: ["a", "c"] };
    assert.deepEqual(added, [{ kind: "registrations_drifted", labels: {}, counted }]);
  });
});

describe("refused events in quiet hours", () => {
  // The test begins at 04:40.
  const quietHours = { from: "04:00", to: "06:00", timeZone: "UTC" };

  it("that are few at a time are not told afterwards as if they had come together", async () => {
    const { counts, tick, sent } = await harness({ quietHours });
    for (let minute = 0; minute < 120; minute++) {
      if (minute < 70 && minute % 6 === 0) counts.eventRejected!({ status: 403, error: new Error("no") });
      await tick(MINUTE);
    }
    assert.deepEqual(sent, []);
  });

  it("that came together are told afterwards", async () => {
    const { counts, tick, sent } = await harness({ quietHours });
    for (let i = 0; i < 10; i++) counts.eventRejected!({ status: 403, error: new Error("no") });
    for (let minute = 0; minute < 79; minute++) await tick(MINUTE);
    assert.deepEqual(sent, []);
    for (let minute = 0; minute < 5; minute++) await tick(MINUTE);
    assert.deepEqual(sent, ["firing 10 events refused as not authentic"]);
  });
});

/** Returns the observers of a notifier in an app without portals, whose time passes with ticks. */
async function harness(options: Partial<NotificationsOptions> = {}): Promise<{
  readonly counts: NonNullable<Plugin["observe"]>;
  readonly tick: (ms: number) => Promise<void>;
  readonly sent: string[];
}> {
  let now = 1_785_300_000_000;
  const sent: string[] = [];
  const plugin = notifications({
    channels: [{ name: "chat", send: ({ status, title }) => Promise.resolve(void sent.push(`${status} ${title}`)) }],
    ...options,
  });
  const storage = memoryStorage({ clock: () => now });
  const app = createApp({ storage, clock: () => now, tickEveryMs: false, logger: recordingLogger().logger })
    .use(trustAll).use(plugin);
  await app.tick();
  return {
    ...{ counts: plugin.observe!, sent },
    tick: async (ms) => {
      now += ms;
      await app.tick();
    },
  };
}

/** Returns a storage whose calls fail while `isDown` returns true. */
function failingStorage(storage: Storage, isDown: () => boolean): Storage {
  const check = (): void => {
    if (isDown()) throw new StorageError("the storage is down");
  };
  return {
    ...storage,
    get: async (...args) => (check(), await storage.get(...args)),
    put: async (...args) => (check(), await storage.put(...args)),
    delete: async (...args) => (check(), await storage.delete(...args)),
    write: async (...args) => (check(), await storage.write!(...args)),
    list: async function* <T>(...args: Parameters<Storage["list"]>): AsyncGenerator<Entry<T>> {
      check();
      yield* storage.list<T>(...args);
    },
  };
}

describe("heartbeat", () => {
  const URL = "https://hc.example/ping/s3cret";

  it("is called while the notifier works, by one of two processes, and not while the storage fails", async () => {
    const time = virtualTime();
    let isDown = false;
    const kept = {
      ...failingStorage(memoryStorage({ clock: time.now }), () => isDown),
      close: () => Promise.resolve(),
    };
    const calls: string[] = [];
    const fetch: typeof globalThis.fetch = (input) => {
      calls.push(String(input));
      return Promise.resolve(new Response("ok"));
    };
    const options = { heartbeat: { url: URL, everyMs: MINUTE } };
    const both = [0, 1].map(() => notifier({ world: { time, storage: kept }, app: { fetch }, options }));
    const [one, other] = await Promise.all(both);
    await time.elapse(10 * MINUTE - SECOND);
    assert.equal(calls.length, 10);
    assert.equal(calls[0], URL);
    isDown = true;
    await time.elapse(10 * MINUTE);
    assert.equal(calls.length, 10);
    isDown = false;
    await time.elapse(MINUTE);
    assert.equal(calls.length, 11);
    await one!.close();
    await other!.close();
  });

  it("that is not accepted is logged without its address", async () => {
    const { logger, lines } = recordingLogger();
    let answer = (): Response => new Response("no", { status: 500 });
    const made = await notifier({
      app: { logger, fetch: () => Promise.resolve(answer()) },
      options: { heartbeat: { url: URL } },
    });
    await made.time.elapse(SECOND);
    answer = () => {
      throw new TypeError(`cannot connect to ${URL}`);
    };
    await made.time.elapse(MINUTE);
    const failed = lines.map((line) => JSON.parse(line)).filter(({ event }) =>
      event === "notifications.heartbeat_failed"
    );
    assert.deepEqual(failed.map(({ message, status }) => [message, status]), [
      ["heartbeat not accepted", 500],
      ["heartbeat not sent", undefined],
    ]);
    assert(!lines.join().includes("s3cret"));
    await made.close();
  });
});
