import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import type { Entry } from "@b24/onappupdate/storage";
import type { Group } from "../../../../plugins/notifications/group.ts";
import { OPERATOR } from "../../../support/operator.ts";
import { memberIdOf } from "../../../support/crowd.ts";
import { describe, it } from "../../../support/test.ts";
import { virtualTime } from "../../../support/time.ts";
import { HOUR, MINUTE, notifier, SECOND } from "./_notifier.ts";

describe("groups of notifications", () => {
  it("40 portals that are parked for one reason are one message, and one more when none is", async () => {
    const made = await notifier({ options: { consoleUrl: "https://ops.example/console/" } });
    await made.install(40);
    await made.park(0, 25);
    await made.time.elapse(20 * SECOND);
    await made.park(25, 40);
    assert.deepEqual(made.news(), []);
    await made.time.elapse(40 * SECOND);
    assert.deepEqual(made.news(), ["firing 40 portals are parked in upgrade 3"]);
    const [{ message, id }] = made.sent as [typeof made.sent[0]];
    assert.deepEqual(message.lines, ["Error: the field is missing", "Target version: 3.0.0"]);
    assert.deepEqual([message.kind, message.severity, message.language], ["portal_parked", "warning", "en"]);
    assert.equal(message.portals.total, 40);
    assert.deepEqual(message.portals.shown.slice(0, 2), [
      { memberId: memberIdOf(0), domain: "p0.bitrix24.de" },
      { memberId: memberIdOf(1), domain: "p1.bitrix24.de" },
    ]);
    const { failure } = (await made.app.portal(memberIdOf(0)))!;
    assert.equal(
      message.link,
      `https://ops.example/console/portals?status=parked&upgradeId=3&fingerprint=${failure!.fingerprint}`,
    );
    assert.match(id, /^portal_parked-[0-9a-f]{16}\.\w{8}\.1\.chat$/);
    await made.retry(0, 30);
    await made.time.elapse(10 * MINUTE);
    assert.deepEqual(made.news(), []);
    await made.retry(30, 40);
    await made.time.elapse(6 * MINUTE);
    assert.deepEqual(made.news(), ["resolved 40 portals are no longer parked in upgrade 3"]);
    assert.deepEqual(made.sent[1]!.message.portals, message.portals);
    await made.time.elapse(5 * HOUR);
    assert.deepEqual(made.news(), []);
    await made.close();
  });

  it("differ by their reason, and by their target", async () => {
    const made = await notifier();
    await made.install(3);
    await made.park(0, 1, "the field is missing");
    await made.park(1, 2, "the list is full");
    await made.time.elapse(MINUTE);
    assert.deepEqual(made.news(), [
      "firing 1 portal is parked in upgrade 3",
      "firing 1 portal is parked in upgrade 3",
    ]);
    assert.deepEqual(made.sent.map(({ message }) => message.lines[0]).sort(), [
      ...["Error: the field is missing", "Error: the list is full"],
    ]);
    await made.close();
  });

  it("send again after groupIntervalMs if there is news, and after repeatIntervalMs if there is none", async () => {
    const made = await notifier();
    await made.install(5);
    await made.park(0, 2);
    await made.time.elapse(MINUTE);
    const [{ at }] = made.sent as [typeof made.sent[0]];
    assert.deepEqual(made.news(), ["firing 2 portals are parked in upgrade 3"]);
    await made.park(2, 3);
    await made.time.elapse(3 * MINUTE);
    assert.deepEqual(made.news(), []);
    await made.time.elapse(3 * MINUTE);
    assert.deepEqual(made.news(), ["firing 3 portals are parked in upgrade 3"]);
    assert.equal(made.sent[1]!.at - at, 5 * MINUTE);
    await made.time.elapse(4 * HOUR - 5 * MINUTE);
    assert.deepEqual(made.news(), []);
    await made.time.elapse(6 * MINUTE);
    assert.deepEqual(made.news(), ["firing 3 portals are parked in upgrade 3"]);
    assert.equal(made.sent[2]!.at - made.sent[1]!.at, 4 * HOUR);
    assert.equal(new Set(made.sent.map(({ id }) => id)).size, 3);
    await made.close();
  });

  it("say nothing of what was over before it was told", async () => {
    const made = await notifier({ options: { groupWaitMs: 2 * MINUTE } });
    await made.install(1);
    await made.park(0, 1);
    await made.time.elapse(MINUTE);
    await made.retry(0, 1);
    await made.time.elapse(HOUR);
    assert.deepEqual(made.news(), []);
    const groups = await Array.fromAsync(made.storage.list(["plugin", "notifications", "group"]));
    assert.deepEqual(groups, []);
    await made.close();
  });

  it("a portal that is erased is parked no longer", async () => {
    const made = await notifier();
    await made.install(2);
    await made.park(0, 2);
    await made.time.elapse(MINUTE);
    made.news();
    for (const number of [0, 1]) await made.app.admin.forget(memberIdOf(number), OPERATOR);
    await made.time.elapse(6 * MINUTE);
    assert.deepEqual(made.news(), ["resolved 2 portals are no longer parked in upgrade 3"]);
    await made.close();
  });

  it("a forgotten portal is named in nothing that waits, and in nothing that is sent later", async () => {
    const made = await notifier({
      options: {
        retry: { maxAttempts: 2 },
        rules: [{ channels: ["chat"] }, { channels: ["chat"], audience: "customers" }],
      },
    });
    await made.install(4);
    await made.park(0, 2, "p1.bitrix24.de says: no field");
    await made.time.elapse(MINUTE);
    // Down while the news waits, so that there is a message with names in the outbox, and one for the customer.
    made.behavior = () => {
      throw new Error("down");
    };
    await made.update(2, 3);
    await made.park(3, 4, "p1.bitrix24.de says: no field");
    await made.time.elapse(6 * MINUTE);
    const named = async (): Promise<string[]> => {
      const lines: string[] = [];
      for (const prefix of [["outbox"], ["plugin"]]) {
        for await (const { key, value } of made.storage.list(prefix)) {
          const line = JSON.stringify([key, value]);
          if (line.includes(memberIdOf(1)) || line.includes(memberIdOf(2)) || /p[12]\.bitrix24/.test(line)) {
            lines.push(key.slice(0, 3).join("/"));
          }
        }
      }
      return [...new Set(lines)];
    };
    assert.equal((await named()).some((key) => key.startsWith("outbox/")), true);
    assert.equal((await named()).includes("plugin/notifications/group"), true);
    for (const number of [1, 2]) await made.app.admin.forget(memberIdOf(number), OPERATOR);
    assert.deepEqual(await named(), []);

    made.behavior = () => {};
    made.sent.length = 0;
    await made.app.admin.outbox.retry({ plugin: "notifications" }, OPERATOR);
    await made.time.elapse(10 * MINUTE);
    assert.equal(made.sent.length > 0, true);
    const told = JSON.stringify(made.sent);
    assert.doesNotMatch(told, new RegExp(`${memberIdOf(1)}|${memberIdOf(2)}|p[12]\\.bitrix24`));
    assert.match(told, /\[forgotten\] says: no field/);
    await made.close();
  });

  for (const isLeft of [false, true]) {
    const what = isLeft ? "whose message a process has left, and that is erased," : "that is erased";
    it(`a portal ${what} while groups are read is not named`, async () => {
      const time = virtualTime();
      const memory = memoryStorage({ clock: time.now });
      let listed: Promise<void> | undefined;
      const storage: Storage = {
        ...memory,
        list: async function* <T>(...args: Parameters<Storage["list"]>): AsyncGenerator<Entry<T>> {
          const page = await Array.fromAsync(memory.list<T>(...args));
          const isGroups = args[0].join("/") === "plugin/notifications/group";
          const wait = isGroups ? listed : undefined;
          if (isGroups) listed = undefined;
          await wait;
          yield* page;
        },
      };
      const made = await notifier({ world: { time, storage } });
      await made.install(1);
      await made.park(0, 1);
      await time.elapse(5 * MINUTE + 30 * SECOND);
      assert.equal(made.sent.length, 1);
      if (isLeft) {
        for await (const { key, value } of memory.list<Group>(["plugin", "notifications", "group"])) {
          const pending = { ...{ message: made.sent[0]!.message, channels: ["chat"], generation: 2, count: 1 }, at: 0 };
          await memory.put(key, { ...value, pending: { ...pending, until: time.now(), isLast: false } });
        }
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      listed = promise;
      // The tick at which the group is due.
      await time.elapse(MINUTE / 2);
      assert.equal(listed, undefined);
      await made.app.admin.forget(memberIdOf(0), OPERATOR);
      resolve();
      await time.elapse(MINUTE);
      assert.equal(made.sent.length > 1, true);
      assert.doesNotMatch(JSON.stringify(made.sent.slice(1)), new RegExp(`${memberIdOf(0)}|p0.bitrix24`));
      await made.close();
    });
  }

  it("that this process does not want are left to other code for an hour", async () => {
    const time = virtualTime();
    const storage = { ...memoryStorage({ clock: time.now }), close: () => Promise.resolve() };
    const world = { time, storage };
    const rules = [{ channels: ["chat"], kinds: ["rollout_paused"] as const }];
    const old = await notifier({ world, options: { rules } });
    const made = await notifier({ world });
    await made.install(1);
    await made.park(0, 1);
    await time.elapse(2 * MINUTE);
    assert.deepEqual(made.news(), ["firing 1 portal is parked in upgrade 3"]);
    await made.close();
    await time.elapse(70 * MINUTE);
    assert.deepEqual(await Array.fromAsync(storage.list(["plugin", "notifications", "group"])), []);
    assert.deepEqual(old.news(), []);
    await old.close();
  });

  it("a problem that comes back is a new one, with new ids", async () => {
    const made = await notifier();
    await made.install(1);
    await made.park(0, 1);
    await made.time.elapse(MINUTE);
    await made.retry(0, 1);
    await made.time.elapse(6 * MINUTE);
    await made.send(made.portal(1).install(2));
    await made.park(1, 2);
    await made.time.elapse(MINUTE);
    assert.deepEqual(made.news(), [
      ...["firing 1 portal is parked in upgrade 3", "resolved 1 portal is no longer parked in upgrade 3"],
      "firing 1 portal is parked in upgrade 3",
    ]);
    assert.equal(new Set(made.sent.map(({ id }) => id)).size, 3);
    await made.close();
  });
});
