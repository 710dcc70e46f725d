import assert from "node:assert/strict";
import { stripVTControlCharacters } from "node:util";
import { type App, memoryStorage, type RolloutOptions } from "@b24/onappupdate";
import type { Storage } from "@b24/onappupdate/storage";
import { cli, type CliOptions, type Outcome } from "../../support/cli.ts";
import { codeAt, memberIds, storeInstalled, tickOut } from "../../support/rollout.ts";
import { describe, test } from "../../support/test.ts";

const NOW = 1_700_000_000_000;
const APP = ["--app", "app.ts"];
const ACT = ["--yes", "--reason", "ticket 17", ...APP];

interface Release {
  readonly app: App;
  readonly run: (args: string, more?: readonly string[], options?: CliOptions) => Promise<Outcome>;
}

/** Returns code that releases 2.0.0 to 40 portals, and a command line with another app on its storage. */
async function release(rollout: RolloutOptions, upgrade: () => void = () => {}): Promise<Release> {
  const inner = memoryStorage({ clock: () => NOW });
  const storage: Storage = {
    ...inner,
    capabilities: { ...inner.capabilities, scope: "host" },
    close: () => Promise.resolve(),
  };
  await storeInstalled(storage, memberIds(40), "1.0.0");
  const load = (): App =>
    codeAt("2.0.0", { storage, rollout, upgrade, clock: () => NOW, retry: { maxAttempts: 1 } }).app;
  const app = load();
  await tickOut(app);
  return {
    app,
    run: (args, more = APP, options) =>
      cli([...args.split(" "), ...more], { load: () => Promise.resolve(load()), now: () => NOW, ...options }),
  };
}

const STAGES = [{ portals: 5 }, { percent: 50, forMs: 24 * 3_600_000 }, { percent: 100 }];

describe("onappupdate rollout", () => {
  test("status shows stages, counts, pace and what it waits for; so does onappupdate status", async () => {
    const { app, run } = await release({ stages: STAGES });
    const { code, out, err } = await run("rollout status");
    assert.deepEqual([code, err], [0, ""]);
    assert.match(out, /^Rollout of 2\.0\.0 is running, stage 1 of 3\nbegan 2023-11-14 22:13:20Z\n/);
    assert.match(out, /the portals of this stage are done\. The next one begins with: onappupdate rollout promote/);
    assert.match(out, /^ +1 +5 +until promote +since 2023-11-14 22:13:20Z$/m);
    assert.match(out, /^ +2 +50% +1 d +later\n +3 +100% +- +later$/m);
    assert.match(out, /^40 portals: 5 current, 35 held\n5\.0 a minute reach the version, about 7 min left$/m);
    assert.match(out, /^UPGRADE +IN FLIGHT +FINISHED +FAILED +PAUSES AT\n2\.0\.0 +0 +5 +0 +3$/m);
    assert.match(
      (await run("status")).out,
      /^Rollout of 2\.0\.0 is running, stage 1 of 3: the portals of this stage are done\./m,
    );
    const failing = await run("rollout status 2 --fail-on promote --fail-on aborted");
    assert.deepEqual([failing.code, failing.err], [1, "failed: promote\n"]);
    assert.equal((await run("rollout status --fail-on failures")).code, 0);
    const none = await run("rollout status 9");
    assert.deepEqual([none.code, none.out], [1, ""]);
    assert.match(none.err, /there is no rollout of 9/);
    await app.close();
  });

  test("status shows failures by cause without escape sequences, and that they have paused it", async () => {
    const { app, run } = await release({ stages: [{ percent: 100 }] }, () => {
      throw new Error("price list is \u001b[31mempty");
    });
    const { out } = await run("rollout status");
    assert.match(
      out,
      /^failures of upgrade 2\.0\.0 have paused it since .*Next: onappupdate rollout resume, or abort$/m,
    );
    assert.match(out, /^40 portals: 3 parked, 37 held$/m);
    assert.match(
      out,
      /^ +3 {2}upgrade 2\.0\.0: price list is \\u001b\[31mempty\n +--error [0-9a-f]{16}, such as [0-9a-f]{32}$/m,
    );
    assert.ok(!out.includes("\u001b"));
    // A portal that has just reached the version may not be counted yet.
    assert.doesNotMatch(out, /None has reached/);
    const later = await run("rollout status", APP, { now: () => NOW + 60_000 });
    assert.match(later.out, /^None has reached the version in the last ten minutes\.$/m);
    const screen = await run("rollout status", APP, { isTerminal: true });
    assert.ok(screen.out.split("\n").every((line) => stripVTControlCharacters(line).length <= 80), screen.out);
    assert.match((await run("rollout status --fail-on failures")).err, /failed: failures/);
    const doctor = await run("doctor");
    assert.equal(doctor.code, 1);
    assert.match(
      doctor.out,
      /^problem +rollout: .* is paused.*: failures of upgrade 2\.0\.0 have paused it.*\n +→ onappupdate rollout status/m,
    );
    await app.close();
  });

  test("actions are done on the rollout that was shown, and audited", async () => {
    const { app, run } = await release({ stages: STAGES });
    const { rollout } = app.admin;
    const waitsFor = async (): Promise<string | undefined> => (await rollout.status())?.waitsFor?.on;
    assert.deepEqual(await run("rollout pause", ACT), {
      ...{ code: 0, err: "" },
      out: "The rollout of 2.0.0 is paused. It goes on with: onappupdate rollout resume\n",
    });
    assert.equal(await waitsFor(), "resume");
    assert.match(
      (await run("rollout status")).out,
      /^Rollout of 2\.0\.0 is paused, .*\n.*\ncli:ada has paused it since .*: ticket 17\. It goes on with/,
    );
    assert.equal((await run("rollout resume 2 --retry-parked", ACT)).code, 0);
    assert.equal(await waitsFor(), "promote");
    assert.equal((await run("rollout promote", ACT)).code, 0);
    const [promoted] = (await app.admin.audit({ action: "rollout.promote" })).items;
    assert.deepEqual(promoted?.details, { target: "2.0.0", stage: 1 });
    const changes = "--stages 5,50%:2h,75% --failed 9 --percent 2.5 --window 22:00-06:00 --days 1,2 --time-zone UTC";
    assert.equal((await run(`rollout set ${changes} --hold ${memberIds(1)[0]}`, ACT)).code, 0);
    const { options } = (await rollout.status())!;
    assert.deepEqual([options.stages, options.pauseWhen, options.window, options.hold], [
      ...[[{ portals: 5 }, { percent: 50, forMs: 7_200_000 }, { percent: 75 }], { failed: 9, percent: 2.5 }],
      ...[{ from: "22:00", to: "06:00", days: [1, 2], timeZone: "UTC" }, memberIds(1)],
    ]);
    assert.equal((await run("rollout set --any-time", ACT)).code, 0);
    assert.equal((await rollout.status())?.options.window, undefined);
    assert.equal((await run("rollout abort", ACT)).code, 0);
    assert.equal((await rollout.status("2.0.0"))?.state, "aborted");
    const none = await run("rollout status");
    assert.match(none.err, /there is no rollout that is not aborted: .*; to see an aborted one, name its version/);
    const over = await run("rollout promote 2", ACT);
    assert.deepEqual([over.code, over.out], [1, ""]);
    const entries = (await app.admin.audit()).items.map(({ action, by, outcome }) => `${action} ${by} ${outcome}`);
    assert.deepEqual(
      entries.sort(),
      ["abort", "pause", "promote", "promote", "resume", "set", "set"].map((name, i) =>
        `rollout.${name} cli:ada ${i === 3 ? "refused" : "done"}`
      ),
    );
    await app.close();
  });

  test("an action asks with the counts, and no is an answer", async () => {
    const { app, run } = await release({ stages: STAGES });
    const { code, err } = await run("rollout abort --reason x", APP, {
      ...{ isTerminal: true, ask: () => Promise.resolve("n") },
    });
    assert.equal(code, 1);
    assert.match(err, /Abort the rollout of 2\.0\.0, running: 5 current, 0 upgrading, 0 parked, 35 held\?/);
    assert.deepEqual((await app.admin.audit()).items, []);
    await app.close();
  });

  test("invalid options exit with 2, and nothing is done", async () => {
    const { app, run } = await release({ stages: STAGES });
    const wrong: Readonly<Record<string, RegExp>> = {
      "set": /wanted an option to change/,
      "set --stages 5,many": /Wanted stages such as 5,10%:24h,100%/,
      "set --stages 5:24": /Wanted stages/,
      "set --window 22-6": /Wanted times such as/,
      "set --window 22:00-06:00": /wanted --window TIMES and --time-zone NAME/,
      "set --any-time --days 1": /saw --any-time and a window/,
      "set --days 8": /Wanted days/,
      "set --percent 101": /Wanted a number from 0 to 100/,
      "set --hold example.bitrix24.de": /Wanted a member_id/,
      "set --stages 50%,5": /stages/,
      "nope": /unknown command/,
    };
    for (const [args, message] of Object.entries(wrong)) {
      const { code, out, err } = await run(`rollout ${args}`, ACT);
      assert.deepEqual([code, out], [2, ""], args);
      assert.match(err, message, args);
    }
    const asked = await run("rollout pause");
    assert.equal(asked.code, 2);
    assert.match(asked.err, /needs --yes/);
    assert.ok((await app.admin.audit()).items.every(({ outcome }) => outcome !== "done"));
    await app.close();
  });
});
