import assert from "node:assert/strict";
import { createApp, currentRehearsal, type Plugin } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { rest } from "@b24/onappupdate/rest";
import { CLIENT_ID, MEMBER_ID, quietLogger, trustAll } from "../../../support/app.ts";
import { CLIENT_SECRET } from "../../../support/fake.ts";
import { OPERATOR } from "../../../support/operator.ts";
import { describe, it } from "../../../support/test.ts";
import { systemTime, type Time } from "../../../../src/async/time.ts";
import { until } from "../../../support/until.ts";
import { world } from "./_world.ts";

const REHEARSAL = { rehearsal: true } as const;
const TO_3 = { target: "3" };

describe("the life of a rehearsal", () => {
  it("sets the plugins up, and does not start the app", async () => {
    const made = await world(() => {});
    const setUps: string[] = [];
    const plugin: Plugin = { name: "other", setup: () => void setUps.push("other") };
    const lines: string[] = [];
    const log = (message: string): void => void lines.push(message);
    const app = createApp({
      ...{ storage: made.storage, fetch: made.bitrix24.fetch, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET },
      logger: { debug: log, info: log, warn: log, error: log },
    }).use(applicationToken()).use(rest()).use(plugin)
      .upgrade("3", async ({ b24 }) => void await b24.call("profile"), REHEARSAL);
    const { calls } = await app.rehearse(MEMBER_ID, TO_3);
    assert.deepEqual(calls, [{ method: "profile", count: 1, isRead: true }]);
    assert.deepEqual([setUps, lines.includes("app started")], [["other"], false]);
    assert.deepEqual(made.written(), []);
    await app.close();
  });

  it("rejects if its signal is aborted, or the app closes, and leaves nothing behind", async () => {
    for (const how of ["signal", "close"] as const) {
      const begun = Promise.withResolvers<AbortSignal>();
      const made = await world((app) =>
        app.upgrade("3", async ({ signal, step }) => {
          await step("waits", (scope) =>
            new Promise((_, reject) => {
              scope.signal.addEventListener("abort", () => reject(scope.signal.reason));
              begun.resolve(signal);
            }));
        }, REHEARSAL)
      );
      const controller = new AbortController();
      const rejected = assert.rejects(
        made.app.rehearse(MEMBER_ID, { ...TO_3, signal: controller.signal }),
        how === "signal" ? { message: "enough" } : { name: "AbortError", message: "the app is closing" },
      );
      const signal = await begun.promise;
      if (how === "signal") controller.abort(new Error("enough"));
      else await made.close();
      await rejected;
      assert.equal(signal.aborted, true);
      assert.deepEqual(made.written(), []);
      await made.close();
    }
  });

  it("answers nothing that a handler has left behind", async () => {
    const left = Promise.withResolvers<void>();
    const late = Promise.withResolvers<readonly string[]>();
    const made = await world((app) =>
      app.upgrade("3", ({ b24, fetch }) => {
        void left.promise.then(async () => {
          const calls = [
            b24.call("profile"),
            fetch("https://vendor.example/"),
            made.app.admin.pause(OPERATOR),
          ];
          late.resolve((await Promise.allSettled(calls)).map(({ status }) => status));
        });
      }, REHEARSAL)
    );
    const { isComplete } = await made.app.rehearse(MEMBER_ID, TO_3);
    assert.equal(isComplete, true);
    made.calls();
    left.resolve();
    assert.deepEqual(await late.promise, ["rejected", "rejected", "rejected"]);
    assert.deepEqual([made.calls(), made.others, made.written()], [[], [], []]);
    await made.close();
  });

  it("does not spread to the ticks of the app, if a handler starts it", async () => {
    const made = await world(() => {});
    const inRehearsal: boolean[] = [];
    const time: Time = {
      ...systemTime,
      setTimer: (run, ms, options) =>
        systemTime.setTimer(
          () => {
            inRehearsal.push(currentRehearsal() !== undefined);
            run();
          },
          ms,
          options,
        ),
    };
    const app = createApp({
      ...{ storage: made.storage, fetch: made.bitrix24.fetch, logger: quietLogger, tickEveryMs: 5, checks: false },
      ...{ time },
    }).use(trustAll).upgrade("3", () => app.start(), REHEARSAL);
    const { isComplete } = await app.rehearse(MEMBER_ID, TO_3);
    assert.equal(isComplete, true);
    await until("a tick", () => inRehearsal.length >= 3);
    assert.deepEqual(inRehearsal.filter(Boolean), []);
    await app.close();
    await made.close();
  });

  it("says what keeps a run from beginning now", async () => {
    const made = await world((app) => app.upgrade("3", () => {}, REHEARSAL));
    await made.app.admin.pause(OPERATOR);
    const { obstacle, upgrades, text } = await made.app.rehearse(MEMBER_ID, TO_3);
    assert.deepEqual([obstacle, upgrades[0]?.outcome], ["the app is paused by ada: test", "rehearsed"]);
    assert.match(text, /^No run would begin now: the app is paused by ada: test$/m);
    await made.app.admin.resume(OPERATOR);
    await made.close();
  });

  it("tells of a portal whose version is not known", async () => {
    const made = await world(() => {});
    const app = createApp({ storage: made.storage, tickEveryMs: false, checks: false, logger: quietLogger }).use(
      trustAll,
    )
      .upgrade("3", () => {}, REHEARSAL);
    const record = await made.storage.get<Readonly<Record<string, unknown>>>(["portal", MEMBER_ID]);
    const { version: _, ...rest } = record!.value;
    await made.storage.put(["portal", MEMBER_ID], rest);
    const { obstacle, upgrades, from } = await app.rehearse(MEMBER_ID);
    assert.match(obstacle ?? "", /^the version of the portal's data is not known/);
    assert.deepEqual([upgrades, from], [[], undefined]);
    await app.close();
  });

  it("shows two rehearsals at once to their own portals", async () => {
    const arrived: (() => void)[] = [];
    const made = await world((app) =>
      app.upgrade("3", async ({ b24 }) => {
        await new Promise<void>((resolve) => {
          arrived.push(resolve);
          if (arrived.length === 2) { for (const go of arrived) go(); }
        });
        await b24.call("crm.deal.add", { fields: {} });
      }, REHEARSAL)
    );
    const reports = await Promise.all([1, 2].map(() => made.app.rehearse(MEMBER_ID, TO_3)));
    assert.deepEqual(reports.map(({ writes }) => writes.map(({ result }) => result)), [[-1_000_000_001], [
      -1_000_000_001,
    ]]);
    await made.close();
  });

  it("verifies a token pair in memory if no verified one is stored", async () => {
    const made = await world((app) =>
      app.upgrade("3", async ({ b24 }) => {
        await b24.call("profile");
        await b24.call("server.time");
      }, REHEARSAL)
    );
    const entry = await made.storage.get<{ readonly tokens: readonly object[] }>(["credentials", MEMBER_ID]);
    const tokens = entry!.value.tokens.map((pair) => ({ ...pair, isVerified: undefined }));
    await made.storage.put(["credentials", MEMBER_ID], JSON.parse(JSON.stringify({ ...entry!.value, tokens })));
    made.written();
    made.calls();
    const { calls, upgrades: [upgrade] } = await made.app.rehearse(MEMBER_ID, TO_3);
    assert.deepEqual([upgrade?.outcome, upgrade?.why], ["rehearsed", undefined]);
    assert.deepEqual(calls.map(({ method }) => method), ["profile", "server.time"]);
    assert.equal(made.calls().filter(({ method, at }) => method === "app.info" && at === "oauth").length, 1);
    assert.deepEqual(made.written(), []);
    await made.close();
  });
});
