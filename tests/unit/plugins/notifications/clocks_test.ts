import assert from "node:assert/strict";
import { createApp, memoryStorage, type Plugin, type PluginHost, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { notifications, type NotificationsOptions } from "@b24/onappupdate/notifications";
import { decide, isDue } from "../../../../plugins/notifications/decide.ts";
import type { Group } from "../../../../plugins/notifications/group.ts";
import { createHeartbeat } from "../../../../plugins/notifications/heartbeat.ts";
import { quietLogger, trustAll } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { HOUR, MINUTE, SECOND } from "./_notifier.ts";

const DAY = 24 * HOUR;

interface Harness {
  readonly plugin: Plugin;
  readonly sent: string[];
  readonly calls: string[];
  isDown: boolean;
  /** Sets the clock, by this many milliseconds, forward or back. */
  readonly jump: (ms: number) => void;
  /** Lets time pass, with a tick each minute. */
  readonly pass: (ms: number) => Promise<void>;
}

/** Returns an app that is not started by a timer, whose clock a test sets. */
async function harness(options: Partial<NotificationsOptions> = {}): Promise<Harness> {
  let now = 1_785_300_000_000;
  const clock = (): number => now;
  const [sent, calls]: string[][] = [[], []];
  const plugin = notifications({
    channels: [{ name: "chat", send: ({ status, title }) => Promise.resolve(void sent!.push(`${status} ${title}`)) }],
    ...options,
  });
  const memory = memoryStorage({ clock });
  const storage: Storage = {
    ...memory,
    get: async (...args) => {
      if (made.isDown) throw new StorageError("the storage is down");
      return await memory.get(...args);
    },
    list: (...args) => {
      if (made.isDown) throw new StorageError("the storage is down");
      return memory.list(...args);
    },
  } as Storage;
  const fetch: typeof globalThis.fetch = (input) => {
    calls!.push(String(input));
    return Promise.resolve(new Response("ok"));
  };
  const app = createApp({ storage, clock, fetch, tickEveryMs: false, logger: quietLogger }).use(trustAll).use(plugin);
  const made: Harness = {
    ...{ plugin, sent: sent!, calls: calls!, isDown: false },
    jump: (ms) => void (now += ms),
    pass: async (ms) => {
      for (let passed = 0; passed < ms; passed += MINUTE) {
        now += MINUTE;
        // It rejects while the storage is down; plugins have ticked.
        await app.tick().catch((error) => assert.ok(made.isDown, error));
      }
    },
  };
  await app.tick();
  return made;
}

describe("notifications, when the clock was ahead and is put back,", () => {
  it("are sent", async () => {
    const made = await harness();
    made.jump(DAY);
    made.plugin.observe!.outboxDropped!({ plugin: "mirror", count: 3, reason: "full" });
    // The group is stored with the time of this clock.
    await made.pass(MINUTE);
    assert.deepEqual(made.sent, []);
    made.jump(-DAY);
    await made.pass(5 * MINUTE);
    assert.deepEqual(made.sent, ["firing 3 messages of plugin mirror dropped"]);
  });

  it("tell that nothing is received", async () => {
    const made = await harness({ nothingReceivedMs: 6 * HOUR });
    made.jump(DAY);
    made.plugin.observe!.duplicateReceived!({} as never);
    await made.pass(2 * MINUTE);
    made.jump(-DAY);
    await made.pass(6 * HOUR + 10 * MINUTE);
    assert.match(made.sent.join(), /^firing No event has been received since/);
  });

  it("tell that the storage fails", async () => {
    const made = await harness();
    made.jump(DAY);
    made.isDown = true;
    await made.pass(MINUTE);
    made.jump(-DAY);
    await made.pass(3 * MINUTE);
    assert.deepEqual(made.sent, ["firing The storage fails"]);
  });

  it("send heartbeats", async () => {
    const made = await harness({ heartbeat: { url: "https://hc.example/ping" } });
    made.jump(DAY);
    await made.pass(MINUTE);
    made.jump(-DAY);
    made.calls.length = 0;
    await made.pass(5 * MINUTE);
    assert.equal(made.calls.length, 5);
  });
});

describe("decide()", () => {
  const timing = { groupIntervalMs: 5 * MINUTE, repeatIntervalMs: 4 * HOUR };
  const group = (kind: Group["kind"], at: number): Group => ({
    ...{ format: 1, kind, labels: {}, incarnation: "a", since: at, latestAt: at, details: {}, hasChanged: true },
    ...{ generation: 1, checkAt: at, told: { at, count: 1, portals: { shown: [], total: 0 } } },
  });

  it("does not wait for a time of a clock that was put back", () => {
    assert.equal(decide(group("portal_parked", DAY), { count: 1 }, 0, timing).action, "fire");
    assert.equal(decide(group("verification_refused", DAY), { count: 0 }, 0, timing).action, "resolve");
    assert.equal(decide(group("rollout_finished", DAY), { count: 0 }, 0, timing).action, "forget");
  });

  it("waits for a process whose clock is a little ahead", () => {
    for (const [kind, count] of [["portal_parked", 1], ["verification_refused", 0], ["rollout_finished", 0]] as const) {
      assert.equal(decide(group(kind, SECOND), { count }, 0, timing).action, "wait", kind);
    }
    const times = { maxWaitMs: 5 * MINUTE, takeoverMs: MINUTE };
    assert.deepEqual([5, 6, 7].map((minutes) => isDue({ checkAt: minutes * MINUTE }, 0, times)), [false, false, true]);
    const pending = (minutes: number) => ({ checkAt: 0, pending: { until: minutes * MINUTE } });
    assert.deepEqual([1, 2, 3].map((minutes) => isDue(pending(minutes), 0, times)), [false, false, true]);
  });
});

describe("createHeartbeat()", () => {
  it("ends with its signal, also if fetch ignores it", async () => {
    const host = {
      ...{ storage: memoryStorage(), clock: () => 0, log: quietLogger },
      fetch: () => new Promise<Response>(() => {}),
    } as unknown as PluginHost;
    const controller = new AbortController();
    const beat = createHeartbeat(host, { url: "https://hc.example/ping" })(controller.signal);
    controller.abort(new Error("closing"));
    await assert.rejects(beat, { message: "closing" });
  });
});
