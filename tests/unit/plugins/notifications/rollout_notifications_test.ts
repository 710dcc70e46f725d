import assert from "node:assert/strict";
import { type App, memoryStorage, NonRetriableError, type RolloutOptions } from "@b24/onappupdate";
import { type NotificationMessage, notifications, type NotificationsOptions } from "@b24/onappupdate/notifications";
import { OPERATOR } from "../../../support/operator.ts";
import { codeAt, memberIds, storeInstalled, tickOut } from "../../../support/rollout.ts";
import { describe, it } from "../../../support/test.ts";
import { HOUR, MINUTE } from "./_notifier.ts";

interface Release {
  readonly app: App;
  readonly sent: NotificationMessage[];
  /** Lets time pass, with a tick every 30 seconds. */
  readonly elapse: (ms: number) => Promise<void>;
  /** Returns what was sent since the last call. */
  readonly news: () => readonly string[];
  /** The upgrade fails. */
  isBroken: boolean;
}

/** Returns an app that releases 2.0.0 to 20 portals. */
async function release(rollout: RolloutOptions, options: Partial<NotificationsOptions> = {}): Promise<Release> {
  const storage = memoryStorage();
  await storeInstalled(storage, memberIds(20), "1.0.0");
  let now = Date.parse("2027-06-01T12:00:00Z");
  const sent: NotificationMessage[] = [];
  let seen = 0;
  const plugin = notifications({
    channels: [{ name: "chat", send: (message) => Promise.resolve(void sent.push(message)) }],
    ...options,
  });
  const { app } = codeAt("2.0.0", {
    ...{ storage, rollout, plugins: [plugin], clock: () => now },
    upgrade: () => {
      if (made.isBroken) throw new NonRetriableError("no such list");
    },
  });
  const made: Release = {
    ...{ app, sent, isBroken: true },
    elapse: async (ms) => {
      for (const end = now + ms; now < end;) {
        now += MINUTE / 2;
        await tickOut(app);
      }
    },
    news: () => {
      const news = sent.slice(seen).map(({ status, title }) => `${status} ${title}`);
      seen = sent.length;
      return news;
    },
  };
  return made;
}

describe("notifications of rollouts", () => {
  it("a rollout that failures have paused is one critical message, and silences its parked portals", async () => {
    const made = await release({ pauseWhen: { failed: 3 } });
    await made.elapse(HOUR);
    assert.deepEqual(made.news(), ["firing The rollout of 2.0.0 is paused"]);
    const { severity, lines, portals } = made.sent[0]!;
    assert.deepEqual([severity, portals.total, portals.shown.length], ["critical", 3, 3]);
    assert.deepEqual(lines, ["3 × no such list"]);
    made.isBroken = false;
    await made.app.admin.rollout.resume("2.0.0", { by: "ada", reason: "ticket 17: fixed" });
    await made.elapse(30 * MINUTE);
    assert.deepEqual(made.news(), [
      "resolved The rollout of 2.0.0 is no longer paused",
      "firing 3 portals are parked in upgrade 2.0.0",
      "firing The rollout of 2.0.0 is finished",
    ]);
    assert.deepEqual(made.sent[1]!.lines, ["ada: ticket 17: fixed"]);
    await made.app.admin.batches.start({ action: "retry", match: { status: "parked" }, expect: 3, ...OPERATOR });
    await made.elapse(30 * MINUTE);
    assert.deepEqual(made.news(), ["resolved 3 portals are no longer parked in upgrade 2.0.0"]);
    await made.elapse(5 * HOUR);
    assert.deepEqual(made.news(), []);
    await made.app.close();
  });

  it("a paused rollout is told in quiet hours, a finished one is not", async () => {
    const quietHours = { from: "00:00", to: "23:59", timeZone: "UTC" };
    const made = await release({ pauseWhen: { failed: 3 } }, { quietHours });
    await made.elapse(2 * MINUTE);
    assert.deepEqual(made.news(), ["firing The rollout of 2.0.0 is paused"]);
    made.isBroken = false;
    await made.app.admin.rollout.resume("2.0.0", OPERATOR);
    await made.elapse(10 * MINUTE);
    assert.deepEqual(made.news(), ["resolved The rollout of 2.0.0 is no longer paused"]);
    await made.app.close();
  });

  it("a pause by an operator says who and why, and an abort ends it", async () => {
    const made = await release({ stages: [{ portals: 2 }, { percent: 100 }] }, { language: "ru" });
    made.isBroken = false;
    await made.elapse(MINUTE);
    await made.app.admin.rollout.pause("2.0.0", { by: "ada", reason: "ticket 17" });
    await made.elapse(2 * MINUTE);
    assert.deepEqual(made.news(), ["firing Выпуск 2.0.0 приостановлен"]);
    assert.deepEqual(made.sent[0]!.lines, ["ada: ticket 17"]);
    await made.app.admin.rollout.abort("2.0.0", OPERATOR);
    await made.elapse(10 * MINUTE);
    assert.deepEqual(made.news(), ["resolved Выпуск 2.0.0 больше не приостановлен"]);
    assert.deepEqual(made.sent[1]!.lines, ["Выпуск прекращён"]);
    await made.app.close();
  });

  it("a second pause says who has paused it now", async () => {
    const made = await release({ stages: [{ portals: 2 }, { percent: 100 }] });
    made.isBroken = false;
    await made.elapse(MINUTE);
    await made.app.admin.rollout.pause("2.0.0", { by: "ada", reason: "ticket 17" });
    await made.elapse(2 * MINUTE);
    await made.app.admin.rollout.resume("2.0.0", { by: "ada", reason: "ticket 17: fixed" });
    await made.app.admin.rollout.pause("2.0.0", { by: "bob", reason: "maintenance" });
    await made.elapse(10 * MINUTE);
    assert.deepEqual(made.news(), ["firing The rollout of 2.0.0 is paused", "firing The rollout of 2.0.0 is paused"]);
    assert.deepEqual(made.sent.map(({ lines }) => lines), [["ada: ticket 17"], ["bob: maintenance"]]);
    await made.app.close();
  });

  it("parked portals are told if no rule wants paused rollouts", async () => {
    const made = await release({ pauseWhen: { failed: 3 } }, {
      rules: [{ channels: ["chat"], kinds: ["portal_parked"] }],
    });
    await made.elapse(5 * MINUTE);
    assert.deepEqual(made.news(), ["firing 3 portals are parked in upgrade 2.0.0"]);
    await made.app.close();
  });
});
