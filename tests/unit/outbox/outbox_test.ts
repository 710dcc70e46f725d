import assert from "node:assert/strict";
import {
  type App,
  createApp,
  memoryStorage,
  NonRetriableError,
  type OutboxContext,
  type OutboxHandler,
  type Plugin,
  type PluginOutbox,
  RetryAfterError,
  type Storage,
} from "@b24/onappupdate";
import type { Entry } from "@b24/onappupdate/storage";
import { MAX_DEAD_LETTERS, MAX_MESSAGES } from "../../../src/outbox/kept.ts";
import { deadLetterKey, outboxMessageKey } from "../../../src/portal/keys.ts";
import { recordingLogger, trustAll } from "../../support/app.ts";
import { OPERATOR } from "../../support/operator.ts";
import { describe, it } from "../../support/test.ts";
import { simulated, virtualTime } from "../../support/time.ts";
import { withoutWrite } from "../../support/without_write.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A delivery that a handler was asked for. */
interface Delivered {
  readonly message: unknown;
  readonly id: string;
  readonly attempt: number;
}

interface Setup {
  readonly app: App;
  readonly storage: Storage;
  readonly outbox: PluginOutbox;
  readonly delivered: Delivered[];
  readonly dropped: object[];
  readonly lines: string[];
  /** The work of a delivery; none by default. */
  behavior: (message: unknown, context: OutboxContext) => void | Promise<void>;
  /** Starts the app, or ticks. */
  readonly tick: () => Promise<void>;
  readonly elapse: (ms: number) => Promise<void>;
  readonly now: () => number;
}

/** Returns an app that is set up, with a plugin that delivers messages. */
async function setUp(
  { storage: given, handler = {}, time = virtualTime(), plugins = [] }: {
    readonly storage?: Storage;
    readonly handler?: Partial<OutboxHandler>;
    readonly time?: ReturnType<typeof virtualTime>;
    readonly plugins?: readonly Plugin[];
  } = {},
): Promise<Setup> {
  const storage = given ?? memoryStorage({ clock: time.now });
  const delivered: Delivered[] = [];
  const dropped: object[] = [];
  const { logger, lines } = recordingLogger();
  const app = createApp({ storage, logger, tickEveryMs: false, ...simulated(time) }).use(trustAll);
  for (const plugin of plugins) app.use(plugin);
  let outbox: PluginOutbox;
  app.use({
    name: "chat",
    setup: (host) => void (outbox = host.outbox),
    outbox: {
      deliver: (message, context) => {
        const { id, attempt } = context;
        delivered.push({ message, id, attempt });
        return made.behavior(message, context);
      },
      ...handler,
    },
    observe: { outboxDropped: (report) => void dropped.push(report) },
  });
  await app.setUp();
  const made: Setup = {
    ...{ app, storage, outbox: outbox!, delivered, dropped, lines, behavior: () => {} },
    ...{ elapse: time.elapse, now: time.now },
    tick: async () => {
      const ticked = app.tick();
      await time.elapse(0);
      await ticked;
    },
  };
  return made;
}

/** Returns all keys of the outbox. */
const keysOf = async (storage: Storage): Promise<string[]> =>
  await Array.fromAsync(storage.list(["outbox"]), ({ key }) => key.slice(1).join("/"));

describe("the outbox", () => {
  it("delivers a message at once in a started app, and keeps nothing of it", async () => {
    const made = await setUp();
    await made.tick();
    assert.equal(await made.outbox.put({ text: "hello" }, { id: "1" }), "stored");
    await made.elapse(0);
    assert.deepEqual(made.delivered, [{ message: { text: "hello" }, id: "1", attempt: 1 }]);
    assert.deepEqual(await keysOf(made.storage), []);
    await made.app.close();
  });

  it("looks for what is due once for many messages that are put at a time, and delivers all of them", async () => {
    const time = virtualTime();
    const memory = memoryStorage({ clock: time.now });
    let looks = 0;
    const list = ((prefix, options) => {
      if (prefix[1] === "due") looks++;
      return memory.list(prefix, options);
    }) as Storage["list"];
    const made = await setUp({ time, storage: { ...memory, list } });
    await made.tick();
    looks = 0;
    await Promise.all(Array.from({ length: 50 }, (_, n) => made.outbox.put("hello", { id: `${n}` })));
    await made.elapse(0);
    assert.equal(made.delivered.length, 50);
    assert.deepEqual(await keysOf(memory), []);
    assert(looks < 10, `${looks} looks`);
    await made.app.close();
  });

  it("keeps messages of an app that is only set up, for a started one", async () => {
    const time = virtualTime();
    const made = await setUp({ time });
    await made.outbox.put("hello");
    await made.elapse(HOUR);
    assert.equal(made.delivered.length, 0);
    const started = await setUp({ time, storage: made.storage });
    await started.tick();
    assert.deepEqual(started.delivered.map(({ message }) => message), ["hello"]);
    await Promise.all([made.app.close(), started.app.close()]);
  });

  it("stores no other message with the id of one that waits", async () => {
    const made = await setUp();
    assert.equal(await made.outbox.put("one", { id: "same" }), "stored");
    assert.equal(await made.outbox.put("two", { id: "same" }), "duplicate");
    assert.equal((await keysOf(made.storage)).length, 2);
    await made.tick();
    assert.deepEqual(made.delivered.map(({ message }) => message), ["one"]);
    assert.equal(await made.outbox.put("three", { id: "same" }), "stored");
    await made.app.close();
  });

  it("delivers not before the time of a message", async () => {
    const made = await setUp();
    await made.outbox.put("later", { notBefore: made.now() + 10 * DAY });
    for (let day = 0; day < 10; day++) {
      await made.tick();
      assert.equal(made.delivered.length, 0);
      await made.elapse(DAY);
    }
    await made.tick();
    assert.equal(made.delivered.length, 1);
    await made.app.close();
  });

  it("does not let a message for the far future hold up others", async () => {
    const made = await setUp();
    await made.outbox.put("never", { notBefore: 1e21 });
    await made.outbox.put("now");
    await made.tick();
    assert.deepEqual(made.delivered.map(({ message }) => message), ["now"]);
    await made.app.close();
  });

  it("retries by the policy of the plugin, and then has a dead letter, which an operator retries", async () => {
    const made = await setUp({ handler: { retry: { maxAttempts: 3, initialDelayMs: MINUTE } } });
    made.behavior = () => {
      throw new Error("no chat, token=abcdefgh12345");
    };
    await made.outbox.put("hello", { id: "1" });
    await made.tick();
    const { items: [waiting] } = await made.app.admin.outbox.list({ state: "waiting" });
    assert.deepEqual([waiting?.attempts, waiting?.error], [1, "no chat, token=[redacted]"]);
    assert(waiting!.nextTryAt! > made.now() && waiting!.nextTryAt! <= made.now() + MINUTE);
    for (let i = 0; i < 2; i++) {
      await made.elapse(HOUR);
      await made.tick();
    }
    assert.deepEqual(made.delivered.map(({ attempt }) => attempt), [1, 2, 3]);
    assert.deepEqual(await made.app.admin.outbox.list({ state: "waiting" }), { items: [] });
    const putAt = waiting!.putAt;
    assert.deepEqual((await made.app.admin.outbox.list({ state: "dead" })).items, [{
      ...{ plugin: "chat", id: "1", message: "hello", putAt, attempts: 3, deadAt: made.now() },
      error: "no chat, token=[redacted]",
    }]);
    made.behavior = () => {};
    assert.equal(await made.app.admin.outbox.retry({ plugin: "chat", id: "1" }, OPERATOR), 1);
    await made.elapse(0);
    assert.equal(made.delivered.at(-1)?.attempt, 1);
    assert.deepEqual(await keysOf(made.storage), []);
    assert.equal(await made.app.admin.outbox.retry({ plugin: "chat" }, OPERATOR), 0);
    const { items: actions } = await made.app.admin.audit({ action: "outbox.retry" });
    // In one millisecond, they have no order.
    assert.deepEqual(actions.map(({ details, by, outcome }) => JSON.stringify([details, by, outcome])).sort(), [
      JSON.stringify([{ plugin: "chat", id: "1" }, OPERATOR.by, "done"]),
      JSON.stringify([{ plugin: "chat" }, OPERATOR.by, "done"]),
    ]);
    await made.app.close();
  });

  it("leaves alone dead letters that another operator has retried, or erased, since they were listed", async () => {
    const time = virtualTime();
    const memory = memoryStorage({ clock: time.now });
    let isListed: Promise<void> | undefined;
    // Lists pages, as the storages of databases do.
    async function* list<T>(...args: Parameters<Storage["list"]>): AsyncGenerator<Entry<T>> {
      const page = await Array.fromAsync(memory.list<T>(...args));
      await isListed;
      yield* page;
    }
    const made = await setUp({ time, storage: { ...memory, list }, handler: { retry: { maxAttempts: 1 } } });
    made.behavior = () => {
      throw new Error("no chat");
    };
    for (const id of ["1", "2", "3"]) await made.outbox.put("hello", { id });
    await made.tick();
    made.behavior = () => {};
    made.delivered.length = 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    isListed = promise;
    const late = made.app.admin.outbox.retry({ plugin: "chat" }, OPERATOR);
    await made.elapse(0);
    isListed = undefined;
    assert.equal(await made.app.admin.outbox.retry({ plugin: "chat", id: "1" }, OPERATOR), 1);
    await memory.delete(deadLetterKey("chat", "2"));
    await made.elapse(0);
    resolve();
    assert.equal(await late, 1);
    await made.elapse(0);
    assert.deepEqual(made.delivered.map(({ id }) => id), ["1", "3"]);
    await made.app.close();
  });

  it("keeps the channel of a message, and retries the dead letters of one channel", async () => {
    const made = await setUp({ handler: { retry: { maxAttempts: 1 } } });
    made.behavior = () => {
      throw new Error("no chat");
    };
    for (const [id, channel] of [["1", "room"], ["2", "room"], ["3", "hall"]] as const) {
      await made.outbox.put(`to ${channel}`, { id, channel });
    }
    await made.outbox.put("to nobody in particular", { id: "4" });
    const channelsOf = async (state: "waiting" | "dead"): Promise<readonly unknown[]> =>
      (await made.app.admin.outbox.list({ state })).items.map(({ id, channel }) => [id, channel]);
    const all = [["1", "room"], ["2", "room"], ["3", "hall"], ["4", undefined]];
    assert.deepEqual(await channelsOf("waiting"), all);
    await made.tick();
    assert.deepEqual(await channelsOf("dead"), all);
    made.behavior = () => {
      throw new RetryAfterError(HOUR);
    };
    const retry = (letters: object): Promise<number> =>
      made.app.admin.outbox.retry({ plugin: "chat", ...letters }, OPERATOR);
    assert.equal(await retry({ channel: "cellar" }), 0);
    assert.equal(await retry({ id: "3", channel: "room" }), 0);
    assert.equal(await retry({ channel: "room" }), 2);
    await made.elapse(0);
    assert.deepEqual(await channelsOf("waiting"), all.slice(0, 2), "after a retry, too");
    assert.deepEqual(await channelsOf("dead"), all.slice(2));
    const { items: [entry] } = await made.app.admin.audit({ action: "outbox.retry", limit: 1 });
    assert.equal(entry?.details?.plugin, "chat");
    assert.equal(await retry({}), 2);
    await made.app.close();
  });

  it("gives up at once after a NonRetriableError, and never after a RetryAfterError", async () => {
    const made = await setUp({ handler: { retry: { maxAttempts: 1 } } });
    made.behavior = (message) => {
      throw message === "final" ? new NonRetriableError("gone") : new RetryAfterError(HOUR);
    };
    await made.outbox.put("final");
    await made.outbox.put("limited");
    await made.tick();
    for (let hour = 0; hour < 5; hour++) {
      await made.elapse(HOUR);
      await made.tick();
    }
    const count = (text: string): number => made.delivered.filter(({ message }) => message === text).length;
    assert.deepEqual([count("final"), count("limited")], [1, 6]);
    assert.equal(made.delivered.at(-1)?.attempt, 1);
    await made.app.close();
  });

  it("drops a message after 7 days, and reports it once", async () => {
    const made = await setUp();
    made.behavior = () => {
      throw new RetryAfterError(10 * DAY);
    };
    await made.outbox.put("one");
    await made.outbox.put("two");
    await made.tick();
    await made.elapse(7 * DAY);
    for (let i = 0; i < 2; i++) await made.tick();
    await made.tick();
    assert.deepEqual(made.dropped, [{ plugin: "chat", count: 2, reason: "expired" }]);
    assert.equal(made.lines.filter((line) => line.includes("outbox.dropped")).length, 1);
    assert.deepEqual(await keysOf(made.storage), []);
    await made.app.close();
  });

  it("ends an attempt that takes too long, and limits how many are delivered at a time", async () => {
    const made = await setUp({ handler: { timeoutMs: 1000 } });
    const signals: AbortSignal[] = [];
    made.behavior = (_, { signal }) => new Promise(() => void signals.push(signal));
    for (let i = 0; i < 10; i++) await made.outbox.put(i);
    const ticked = made.app.tick();
    await made.elapse(0);
    assert.equal(signals.length, 8);
    await made.elapse(1000);
    assert.deepEqual([signals.length, signals.filter(({ aborted }) => aborted).length], [10, 8]);
    await made.elapse(1000);
    await ticked;
    const { items: [first] } = await made.app.admin.outbox.list({ state: "waiting", limit: 1 });
    assert.equal(first?.error, "it took longer than 1000 ms");
    await made.app.close();
  });

  it("delivers at once to a channel with few messages while another one has many", async () => {
    const made = await setUp();
    await made.tick();
    made.behavior = (message) => message === "crowd" ? new Promise(() => {}) : undefined;
    for (let n = 0; n < 20; n++) await made.outbox.put("crowd", { channel: "slow" });
    for (let n = 0; n < 5; n++) await made.outbox.put("alert", { channel: "fast" });
    await made.elapse(0);
    const count = (text: string): number => made.delivered.filter(({ message }) => message === text).length;
    assert.deepEqual([count("crowd"), count("alert")], [6, 5]);
    const closed = made.app.close();
    await made.elapse(60_000);
    await closed;
  });

  it("does not count an attempt that the closing app ends, and others take it over at once", async () => {
    const time = virtualTime();
    const made = await setUp({ time });
    made.behavior = (_, { signal }) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    await made.outbox.put("hello");
    const ticked = made.app.tick();
    await made.elapse(0);
    const closed = made.app.close();
    await made.elapse(6000);
    await Promise.all([ticked, closed]);
    const next = await setUp({ time, storage: made.storage });
    await next.tick();
    assert.deepEqual(next.delivered.map(({ attempt }) => attempt), [1]);
    await next.app.close();
  });

  it("is delivered by one of two processes that find a message at once", async () => {
    for (const isAtomic of [true, false]) {
      const time = virtualTime();
      const memory = memoryStorage({ clock: time.now });
      const both = Promise.withResolvers<void>();
      let reads = 0;
      const storage: Storage = {
        ...(isAtomic ? memory : withoutWrite(memory)),
        get: async (key, options) => {
          const entry = await memory.get(key, options);
          if (key[0] === "outbox") {
            if (++reads === 2) both.resolve();
            await both.promise;
          }
          return entry as never;
        },
      };
      const [first, other] = [await setUp({ time, storage }), await setUp({ time, storage })];
      await first.outbox.put("hello", { id: "1" });
      await Promise.all([first.tick(), other.tick()]);
      await time.elapse(HOUR);
      await Promise.all([first.tick(), other.tick()]);
      assert.equal(first.delivered.length + other.delivered.length, 1);
      assert.deepEqual(await keysOf(memory), []);
      await first.app.close();
      await other.app.close();
    }
  });

  it("delivers a message although another process has ticked while it was being stored", async () => {
    const time = virtualTime();
    const memory = memoryStorage({ clock: time.now });
    let isTicked = false;
    const storage: Storage = {
      ...withoutWrite(memory),
      put: async (key, value, options) => {
        if (!isTicked && JSON.stringify(key) === JSON.stringify(outboxMessageKey("chat", "1"))) {
          isTicked = true;
          await time.elapse(MINUTE);
          await other.tick();
        }
        return await memory.put(key, value, options);
      },
    };
    const made = await setUp({ time, storage });
    const other = await setUp({ time, storage: memory });
    await made.outbox.put("hello", { id: "1" });
    assert.equal(isTicked, true);
    await other.tick();
    assert.deepEqual(other.delivered.map(({ id }) => id), ["1"]);
    await made.app.close();
    await other.app.close();
  });

  it("takes over the messages of a process that has ended, and gives up if it ends each time", async () => {
    const time = virtualTime();
    const storage = memoryStorage({ clock: time.now });
    const attempts: number[] = [];
    for (let process = 1; process <= 4; process++) {
      const made = await setUp({ time, storage, handler: { retry: { maxAttempts: 3 } } });
      if (process === 1) await made.outbox.put("poison");
      // It never ends, as if its process had.
      made.behavior = () => new Promise(() => {});
      void made.app.tick();
      await made.elapse(0);
      attempts.push(...made.delivered.map(({ attempt }) => attempt));
      const other = await setUp({ time, storage });
      await other.tick();
      assert.equal(other.delivered.length, 0, "one process at a time");
      await other.app.close();
      // The timers of the processes that have ended must not fire: the place in the schedule is moved.
      const { items: [waiting] } = await other.app.admin.outbox.list({ state: "waiting" });
      if (waiting === undefined) break;
      const { value, key } = (await storage.get<{ due: string }>(outboxMessageKey("chat", waiting.id)))!;
      const due = `${String(time.now()).padStart(14, "0")}-${process}`;
      await storage.put(["outbox", "due", due, "chat", waiting.id], {});
      await storage.put(key, { ...value, due });
    }
    assert.deepEqual(attempts, [1, 2, 3]);
    const made = await setUp({ time, storage });
    const { items: [dead] } = await made.app.admin.outbox.list({ state: "dead", plugin: "chat" });
    assert.equal(dead?.error, "the process ended during the last attempt");
    await made.app.close();
  });

  it("leaves the messages of a plugin that this code does not have to other code", async () => {
    const time = virtualTime();
    const made = await setUp({ time });
    const other = createApp({
      storage: made.storage,
      logger: recordingLogger().logger,
      tickEveryMs: false,
      ...simulated(time),
    }).use(
      trustAll,
    )
      .use({ name: "mail", outbox: { deliver: () => assert.fail() } });
    await made.outbox.put("hello");
    await other.tick();
    assert.equal((await keysOf(made.storage)).length, 2);
    await made.tick();
    assert.equal(made.delivered.length, 1);
    await Promise.all([made.app.close(), other.close()]);
  });

  it("drops what does not fit, messages that are put and the oldest dead letters, and reports each once", async () => {
    const made = await setUp({ handler: { retry: { maxAttempts: 1 } } });
    const fill = async (count: number, key: (n: number) => readonly [string, ...string[]]): Promise<void> => {
      for (let n = 0; n < count; n++) await made.storage.put(key(n), { format: 1, putAt: 0, attempts: 0, deadAt: n });
    };
    await fill(MAX_MESSAGES - 1, (n) => outboxMessageKey("chat", `waiting ${n}`));
    await fill(MAX_DEAD_LETTERS - 1, (n) => deadLetterKey("mail", String(n)));
    assert.equal(await made.outbox.put("fits", { id: "1" }), "stored");
    assert.equal(await made.outbox.put("does not"), "dropped");
    made.behavior = () => {
      throw new Error("no");
    };
    await made.tick();
    assert.equal(await made.outbox.put("fits again", { id: "2" }), "stored");
    await made.elapse(0);
    await made.tick();
    assert.deepEqual(made.dropped, [
      { plugin: "chat", count: 1, reason: "full" },
      { plugin: "mail", count: 1, reason: "dead" },
    ]);
    const { items: dead } = await made.app.admin.outbox.list({ state: "dead", limit: Infinity });
    assert.equal(dead.length, MAX_DEAD_LETTERS);
    assert.deepEqual(dead.slice(0, 3).map(({ plugin, id }) => `${plugin}/${id}`), ["chat/1", "chat/2", "mail/1"]);
    await made.app.close();
  });

  it("has room for each plugin, also if another one puts more than its share", async () => {
    let other: PluginOutbox | undefined;
    const made = await setUp({
      plugins: [{ name: "flood", setup: (host) => void (other = host.outbox), outbox: { deliver: () => {} } }],
    });
    for (let n = 0; n < MAX_MESSAGES / 2; n++) {
      await made.storage.put(outboxMessageKey("flood", String(n)), { format: 1, putAt: 0, attempts: 0 });
    }
    assert.deepEqual([await other!.put("one more"), await made.outbox.put("hello")], ["dropped", "stored"]);
    await made.app.close();
  });

  it("lists pages", async () => {
    const made = await setUp({ plugins: [{ name: "all", outbox: { deliver: () => {} } }] });
    for (const id of ["a", "b", "c"]) await made.outbox.put(id, { id });
    const ids = async (filter: object): Promise<string> =>
      (await made.app.admin.outbox.list({ state: "waiting", ...filter })).items.map(({ id }) => id).join("");
    assert.equal(await ids({}), "abc");
    assert.equal(await ids({ limit: 2 }), "ab");
    assert.equal(await ids({ limit: 2, after: { plugin: "chat", id: "b" } }), "c");
    assert.equal(await ids({ plugin: "all" }), "");
    const { next } = await made.app.admin.outbox.list({ state: "waiting", limit: 2 });
    assert.deepEqual(next, { plugin: "chat", id: "b" });
    await made.app.close();
  });

  it("refuses what it cannot store or list, and plugins that deliver nothing", async () => {
    let mute: PluginOutbox | undefined;
    const made = await setUp({ plugins: [{ name: "mute", setup: ({ outbox }) => void (mute = outbox) }] });
    const action = 'cannot put a message of plugin "chat" into the outbox';
    const refused: readonly (readonly [() => Promise<unknown>, string])[] = [
      [
        () => mute!.put("x"),
        'cannot put a message of plugin "mute" into the outbox: the plugin has no outbox, wanted one with deliver()',
      ],
      [() => made.outbox.put("x".repeat(40_000)), `${action} with 40002 characters of JSON, wanted at most 32768`],
      [
        () => made.outbox.put(undefined),
        'cannot store undefined under ["outbox","message"], wanted a value that JSON can represent',
      ],
      [() => made.outbox.put("x", { id: "" }), `${action} with id "", wanted a string of 1 to 200 characters`],
      [
        () => made.outbox.put("x", { channel: "" }),
        `${action} with channel "", wanted a string of 1 to 100 characters`,
      ],
      [() => made.outbox.put("x", { notBefore: NaN }), `${action} with notBefore NaN, wanted a number from 0`],
      [
        () => made.app.admin.outbox.list({ state: "no" as "dead" }),
        'cannot list the outbox with state "no", wanted "waiting" or "dead"',
      ],
      [
        () => made.app.admin.outbox.retry({ id: "1" } as never, OPERATOR),
        "cannot retry dead letters with plugin undefined, wanted a string",
      ],
    ];
    for (const [run, message] of refused) await assert.rejects(run, { name: "TypeError", message });
    assert.deepEqual(await keysOf(made.storage), []);
    await made.app.close();
  });
});
