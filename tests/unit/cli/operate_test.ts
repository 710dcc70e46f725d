import assert from "node:assert/strict";
import { type App, type AuditEntry, CannotVerifyError, createApp, memoryStorage } from "@b24/onappupdate";
import type { Storage } from "@b24/onappupdate/storage";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { portalKey } from "../../../src/portal/keys.ts";
import type { Terminal } from "../../../src/cli/terminal.ts";
import { CLIENT_ID, MEMBER_ID, post, quietLogger } from "../../support/app.ts";
import { cli, type CliOptions, type Outcome } from "../../support/cli.ts";
import { type CliApp, cliApp, PORTALS, TOKEN } from "../../support/cli_app.ts";
import { after, before, describe, test } from "../../support/test.ts";

const { current, parked, alsoParked, uninstalled, blocked } = PORTALS;

describe("operating commands", () => {
  let app: CliApp;
  before(async () => void (app = await cliApp()));
  after(() => app.close());

  const local = (args: string, options: CliOptions = {}): Promise<Outcome> =>
    cli([...args.split(" "), "--app", "app.ts"], { ...app.local, ...options });
  const remote = (args: string, options: CliOptions = {}): Promise<Outcome> =>
    cli([...args.split(" "), "--url", "https://ops.example"], { ...app.remote, ...options });
  const json = async <T>(args: string): Promise<T> => JSON.parse((await local(`${args} --json`)).out);

  test("status shows portals by version and state, and what stops them", async () => {
    const { code, out, err } = await local("status");
    assert.deepEqual({ code, err }, { code: 0, err: "" });
    assert.match(out, /^3\.0\.0 +current +1 +█+░+$/m);
    assert.match(out, /^1\.0\.0 +parked +2 +█+░+$/m);
    assert.match(out, /^4 portals: 1 current, 1 blocked, 2 parked; 1 uninstalled$/m);
    assert.match(out, /^ +2 {2}upgrade prices: price list of parked\.bitrix24\.de is \\u001b\[31mempty/m);
    assert.match(out, /^ +1 {2}version: the version of the portal's data is not known/m);
  });

  test("status --fail-on exits with 1 if a portal is in the state", async () => {
    const { code, err } = await local("status --fail-on upgrading --fail-on parked");
    assert.deepEqual({ code, err }, { code: 1, err: "failed: 2 parked\n" });
    assert.equal((await local("status --fail-on upgrading")).code, 0);
    assert.equal((await local("status --fail-on broken")).code, 2);
  });

  test("nothing has escape sequences in a pipe, also if a message has, and a terminal shows colors", async () => {
    for (
      const args of [
        "status",
        "portals",

        `portal ${parked.domain}`,
        "audit",
        "doctor",
        "status --json",
      ]
    ) {
      const { out, err } = await local(args);
      assert.ok(!["\u001b", "\u009b"].some((escape) => (out + err).includes(escape)), args);
    }
    const { out } = await local("status", { isTerminal: true });
    assert.ok(out.includes("\u001b[31mparked\u001b[39m"), out);
    assert.ok(!out.includes("\u001b[31mempty"), out);
  });

  test("silences are added, listed and removed", async () => {
    const app = await cliApp();
    const local = (args: string): Promise<Outcome> => cli([...args.split(" "), "--app", "app.ts"], app.local);
    const remote = (args: string): Promise<Outcome> =>
      cli([...args.split(" "), "--url", "https://ops.example"], app.remote);
    const none = await local("silences");
    assert.deepEqual([none.code, none.out, none.err], [0, "", "No silence holds.\n"]);
    const added = await local("silences add --kind portal_parked --upgrade prices --for 2h --yes --reason fix");
    const [head, id] = added.out.trim().split("\n");
    assert.match(head!, /^Silenced until .*: portal_parked, upgrade prices$/);
    const { out } = await remote("silences");
    assert.match(out, new RegExp(`^${id} +portal_parked, upgrade prices +.* +cli:.* +fix$`, "m"));
    assert.equal((await local(`silences remove ${id} --yes --reason done`)).out, "Removed.\n");
    assert.equal((await local(`silences remove ${id} --yes --reason done`)).code, 1);
    assert.equal((await local("silences")).out, "");
    await app.close();
  });

  test("portal shows the last check, and the problems that it found", async () => {
    const app = await cliApp();
    const show = (...args: string[]): Promise<Outcome> =>
      cli(["portal", parked.domain, ...args, "--app", "app.ts"], app.local);
    const checked = async (part: object): Promise<void> => {
      const key = portalKey(parked.memberId);
      const { value } = (await app.storage.get<object>(key))!;
      await app.storage.put(key, { ...value, check: { at: 1_700_000_000_000 }, ...part });
    };
    assert.doesNotMatch((await show()).out, /last check/);
    await checked({});
    assert.match((await show()).out, /^ {2}last check at 2023-11-14 22:13:20Z: no problem is known$/m);
    const problems = [{ code: "registrations", message: "triggers paid: not registered\u001b[31m" }];
    await checked({ findings: { at: 1_699_999_000_000, problems } });
    const { out } = await show();
    assert.match(
      out,
      /^ {2}last check at 2023-11-14 21:56:40Z:\n {4}registrations: triggers paid: not registered\\u001b/m,
    );
    const { portal } = JSON.parse((await show("--json")).out);
    assert.deepEqual(portal.findings.problems.map(({ code }: { code: string }) => code), ["registrations"]);
    assert.equal(portal.checkedAt, 1_700_000_000_000);
    await app.close();
  });

  test("portals filters, limits and exports", async () => {
    const { items, hasMore } = await json<{ items: { memberId: string }[]; hasMore: boolean }>(
      "portals --status parked",
    );
    assert.deepEqual([items.map(({ memberId }) => memberId), hasMore], [[parked.memberId, alsoParked.memberId], false]);
    const one = await local("portals --limit 1");
    assert.match(one.out, new RegExp(`^${current.domain} +current +3\\.0\\.0 +${current.memberId}$`, "m"));
    assert.equal(one.err, "More portals match: raise --limit 1.\n");
    const short = await local("portals --version 3");
    assert.match(short.out, new RegExp(`^${current.domain} +current +3\\.0\\.0 `, "m"));
    for (const version of ["unknown", "3.x"]) {
      const { code, err } = await local(`portals --version ${version}`);
      assert.equal(code, 2);
      assert.match(err, /wanted a version such as 2 or 2\.1\.0; .* use --blocked-on version/i);
    }
    const none = await local("portals --version 9.0.0");
    assert.deepEqual([none.code, none.out, none.err], [0, "", "No portals match.\n"]);
  });

  test("if no portal matches the id of an upgrade, the ids are said to be in upgrades", async () => {
    const hint = "The ids of upgrades: onappupdate upgrades\n";
    const listed = await local("portals --upgrade 3");
    assert.deepEqual([listed.code, listed.err], [0, `No portals match. ${hint}`]);
    const retried = await local("retry --status parked --upgrade 3 --expect 1 --yes --reason x");
    assert.deepEqual([retried.code, retried.err], [0, `No portals match: nothing was done. ${hint}`]);
  });

  test("status of an app without portals says whether events wait for their verification", async () => {
    const storage = { ...memoryStorage(), close: () => Promise.resolve() };
    const shared: Storage = { ...storage, capabilities: { ...storage.capabilities, scope: "host" } };
    const create = (): App =>
      createApp({ storage: shared, logger: quietLogger, tickEveryMs: false }).use({
        name: "later",
        phase: "verify",
        around: () => Promise.reject(new CannotVerifyError("Bitrix24 does not answer")),
      });
    const status = async (): Promise<string> =>
      (await cli(["status", "--app", "app.ts"], { load: () => Promise.resolve(create()) })).out;
    assert.match(await status(), /^No portal is known yet: no installation has been received and verified\.$/m);
    const app = create();
    const portal = fakeBitrix24({ clientId: CLIENT_ID }).portal({ memberId: MEMBER_ID });
    assert.equal((await app.fetch(post(portal.install(1)))).status, 200);
    await app.close();
    assert.match(await status(), /^No portal is known yet: 1 event waits until Bitrix24 has verified it\.$/m);
  });

  test("portals names those that the app cannot read", async () => {
    const answer = { items: [], unreadable: [parked.memberId] };
    const { code, out, err } = await remote("portals", { fetch: () => Promise.resolve(Response.json(answer)) });
    assert.deepEqual([code, out], [0, ""]);
    assert.match(
      err,
      new RegExp(`The app cannot read 1 portal, which newer code wrote .* missing: ${parked.memberId}`),
    );
  });

  test("--csv exports what matches without formulas, and the audit log shows it", async () => {
    const own = await cliApp();
    try {
      const run = (args: string): Promise<Outcome> => cli([...args.split(" "), "--app", "app.ts"], own.local);
      const { code, out, err } = await run("portals --status parked --csv --reason audit-2023");
      assert.deepEqual([code, err], [0, ""]);
      const [head, row, other, end] = out.split("\r\n");
      assert.match(head!, /^member_id,domain,state,version,target,/);
      assert.match(row!, new RegExp(`^${parked.memberId},${parked.domain},parked,1\\.0\\.0,3\\.0\\.0,`));
      assert.match(row!, /is \\u001b\[31mempty/);
      assert.deepEqual([other!.slice(0, 32), end], [alsoParked.memberId, ""]);
      await run("portals --csv");
      const audit = await run("audit --csv");
      assert.match(audit.out, /^[^,]+,2023-11-14T22:13:20\.000Z,[^,]*,export,cli:ada,audit-2023,/m);
      assert.match(audit.out, /,export,cli:ada,onappupdate portals --csv,/);
      for (const wrong of ["portals --csv --json", "portals --csv --limit 5", "portals --reason x"]) {
        assert.equal((await run(wrong)).code, 2, wrong);
      }
    } finally {
      await own.close();
    }
  });

  test("an export that breaks off exits with 3", async () => {
    const body = new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode("member_id\r\n")),
      pull: (controller) => controller.error(new Error("connection reset")),
    });
    const { code, out, err } = await remote("portals --csv", { fetch: () => Promise.resolve(new Response(body)) });
    assert.deepEqual([code, out.length <= 11], [3, true]);
    assert.match(err, /broke off, so this is not all/);
  });

  test("portal shows a timeline by member_id and by domain", async () => {
    for (const name of [parked.memberId, parked.domain]) {
      const { code, out } = await local(`portal ${name}`);
      assert.equal(code, 0);
      assert.match(out, /^parked on 1\.0\.0, to be on 3\.0\.0$/m);
      assert.match(out, /event +ONAPPINSTALL: handled/);
      assert.match(out, /step +upgrade 2: "settings" took 0 ms/);
      assert.match(out, /failure +upgrade prices, attempt 1, parked: price list/);
    }
  });

  test("a domain that two portals have had exits with 1, names both and acts on neither", async () => {
    for (const run of [local, remote]) {
      for (const args of ["portal", "retry --yes --reason x", "forget --yes --reason x", "plan", "check"]) {
        const { code, out, err } = await run(`${args} ${uninstalled.domain}`);
        assert.deepEqual({ code, out }, { code: 1, out: "" }, args);
        assert.match(
          err,
          new RegExp(`${alsoParked.memberId}  parked  1\\.0\\.0\\n  ${uninstalled.memberId}  uninstalled`),
        );
      }
    }
    assert.deepEqual((await json<{ items: [] }>("audit")).items, []);
  });

  test("an unknown portal exits with 1", async () => {
    for (const name of ["f".repeat(32), "none.bitrix24.de"]) {
      const { code, out, err } = await local(`portal ${name}`);
      assert.deepEqual({ code, out }, { code: 1, out: "" });
      assert.match(err, /^error: no portal .*stored/);
    }
  });

  test("plan shows what would run for a portal, or between versions", async () => {
    assert.match(
      (await local(`plan ${parked.domain}`)).out,
      /^1\.0\.0 → 3\.0\.0\n {2}1\. prices {2}\(3\)\n {2}done: 2\n$/,
    );
    assert.match((await local(`plan ${uninstalled.memberId}`)).out, /^No upgrade would run: the app is removed/);
    assert.match((await local("plan --from 1 --to 3")).out, /1\. 2\n {2}2\. prices/);
    assert.match((await local("plan --from 3 --to 1")).out, /downgrade runs no upgrade/);
    assert.equal((await local("plan --from 1")).code, 2);
    const { code, err } = await local("plan --from 1 --to next");
    assert.equal(code, 2);
    assert.match(err, /'--to <version>' argument 'next' is invalid\. Wanted a version such as 3/);
  });

  test("rehearse exits with 1 if an upgrade was not rehearsed to its end", async () => {
    const { code, out } = await local(`rehearse ${parked.memberId}`);
    assert.equal(code, 1);
    assert.match(out, /^Rehearsal of portal b{32} from 1\.0\.0 to 3\.0\.0: not complete$[^]*^- prices: not rehearsed/m);
    assert.equal((await local(`rehearse ${current.memberId}`)).code, 0);
    const { err } = await local(`rehearse ${current.memberId} --to next`);
    assert.match(err, /'--to <version>' argument 'next' is invalid/);
  });

  test("check exits with 1 for a problem", async () => {
    const { code, out } = await local(`check ${parked.memberId}`);
    assert.equal(code, 1);
    assert.match(out, /^configuration: .*clientSecret/m);
  });

  test("upgrades and audit list what there is", async () => {
    assert.match((await local("upgrades")).out, /^prices +3 +2 +0 +0 +2$/m);
    assert.equal((await local("audit --action pause")).err, "No action is recorded.\n");
  });

  test("check and rehearse are recorded, with the reason and the outcome", async () => {
    await local(`check ${current.memberId} --reason ticket-17 --by grace`);
    await remote(`rehearse ${current.memberId} --to 1`);
    const { items } = await json<{ items: readonly AuditEntry[] }>("audit");
    const [check, rehearsal] = ["grace", "ada"].map((name) => items.find(({ by }) => by === name));
    assert.deepEqual([check!.action, check!.by, check!.reason, check!.outcome, check!.memberId], [
      ...["check", "grace", "ticket-17", "done", current.memberId],
    ]);
    assert.deepEqual([rehearsal!.action, rehearsal!.by, rehearsal!.reason, rehearsal!.outcome], [
      ...["rehearse", "ada", "onappupdate rehearse", "refused"],
    ]);
    assert.deepEqual(rehearsal!.details, { target: "1" });
  });

  test("doctor says what to do about each problem, and asks Bitrix24 about a portal", async () => {
    const { code, out } = await remote(`doctor ${parked.memberId}`);
    assert.equal(code, 1);
    assert.match(out, /^ok +portals: the storage has 5 portals$/m);
    assert.match(out, /^problem +portals: 2 portals are parked\n +→ onappupdate status shows the reasons/m);
    assert.match(out, /^problem +portals: 1 portal blocked on version, .*\n +→ onappupdate set-initial-version/m);
    assert.match(out, /^problem +registrations and events of b{32}: configuration: /m);
  });

  test("doctor looks at the machine of the app, and says which one that is", async () => {
    for (
      const [run, place, other] of [[local, "this machine", "the server"], [
        remote,
        "the server",
        "this machine",
      ]] as const
    ) {
      const { out } = await run("doctor");
      assert.match(out, new RegExp(`^ok +configuration \\(${place}\\): the app is set up: versions `, "m"));
      assert.match(out, new RegExp(`^warning +configuration \\(${place}\\): access tokens cannot be refreshed`, "m"));
      assert.match(out, new RegExp(`^ok +storage memory \\(${place}\\): answers in `, "m"));
      assert.match(
        out,
        new RegExp(
          `^problem +host oauth\\.bitrix24\\.tech \\(${place}\\): does not answer: no route to host\\n +→ let outgoing https`,
          "m",
        ),
      );
      assert.match(out, new RegExp(`^ok +permissions \\(${place}\\): `, "m"));
      assert.ok(!out.includes(`(${other})`));
    }
    assert.match((await remote("doctor")).out, /^ok +ticks \(the server\): this process ticks only when/m);
  });

  test("doctor of a server whose storage is down shows what it found, and exits with 3", async () => {
    const fetch: Terminal["fetch"] = (url, init) =>
      new URL(url).pathname.endsWith("/diagnose")
        ? app.remote.fetch!(url, init)
        : Promise.resolve(Response.json({ error: { code: "storage", message: "down" } }, { status: 503 }));
    const { code, out, err } = await remote("doctor", { fetch });
    assert.equal(code, 3);
    assert.match(out, /^ok +configuration \(the server\)/m);
    assert.match(err, /down/);
  });

  test("doctor of a portal that Bitrix24 does not answer about shows what it found of the app", async () => {
    const fetch: Terminal["fetch"] = (url, init) =>
      new URL(url).pathname.endsWith("/check")
        ? Promise.resolve(Response.json({ error: { code: "unreachable", message: "host down" } }, { status: 502 }))
        : app.remote.fetch!(url, init);
    const { code, out, err } = await remote(`doctor ${parked.memberId}`, { fetch });
    assert.equal(code, 3);
    assert.match(out, /^problem +portals: 2 portals are parked$/m);
    assert.match(err, /host down/);
  });

  test("doctor notices that nobody ticks", async () => {
    const { out } = await remote("doctor", { now: () => 1_700_000_000_000 + 2 * 3_600_000 });
    assert.match(
      out,
      /^problem +schedule and ticks: 1 piece of work overdue, the oldest for 1 h\n +→ Is the app running\?/m,
    );
  });

  /** Returns what the audit log has besides questions. */
  const changes = async (): Promise<readonly AuditEntry[]> =>
    (await json<{ items: readonly AuditEntry[] }>("audit")).items
      .filter(({ action }) => action !== "check" && action !== "rehearse");

  test("without a terminal, nothing is done without --yes and --reason, and a filter needs --expect", async () => {
    const refused = {
      "retry X": /needs --yes and --reason TEXT/,
      "retry X --yes": /needs --reason/,
      "retry --status parked --yes --reason x": /needs --expect N/,
      "retry --yes --reason x": /wanted a portal, or a filter/,
      "retry X --status parked --yes --reason x": /a portal and a filter/,
      "retry X --expect 1 --yes --reason x": /--expect is for filters/,
      "skip X --yes --reason x": /wanted --upgrade ID/,
      "set-target X --yes --reason x": /wanted --to VERSION/,
      "set-target X --to next --yes --reason x": /'--to <version>' argument 'next' is invalid/,
      "set-initial-version X --to next --yes --reason x": /'--to <version>' argument 'next' is invalid/,
      "pause --reason x": /needs --yes/,
      "outbox retry --yes --reason x": /wanted --plugin/,
      "outbox --channel telegram": /--id and --channel are for retry/,
      "silences --kind portal_parked": /--for are for silences add/,
      "silences remove --yes --reason x": /wanted silences, silences add, or silences remove ID/,
      "silences add --kind a --yes --reason x": /wanted --for TIME/,
      "silences add --for 2h --yes --reason x": /wanted at least one of --kind/,
      "silences add --for 2w --yes --reason x": /minutes, hours or days/,
      "batches stop --yes --reason x": /batches stop ID/,
    };
    for (const [args, reason] of Object.entries(refused)) {
      const { code, out, err } = await local(args.replace("X", parked.memberId));
      assert.deepEqual({ code, out }, { code: 2, out: "" }, args);
      assert.match(err, reason, args);
    }
    const long = await cli(["pause", "--yes", "--reason", "a\nb", "--app", "app.ts"], app.local);
    assert.equal(long.code, 2);
    assert.deepEqual(await changes(), []);
  });

  test("on a terminal it asks for the reason and whether to act, and no is an answer", async () => {
    const questions: string[] = [];
    const answers = ["ticket 17", "n"];
    const ask = (question: string): Promise<string> => {
      questions.push(question);
      return Promise.resolve(answers.shift()!);
    };
    const { code, out, err } = await local(`retry ${parked.domain}`, { isTerminal: true, ask });
    assert.deepEqual({ code, out }, { code: 1, out: "" });
    assert.match(
      err,
      /Retry parked\.bitrix24\.de \(b{32}\), parked on 1\.0\.0\? \(the app of app\.ts\)\n.*nothing was done/,
    );
    assert.deepEqual(questions, ["Reason, for the audit log: ", "Go on? [y/N] "]);
    assert.deepEqual(await changes(), []);
  });

  test("a portal whose data is erased has a name in lists and questions", async () => {
    assert.equal((await local(`forget ${current.memberId} --yes --reason x`)).code, 0);
    assert.match(
      (await local("portals")).out,
      new RegExp(`^\\(erased\\) +uninstalled +\\? +${current.memberId}$`, "m"),
    );
    assert.match((await local(`portal ${current.memberId}`)).out, /^\(erased\) {2}/);
    const ask = (): Promise<string> => Promise.resolve("n");
    const { err } = await local(`retry ${current.memberId} --reason x`, { isTerminal: true, ask });
    assert.match(err, /^Retry \(erased\) \(/);
  });

  test("retry says that no upgrade of a portal is due", async () => {
    const app = await cliApp();
    const retry = (portal: string, ...args: string[]): Promise<Outcome> =>
      cli(["retry", portal, "--yes", "--reason", "x", "--app", "app.ts", ...args], app.local);
    const { code, out } = await retry(current.domain);
    assert.equal(code, 0);
    assert.match(out, /^Done: retry .*\. It is current on 3\.0\.0: no upgrade is due, and only events that failed/);
    assert.match((await retry(uninstalled.memberId)).out, /\. The app is removed from it: no upgrade is due/);
    assert.match((await retry(parked.domain)).out, /^Done: retry parked\.bitrix24\.de\.\n/);
    await app.close();
  });

  test("resume says that nothing was paused", async () => {
    const app = await cliApp();
    const run = (command: string): Promise<Outcome> =>
      cli([command, "--yes", "--reason", "x", "--app", "app.ts"], app.local);
    assert.match((await run("resume")).out, /^There was no pause\. A paused rollout goes on with: /);
    await run("pause");
    assert.match((await run("resume")).out, /^Resumed\. /);
    await app.close();
  });

  test("outbox retry says that no dead letter matches", async () => {
    const app = await cliApp();
    const { code, out } = await cli(
      ["outbox", "retry", "--plugin", "none", "--yes", "--reason", "x", "--app", "app.ts"],
      app.local,
    );
    assert.deepEqual([code, out], [0, "No dead letters match: nothing was done. onappupdate outbox lists them.\n"]);
    await app.close();
  });

  test("a terminal obeys nothing in the outcome of an action", async () => {
    const fetch: Terminal["fetch"] = () => Promise.resolve(Response.json({}));
    const { code, out } = await remote("batches stop a\u009b2J\u001b]0;x\u0007 --yes --reason x", { fetch });
    assert.deepEqual([code, out], [0, "Stopped: a\\u009b2J\\u001b]0;x\\u0007.\n"]);
  });

  test("a filter that matches more than --expect does nothing", async () => {
    for (const run of [local, remote]) {
      const { code, out, err } = await run("retry --status parked --expect 1 --yes --reason x");
      assert.deepEqual({ code, out }, { code: 1, out: "" });
      assert.match(err, /^error: 2 portals match, wanted at most 1/);
    }
    assert.deepEqual((await json<{ items: [] }>("batches")).items, []);
  });
});

describe("commands that act", () => {
  const run = async (
    args: string,
    how: "local" | "remote" = "local",
    options: CliOptions = {},
  ): Promise<Outcome & { readonly audit: readonly AuditEntry[] }> => {
    const app = await cliApp();
    try {
      const to = how === "local" ? ["--app", "app.ts"] : ["--url", "https://ops.example"];
      const outcome = await cli([...args.split(" "), "--yes", "--reason", "ticket 17", ...to], {
        ...app[how],
        ...options,
      });
      const admin = app.load().admin;
      return { ...outcome, audit: (await admin.audit()).items };
    } finally {
      await app.close();
    }
  };

  const actions: Readonly<Record<string, readonly [action: string, details?: object]>> = {
    [`retry ${parked.domain}`]: ["retry"],
    [`skip ${parked.memberId} --upgrade prices`]: ["skip", { upgradeId: "prices" }],
    [`rollback ${parked.memberId}`]: ["rollback"],
    [`set-target ${parked.memberId} --to 2`]: ["setTarget", { version: "2" }],
    [`set-initial-version ${blocked.memberId} --to 2`]: ["setInitialVersion", { version: "2" }],
    [`forget ${current.memberId}`]: ["forget"],
    "pause": ["pause"],
    "resume": ["resume"],
    "recount": ["recount"],
  };
  for (const [args, [action, details]] of Object.entries(actions)) {
    test(`${args.split(" ")[0]} is done, and audited`, async () => {
      const { code, out, err, audit: [entry] } = await run(args);
      assert.deepEqual([code, err], [0, ""]);
      assert.notEqual(out, "");
      assert.deepEqual([entry?.action, entry?.outcome, entry?.by, entry?.reason], [
        action,
        "done",
        "cli:ada",
        "ticket 17",
      ]);
      if (details !== undefined) assert.deepEqual(entry?.details, details);
    });
  }

  test("--by names the operator; over the network it is the token's name", async () => {
    assert.equal((await run(`retry ${parked.domain} --by grace`)).audit[0]?.by, "grace");
    assert.equal((await run(`retry ${parked.domain}`, "remote")).audit[0]?.by, "ada");
    const refused = await run(`retry ${parked.domain} --by grace`, "remote");
    assert.deepEqual([refused.code, refused.audit.length], [2, 0]);
    assert.match(refused.err, /--by has no effect with --url/);
    for (const by of [" ", "a\u202eb", "a\nb"]) {
      const none = await cli(["pause", "--yes", "--reason", "x", "--app", "app.ts", "--by", by]);
      const wanted = "1 to 100 characters without control characters, also of text direction";
      assert.deepEqual([none.code, none.err], [2, `error: --by: wanted ${wanted}\n`]);
    }
  });

  test("an action without a name of the user needs --by", async () => {
    const { code, err, audit } = await run("pause", "local", { userName: () => undefined });
    assert.deepEqual([code, audit.length], [2, 0]);
    assert.match(err, /wanted --by NAME/);
  });

  test("rollback lists what was undone, and what cannot be", async () => {
    assert.match((await run(`rollback ${parked.memberId}`)).out, /no undo: upgrade prices, step "prices"/);
  });

  test("rollback says that the portal is parked, the timeline has it, and there is no second one", async () => {
    const app = await cliApp();
    const run = (...args: string[]): Promise<Outcome> => cli([...args, "--app", "app.ts"], app.local);
    const { out } = await run("rollback", current.domain, "--yes", "--reason", "x");
    assert.match(
      out,
      /^Done: roll back current\.bitrix24\.de\. It is parked: onappupdate retry begins .*\.\n {2}no undo: /,
    );
    assert.doesNotMatch(out, /next tick/);
    assert.match((await run("portal", current.domain)).out, /Z {2}run +1\.0\.0 → 3\.0\.0 rolled back$/m);
    const again = await run("rollback", current.domain, "--yes", "--reason", "x");
    assert.match(again.err, /cannot roll back portal a{32}: its last run is rolled back already/);
    await app.close();
  });

  test("an action on many becomes a batch operation", async () => {
    for (const how of ["local", "remote"] as const) {
      const { code, out, audit } = await run("retry --status parked --upgrade prices --expect 2", how);
      assert.equal(code, 0);
      assert.match(out, /^Batch operation \S+: retry 2 portals\.\n/);
      assert.deepEqual(audit.at(-1)?.details?.["match"], { status: "parked", upgradeId: "prices" });
    }
    const { audit } = await run("skip --status parked --upgrade prices --expect 2");
    assert.deepEqual(audit.at(-1)?.details?.["match"], { status: "parked" });
  });

  test("rollback of a portal that the app was removed from is refused", async () => {
    const { code, err, audit: [entry] } = await run(`rollback ${uninstalled.memberId}`);
    assert.deepEqual([code, entry?.outcome], [1, "refused"]);
    assert.equal(err, `error: cannot roll back portal ${uninstalled.memberId}: the app was removed from it\n`);
  });

  test("a refusal of the app exits with 1", async () => {
    const { code, err, audit: [entry] } = await run(`skip ${current.memberId} --upgrade prices`);
    assert.deepEqual([code, entry?.outcome], [1, "refused"]);
    assert.match(err, /^error: .*prices.* is not due\nonappupdate upgrades has the ids/);
  });

  test("an invalid version exits with 2", async () => {
    for (
      const args of [`set-target ${parked.memberId} --to next`, `set-initial-version ${blocked.memberId} --to next`]
    ) {
      const { code, err, audit } = await run(args);
      assert.deepEqual([code, audit.filter(({ outcome }) => outcome === "done")], [2, []], err);
      assert.match(err, /Wanted a version such as/);
    }
  });

  test("no output and no error has the token", async () => {
    for (const env of [{ ONAPPUPDATE_TOKEN: `${TOKEN}-wrong` }, { ONAPPUPDATE_TOKEN: `${TOKEN}-read` }]) {
      const { code, out, err } = await run("pause", "remote", { env });
      assert.equal(code, 1);
      assert.doesNotMatch(out + err, /operator-token/);
    }
  });
});
