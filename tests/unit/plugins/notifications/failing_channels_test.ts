import assert from "node:assert/strict";
import { NonRetriableError, RetryAfterError } from "@b24/onappupdate";
import { createDelivering, safeError } from "../../../../plugins/notifications/delivering.ts";
import { recordingLogger } from "../../../support/app.ts";
import { OPERATOR } from "../../../support/operator.ts";
import { describe, it } from "../../../support/test.ts";
import { notification, thrownBy } from "./_channel.ts";
import { HOUR, MINUTE, notifier, SECOND } from "./_notifier.ts";

const PARKED = "firing 1 portal is parked in upgrade 3";

describe("a channel that fails", () => {
  it("is down for ten minutes: what was to be sent arrives, once, with one id", async () => {
    const made = await notifier();
    const tried = new Set<string>();
    let attempts = 0;
    let isDown = true;
    made.behavior = ({ id }) => {
      tried.add(id);
      attempts++;
      if (isDown) throw new Error("503");
    };
    await made.install(3);
    for (const number of [0, 1, 2]) await made.park(number, number + 1, `reason ${"abc"[number]}`);
    await made.time.elapse(10 * MINUTE);
    assert(attempts > 9, `${attempts} attempts`);
    isDown = false;
    await made.time.elapse(10 * MINUTE);
    assert.deepEqual(made.news(), [PARKED, PARKED, PARKED]);
    assert.equal(new Set(made.sent.map(({ id }) => id)).size, 3);
    assert.equal(tried.size, 3);
    assert.deepEqual((await made.app.admin.outbox.list({ state: "dead" })).items, []);
    await made.close();
  });

  it("that says when to come back gets the message then, however often it says so", async () => {
    const made = await notifier({ options: { retry: { maxAttempts: 1 } } });
    const at: number[] = [];
    const start = made.time.now();
    made.behavior = () => {
      at.push(made.time.now() - start);
      if (at.length < 4) throw new RetryAfterError(3 * MINUTE, "429");
    };
    await made.install(1);
    await made.park(0, 1);
    await made.time.elapse(15 * MINUTE);
    assert.deepEqual(made.news(), [PARKED]);
    assert.deepEqual(at.map((ms, i) => i === 0 ? 0 : ms - at[i - 1]!), [0, 3 * MINUTE, 3 * MINUTE, 3 * MINUTE]);
    await made.close();
  });

  it("leaves a dead letter, its fallback sends the message, and others tell that it fails", async () => {
    const made = await notifier({
      channels: ["chat", "mail", "log"],
      options: {
        fallback: "mail",
        retry: { maxAttempts: 2, initialDelayMs: 0 },
        rules: [
          { channels: ["chat"], kinds: ["portal_parked", "channel_failing"] },
          { channels: ["log"], kinds: ["channel_failing"] },
        ],
      },
    });
    let isDown = true;
    made.behavior = ({ channel }) => {
      if (channel === "chat" && isDown) throw new Error("cannot post");
    };
    await made.install(1);
    await made.park(0, 1);
    await made.time.elapse(5 * MINUTE);
    assert.deepEqual(made.news(), [
      `mail: ${PARKED}`,
      "log: firing 1 message could not be sent by channel chat",
    ]);
    assert.deepEqual(made.sent[1]!.message.lines, ["1 × channel chat: cannot post"]);
    assert.equal(made.sent[0]!.id.endsWith(".chat.fallback"), true);
    const { items } = await made.app.admin.outbox.list({ state: "dead" });
    assert.deepEqual(items.map(({ error, attempts, channel }) => [error, attempts, channel]), [
      ["channel chat: cannot post", 2, "chat"],
    ]);
    isDown = false;
    assert.equal(await made.app.admin.outbox.retry({ plugin: "notifications", channel: "mail" }, OPERATOR), 0);
    assert.equal(await made.app.admin.outbox.retry({ plugin: "notifications", channel: "chat" }, OPERATOR), 1);
    await made.time.elapse(10 * MINUTE);
    assert.deepEqual(made.news(), [PARKED, "log: resolved Channel chat has no undelivered messages"]);
    assert.equal(made.sent[2]!.id, items[0]!.id);
    await made.close();
  });

  it("never causes a notification by itself, and two that fail cause none for ever", async () => {
    const made = await notifier({
      channels: ["chat", "mail"],
      options: { retry: { maxAttempts: 2, initialDelayMs: 0 }, fallback: "mail" },
    });
    const tried: string[] = [];
    made.behavior = ({ id }) => {
      if (!tried.includes(id)) tried.push(id);
      throw new Error("down");
    };
    await made.install(1);
    await made.park(0, 1);
    await made.time.elapse(3 * HOUR);
    const kinds = tried.map((id) => id.replace(/-[^.]+\.\w+\.(\d+)/, " $1"));
    // Each channel is told that the other fails, and again when the fallback has failed, too. What it does not take of that
    // causes nothing.
    assert.deepEqual(kinds.toSorted(), [
      ...["channel_failing 1.chat", "channel_failing 1.mail", "channel_failing 2.chat"],
      ...["portal_parked 1.chat", "portal_parked 1.chat.fallback", "portal_parked 1.mail"],
    ]);
    await made.close();
  });

  it("hangs: its message is a dead letter in the end, and other channels get theirs at once", async () => {
    const made = await notifier({
      channels: ["chat", "hangs"],
      options: {
        retry: { maxAttempts: 2, initialDelayMs: 0 },
        rules: [{ channels: ["chat", "hangs"], kinds: ["portal_parked"] }],
      },
    });
    const signals: AbortSignal[] = [];
    made.behavior = ({ channel }, signal) => {
      if (channel !== "hangs") return;
      signals.push(signal);
      return new Promise(() => {});
    };
    await made.install(1);
    await made.park(0, 1);
    await made.time.elapse(65 * SECOND);
    assert.deepEqual(made.news(), [PARKED]);
    await made.time.elapse(5 * MINUTE);
    const { items } = await made.app.admin.outbox.list({ state: "dead" });
    assert.deepEqual(items.map(({ attempts }) => attempts), [2]);
    assert.deepEqual(signals.map(({ aborted }) => aborted), [true, true]);
    await made.close();
  });

  it("hangs with many messages: other channels get theirs at once all the same", async () => {
    const made = await notifier({
      channels: ["chat", "hangs"],
      options: { rules: [{ channels: ["hangs", "chat"], kinds: ["portal_parked"] }] },
    });
    made.behavior = ({ channel }) => channel === "hangs" ? new Promise(() => {}) : undefined;
    await made.install(20);
    for (let number = 0; number < 20; number++) {
      await made.park(number, number + 1, `${"abcdefghijklmnopqrst"[number]} fails`);
    }
    await made.time.elapse(65 * SECOND);
    assert.equal(made.news().length, 20);
    await made.close();
  });

  it("throws secrets: none is stored or logged", async () => {
    const { logger, lines } = recordingLogger();
    const secrets = [
      "https://hooks.slack.com/services/T00/B00/s3cretPath",
      "https://api.telegram.org/bot123:s3cret-token/sendMessage",
      "xoxb-12345-s3cret-6789abcdef",
    ];
    const made = await notifier({ app: { logger }, options: { retry: { maxAttempts: 1 } } });
    made.behavior = () => {
      throw new NonRetriableError(`error sending request for url (${secrets.join(") (")})`, { cause: secrets });
    };
    await made.install(1);
    await made.park(0, 1);
    await made.time.elapse(MINUTE);
    const { items: [letter] } = await made.app.admin.outbox.list({ state: "dead" });
    assert.equal(
      letter?.error,
      "channel chat: error sending request for url ([address]) ([address]) ([redacted])",
    );
    const stored = await Array.fromAsync(made.storage.list([]));
    assert(!JSON.stringify([stored, lines]).includes("s3cret"));
    await made.close();
  });
});

describe("a channel that this process does not have", () => {
  it("is that of other code in a deploy: its message is retried before it is a dead letter", async () => {
    const dead: string[] = [];
    const { outbox } = createDelivering({
      ...{ channels: new Map(), retry: { maxAttempts: 3 }, timeoutMs: 1000 },
      onDead: (_, id) => Promise.resolve(void dead.push(id)),
    });
    const { signal } = new AbortController();
    for (const attempt of [1, 2, 3]) {
      assert.deepEqual(dead, []);
      const error = await thrownBy(async () =>
        await outbox.deliver({ channel: "page", message: notification() }, { id: "n-1", attempt, signal })
      );
      assert.equal(error.message, 'the notifier has no channel "page"');
      assert.ok(!(error instanceof NonRetriableError));
    }
    assert.deepEqual(dead, ["n-1"]);
  });
});

describe("safeError()", () => {
  it("keeps what the error means, and member_ids", () => {
    const memberId = "a223c6b3710f85df22e9377d6c4f7553";
    const limit = safeError("x", new Error("429", { cause: new RetryAfterError(5000, "wait") }));
    assert(limit instanceof RetryAfterError && limit.afterMs === 5000 && limit.message === "channel x: 429");
    const final = safeError("x", new NonRetriableError(`portal ${memberId} is gone`));
    assert(final instanceof NonRetriableError && final.message === `channel x: portal ${memberId} is gone`);
    assert.equal(safeError("x", "https://a.example/secret").message, "channel x: failed");
  });
});
