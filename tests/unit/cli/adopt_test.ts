import assert from "node:assert/strict";
import { type App, memoryStorage } from "@b24/onappupdate";
import type { Storage } from "@b24/onappupdate/storage";
import { assertNoTokens, type OldProgram, oldProgram } from "../../support/adoption.ts";
import { cli, type CliOptions, type Outcome } from "../../support/cli.ts";
import { describe, test } from "../../support/test.ts";

const ACT = ["--yes", "--reason", "ticket 17", "--app", "app.ts"];

/** Returns an old program, and a function that loads a new app, always on the same storage. */
function scene(): { readonly old: OldProgram; readonly load: () => App; readonly options: CliOptions } {
  const old = oldProgram();
  const inner = memoryStorage();
  const storage: Storage = {
    ...inner,
    capabilities: { ...inner.capabilities, scope: "host" },
    close: () => Promise.resolve(),
  };
  const load = (): App => old.app({ storage });
  return { old, load, options: { load: () => Promise.resolve(load()) } };
}

function adopt(args: readonly string[], options: CliOptions): Promise<Outcome> {
  return cli(["adopt", ...args, ...ACT], options);
}

describe("onappupdate adopt", () => {
  test("adopts a file in the name of the operator, and names the lines that are not adopted", async () => {
    const { old, load, options } = scene();
    const [first, second] = [old.add(1), old.add(2)];
    const file = [first.row, "no JSON", second.row].map((row) => typeof row === "string" ? row : JSON.stringify(row));
    const bar: (readonly [string, number | undefined] | number)[] = [];
    const progress: CliOptions["progress"] = (label, total) => {
      bar.push([label, total]);
      return { update: (done) => void bar.push(done), stop: () => {} };
    };
    const outcome = await adopt(["portals.jsonl"], {
      ...{ ...options, progress, files: { "portals.jsonl": `${file.join("\r\n")}\n` } },
    });
    assert.equal(outcome.code, 1);
    assert.equal(
      outcome.out,
      "3 lines, 2 adopted, 1 not adopted (1 invalid)\nThe started app goes on with its next tick, by default within 30 seconds.\n",
    );
    assert.match(outcome.err, /^line 2: invalid: .*JSON.*\n$/);
    assert.deepEqual(bar, [["adopting", 3], 1, 2, 3]);
    assertNoTokens(outcome);
    const app = load();
    assert.equal((await app.portal(second.portal.memberId))?.version, "2.0.0");
    const { items: [entry] } = await app.admin.audit();
    assert.deepEqual([entry?.action, entry?.by, entry?.reason], ["adopt", "cli:ada", "ticket 17"]);
    await app.close();
  });

  test("--dry-run stores nothing and asks nothing; --refresh refreshes", async () => {
    const { old, load, options } = scene();
    const { portal, row } = old.add(1);
    const stdin = JSON.stringify(row);
    const ask = (): Promise<string> => Promise.resolve("n");
    const dry = await cli(["adopt", "-", "--dry-run", "--reason", "x", "--app", "app.ts"], {
      ...{ ...options, stdin, isTerminal: true, ask },
    });
    assert.deepEqual([dry.code, dry.out], [0, "Dry run, nothing is stored: 1 line, 1 adopted, 0 not adopted\n"]);
    const piped = await cli(["adopt", "-", "--dry-run", "--reason", "x", "--app", "app.ts"], { ...options, stdin });
    assert.deepEqual([piped.code, piped.out], [dry.code, dry.out], piped.err);
    const refused = await cli(["adopt", "-", "--refresh", "--reason", "x", "--app", "app.ts"], {
      ...{ ...options, stdin, isTerminal: true, ask },
    });
    assert.equal(refused.code, 1);
    assert.match(refused.err, /Adopt 1 line of standard input, and refresh expired tokens: those of the file are dead/);
    const app = load();
    assert.equal(await app.portal(portal.memberId), undefined);
    portal.expireTokens();
    const json = await adopt(["-", "--json", "--per-minute", "1000"], { ...options, stdin });
    const { notAdopted, reasons, problems } = JSON.parse(json.out);
    assert.deepEqual([json.code, notAdopted, reasons, problems[0].memberId], [1, 1, { expired: 1 }, portal.memberId]);
    assert.equal((await adopt(["-", "--refresh"], { ...options, stdin })).code, 0);
    assert.equal((await app.portal(portal.memberId))?.version, "1.0.0");
    await app.close();
  });

  test("refuses a file that cannot be read, and without --yes, before anything is done", async () => {
    const { load, options } = scene();
    const unread = await adopt(["none.jsonl"], options);
    assert.equal(unread.code, 2);
    assert.match(unread.err, /^error: cannot read none\.jsonl: /);
    const asked = await cli(["adopt", "-", "--app", "app.ts"], options);
    assert.deepEqual([asked.code, asked.out], [2, ""]);
    assert.match(asked.err, /needs --yes/);
    const app = load();
    assert.deepEqual((await app.admin.audit()).items, []);
    await app.close();
  });

  test("says how to go on after Ctrl+C, a broken connection and an error", async () => {
    const { old, options } = scene();
    const stdin = JSON.stringify(old.add(1).row);
    const stopped = await adopt(["-"], { ...options, stdin, interrupted: () => AbortSignal.abort() });
    assert.equal(stopped.code, 1);
    assert.match(stopped.err, /stopped after 0 lines: run the command again with the same file to go on/);

    const remote = (body: string): Promise<Outcome> =>
      cli(["adopt", "-", "--yes", "--reason", "x", "--url", "https://ops.example"], {
        ...{ stdin, env: { ONAPPUPDATE_TOKEN: "t".repeat(43) }, fetch: () => Promise.resolve(new Response(body)) },
      });
    const line = `${JSON.stringify({ line: { line: 1, outcome: "adopted" } })}\n`;
    const repeated = await remote(`{"error":{"code":"failed","message":"saw ${"t".repeat(43)}"}}\n`);
    assert.match(repeated.err, /^error: saw \[/);
    const broken = await remote(line);
    assert.deepEqual([broken.code, broken.out], [3, ""]);
    assert.match(broken.err, /broke off after 1 line: run the command again/);
    const failed = await remote(`${line}{"error":{"code":"unreachable","message":"no OAuth host answers"}}\n`);
    assert.equal(failed.code, 3);
    assert.match(failed.err, /no OAuth host answers\nIt ended after 1 line: run the command again/);
  });
});
