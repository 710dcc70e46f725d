import assert from "node:assert/strict";
import { rateOf, type Sample } from "../../../src/cli/rate.ts";
import type { Terminal } from "../../../src/cli/terminal.ts";
import { cli, type CliOptions, type Outcome } from "../../support/cli.ts";
import { describe, test } from "../../support/test.ts";

/** Returns an operator API that counts one more current portal at each question, and parks one at the third if told to. */
function rollout({ parksAt = Infinity, isDownAt = -1 } = {}): Terminal["fetch"] {
  let round = 0;
  return (url) => {
    const { pathname } = new URL(url);
    if (pathname.endsWith("/counts")) {
      if (round === isDownAt) {
        round++;
        return Promise.reject(new TypeError("connection refused"));
      }
      const parked = round >= parksAt ? 1 : 0;
      const count = (status: string, count: number): object => ({ version: "3.0.0", status, count });
      const items = [count("current", 10 + round), count("upgrading", 20 - round), count("parked", parked)];
      round++;
      return Promise.resolve(Response.json({ items }));
    }
    return Promise.resolve(Response.json(pathname.endsWith("/pause") ? {} : { items: [] }));
  };
}

/** Watches until the given number of waits, each of half a minute. */
async function watch(
  args: readonly string[],
  fetch: Terminal["fetch"],
  waits: number,
  options: CliOptions = {},
): Promise<Outcome> {
  const interruption = new AbortController();
  let now = 1_700_000_000_000;
  let left = waits;
  return await cli(["status", "--watch", "--url", "https://ops.example", ...args], {
    env: { ONAPPUPDATE_TOKEN: "t".repeat(43) },
    now: () => now,
    interrupted: () => interruption.signal,
    wait: () => {
      now += 30_000;
      if (--left === 0) interruption.abort();
      return Promise.resolve();
    },
    fetch,
    ...options,
  });
}

describe("onappupdate status", () => {
  test("shows the largest causes from kept totals, and reads no list of portals", async () => {
    const example = { memberId: "a".repeat(32), domain: "acme.bitrix24.com" };
    const causes = [
      {
        status: "parked",
        count: 12_000,
        fingerprint: "f1",
        upgradeId: "3",
        step: "convert",
        message: "no list",
        example,
      },
      { status: "upgrading", count: 900, fingerprint: "f2", upgradeId: "3", message: "busy", example },
      { status: "blocked", count: 30, blockedOn: "payment", message: "the paid period is over", example },
      { status: "parked", count: 2, example },
      { status: "parked", count: 1, fingerprint: "f3" },
    ];
    const answers: Readonly<Record<string, object>> = {
      "/counts": { items: [{ version: "2.0.0", status: "parked", count: 12_003 }] },
      "/stuck?limit=100": { items: causes },
      ...{ "/pause": {}, "/rollout": {} },
    };
    const asked: string[] = [];
    const { code, out } = await cli(["status", "--url", "https://ops.example"], {
      env: { ONAPPUPDATE_TOKEN: "t".repeat(43) },
      fetch: (url) => {
        const { pathname, search } = new URL(url);
        const path = pathname.replace("/api/v1", "") + search;
        asked.push(path);
        return Promise.resolve(Response.json(answers[path] ?? {}));
      },
    });
    assert.deepEqual(asked.toSorted(), Object.keys(answers).toSorted());
    assert.equal(code, 0);
    const [, parked, blocked] = /^Parked: .*\n([^]*?)\n\nBlocked: .*\n([^]*)$/m.exec(out)!;
    assert.equal(
      parked,
      [
        ' 12,000  upgrade 3, step "convert": no list',
        "         --error f1, such as acme.bitrix24.com",
        "      2  before an upgrade: the handlers of an event have failed",
        "         such as acme.bitrix24.com",
        "      1  before an upgrade: its portals have gone on meanwhile",
        "         --error f3",
      ].join("\n"),
    );
    assert.equal(blocked, "     30  payment: the paid period is over\n         such as acme.bitrix24.com\n");
  });
});

describe("onappupdate status --watch", () => {
  test("shows the rate and the remaining time, until Ctrl+C", async () => {
    const { code, out, err } = await watch([], rollout(), 3);
    assert.deepEqual([code, err], [0, ""]);
    const screens = out.trim().split("\n\n\n").length;
    assert.equal((out.match(/^3\.0\.0 +current/gm) ?? []).length, 3, `${screens} screens`);
    assert.match(out, /^2\.0 a minute become current, about 9 min left$/m);
    assert.ok(!out.includes("\u001b"));
  });

  test("--json prints one line each time", async () => {
    const { out } = await watch(["--json"], rollout(), 2);
    const lines = out.trim().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(lines.map(({ totals }) => totals.current), [10, 11]);
    assert.deepEqual(lines[1].rate, { perMinute: 2, remainingMs: 570_000 });
  });

  test("draws over the screen of a terminal", async () => {
    const { out } = await watch([], rollout(), 2, { isTerminal: true });
    assert.equal(out.split("\u001b[H").length - 1, 2);
  });

  test("--fail-on ends it with 1", async () => {
    const { code, err } = await watch(["--fail-on", "parked"], rollout({ parksAt: 2 }), 9);
    assert.deepEqual([code, err], [1, "failed: 1 parked\n"]);
  });

  test("Ctrl+C ends it while the app does not answer", async () => {
    const interruption = new AbortController();
    const { code, err } = await watch(
      [],
      () => {
        setTimeout(() => interruption.abort(), 0);
        return new Promise(() => {});
      },
      1,
      { interrupted: () => interruption.signal },
    );
    assert.deepEqual([code, err], [0, ""]);
  });

  test("an outage is waited for, but not at the first question", async () => {
    const later = await watch([], rollout({ isDownAt: 1 }), 3);
    assert.equal(later.code, 0);
    assert.match(later.err, /does not answer: connection refused/);
    assert.equal((await watch([], rollout({ isDownAt: 0 }), 3)).code, 3);
  });
});

describe("rateOf()", () => {
  const totals = (
    current: number,
  ): Readonly<Record<"current" | "upgrading" | "blocked" | "parked" | "uninstalled", number>> => ({
    ...{ current, upgrading: 6, blocked: 0, parked: 0, uninstalled: 0 },
  });

  test("measures the last ten minutes, and never less than nothing", () => {
    let samples: readonly Sample[] = [];
    assert.equal(rateOf(samples, { at: 0, totals: totals(0) }).rate, undefined);
    for (const at of [0, 60_000, 700_000]) ({ samples } = rateOf(samples, { at, totals: totals(at / 60_000) }));
    assert.equal(samples.length, 1);
    assert.deepEqual(rateOf([{ at: 0, current: 5 }], { at: 60_000, totals: totals(8) }).rate, {
      ...{ perMinute: 3, remainingMs: 120_000 },
    });
    assert.deepEqual(rateOf([{ at: 0, current: 5 }], { at: 60_000, totals: totals(4) }).rate, { perMinute: 0 });
  });
});
