import assert from "node:assert/strict";
import { coerced, deployed, mapped, memoryStorage, NonRetriableError, type PortalToAdopt } from "@b24/onappupdate";
import { adopted, assertNoTokens, briefly, entriesOf, type OldProgram, oldProgram } from "../../support/adoption.ts";
import { appliedUpgrades, post } from "../../support/app.ts";
import { OPERATOR } from "../../support/operator.ts";
import { describe, it } from "../../support/test.ts";

describe("admin.adopt()", () => {
  it("adopts portals with their version, so that an update runs the upgrades above it and no other", async () => {
    const old = oldProgram();
    const portals = [old.add(1), old.add(2), old.add(3)];
    const app = old.app();
    const ran: string[] = [];
    for (const version of ["1", "2", "3", "4"]) {
      app.upgrade(version, ({ memberId }) => void ran.push(`${memberId} ${version}`));
    }
    const lines = await adopted(app, portals.map(({ row }) => row));
    assert.deepEqual(
      lines,
      portals.map(({ portal: { memberId } }, i) => ({
        ...{ line: i + 1, memberId, outcome: "adopted", version: `${i + 1}.0.0`, target: `${i + 1}.0.0` },
      })),
    );
    await app.settled();
    assert.deepEqual(ran, []);
    assert.deepEqual(
      (await app.admin.counts()).map(({ version, status, count }) => [version, status, count]),
      ["1.0.0", "2.0.0", "3.0.0"].map((version) => [version, "current", 1]),
    );
    for (const { portal } of portals) {
      const { domain } = (await app.portal(portal.memberId))!;
      assert.equal(domain, portal.domain);
      assert.equal((await app.fetch(post(portal.update(4)))).status, 200);
      await app.settled();
    }
    assert.deepEqual(
      ran,
      portals.flatMap(({ portal: { memberId } }, i) =>
        ["2", "3", "4"].slice(i).map((version) => `${memberId} ${version}`)
      ),
    );
    await app.close();
  });

  it("verifies later events without tokens by the application_token of the line", async () => {
    const old = oldProgram();
    const [known, unknown] = [old.add(2), old.add(2)];
    const app = old.app();
    const token = new URLSearchParams(known.portal.event("ONCRMDEALADD", {})).get("auth[application_token]")!;
    await adopted(app, [{ ...known.row, applicationToken: token }, unknown.row]);
    for (const { portal } of [known, unknown]) await app.fetch(post(portal.uninstall()));
    await app.settled();
    assert.equal((await app.portal(known.portal.memberId))?.status, "uninstalled");
    assert.equal((await app.portal(unknown.portal.memberId))?.status, "installed");
    await app.close();
  });

  it("has silent portals checked, so that an update whose event is lost is found", async () => {
    const old = oldProgram();
    const { portal, row } = old.add(2);
    const app = old.app({ checks: {} }).upgrade("3", () => {});
    await adopted(app, [row]);
    portal.update(3);
    old.now += 6 * 24 * 60 * 60 * 1000;
    await app.tick();
    assert.equal((await app.portal(portal.memberId))?.version, "2.0.0");
    old.now += 2 * 24 * 60 * 60 * 1000;
    await app.tick();
    await app.settled();
    assert.equal((await app.portal(portal.memberId))?.version, "3.0.0");
    await app.close();
  });

  it("takes no ONAPPINSTALL of an adopted portal as the one for which upgrades wait", async () => {
    const old = oldProgram();
    const { portal, row } = old.add(2);
    const ran: string[] = [];
    const app = old.app().upgrade("3", () => void ran.push("upgrade")).on("ONAPPINSTALL", ({ event }) => {
      ran.push(`handler ${event.data.version}`);
      throw new NonRetriableError("no");
    });
    await adopted(app, [row]);
    for (const version of [2, 3]) {
      await app.fetch(post(portal.update(version, { as: "ONAPPINSTALL" })));
      await app.settled();
    }
    const { version, generation } = (await app.portal(portal.memberId))!;
    assert.deepEqual([version, generation, ran], ["3.0.0", 1, ["handler 2", "upgrade", "handler 3"]]);
    await app.close();
  });

  it("keeps the application_token of a known portal, whatever a line says", async () => {
    const old = oldProgram();
    const { row } = old.add(2);
    const app = old.app();
    await adopted(app, [{ ...row, applicationToken: "a".repeat(32) }]);
    const { applicationToken } = (await app.portal(row.memberId))!;
    assert.ok(applicationToken !== undefined);
    const again = { ...row, applicationToken: "b".repeat(32) };
    assert.deepEqual(briefly(await adopted(app, [again])), [["unchanged", undefined]]);
    assert.deepEqual((await app.portal(row.memberId))!.applicationToken, applicationToken);
    await app.close();
  });

  it("names each line that it does not adopt, and why, and prints no token", async () => {
    const old = oldProgram();
    const good = old.add(2);
    const other = old.add(2);
    const foreign = old.add(2, { clientId: "app.other" });
    const gone = old.add(2);
    gone.portal.uninstall();
    const ended = old.add(2);
    ended.portal.expireTokens({ refresh: true });
    const above = old.add(2);
    const secret = "5ec2e7".repeat(6);
    const lines: readonly (readonly [unknown, string, RegExp])[] = [
      [`{"memberId": "${secret}`, "invalid", /^\d+ characters that are not JSON$/],
      ["x".repeat(20_000), "invalid", /^the line is longer than 16384 characters$/],
      ["[]", "invalid", /^a list, wanted an object with memberId, accessToken/],
      ["null", "invalid", /^null, wanted an object/],
      [{ ...good.row, acess_token: secret }, "invalid", /^unknown field acess_token, wanted memberId, accessToken/],
      [{ ...good.row, [secret]: "1" }, "invalid", /^unknown field with an invalid name/],
      [{ ...good.row, memberId: secret }, "invalid", /^memberId is a string of 36 characters, wanted 32 hexadecimal/],
      [{ memberId: good.row.memberId }, "invalid", /^accessToken is missing, wanted a token/],
      [{ ...good.row, accessToken: `${secret} ` }, "invalid", /^accessToken is a string of 37 characters/],
      [{ ...good.row, refreshToken: "" }, "invalid", /^refreshToken is an empty string/],
      [
        { ...good.row, expiresAt: 1_785_400_000 },
        "invalid",
        /^expiresAt is a time in seconds, wanted a time in milliseconds/,
      ],
      [{ ...good.row, serverEndpoint: "oauth" }, "invalid", /^serverEndpoint is a string of 5 characters/],
      [{ ...good.row, version: "latest" }, "invalid", /^version is "latest", wanted a version such as/],
      [{ ...good.row, version: 2.1 }, "invalid", /^version is 2.1, wanted a version such as/],
      [{ ...good.row, version: secret }, "invalid", /^version is a string of 36 characters/],
      [{ ...good.row, accessToken: other.tokens.accessToken }, "other_portal", /^its tokens belong to portal a+/],
      [foreign.row, "other_app", /^its tokens belong to another app$/],
      [gone.row, "not_installed", /^unverified: Bitrix24 answered NOT_INSTALLED$/],
      [ended.row, "expired", /^unverified: its access token is no longer valid$/],
      [
        { ...above.row, version: "3" },
        "version",
        /^the version 3.0.0 of the line is above the version that is install/,
      ],
    ];
    const app = old.app();
    const seen = await adopted(
      app,
      lines.map(([value]) => typeof value === "string" ? value : value as PortalToAdopt),
    );
    for (const [i, [, reason, message]] of lines.entries()) {
      const { line, outcome, ...found } = seen[i]!;
      assert.deepEqual([line, outcome, found.reason], [i + 1, "not_adopted", reason]);
      assert.match(found.message!, message);
    }
    const { items } = await app.admin.audit();
    const stored = await entriesOf(memoryStorage());
    assertNoTokens([seen, items, old.lines, stored], [secret]);
    assert.deepEqual(await app.admin.counts(), []);
    await app.close();
  });

  it("reads JSON lines from strings, bytes cut anywhere, and mixed with objects", async () => {
    const old = oldProgram();
    const portals = [old.add(1), old.add(2), old.add(3)];
    const text = `\uFEFF${portals.map(({ row }) => JSON.stringify(row)).join("\r\n\r\n")}`;
    const bytes = new TextEncoder().encode(text);
    async function* chunks(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < bytes.length; at += 7) yield bytes.slice(at, at + 7);
      await Promise.resolve();
    }
    const [first, second, third] = portals;
    const mixed = ["", JSON.stringify(first!.row), second!.row, new TextEncoder().encode(JSON.stringify(third!.row))];
    for (
      const [source, numbers] of [
        [text, [1, 3, 5]],
        [text.split("\n"), [1, 3, 5]],
        [chunks(), [1, 3, 5]],
        [new Response(text).body!, [1, 3, 5]],
        [mixed, [2, 3, 4]],
      ] as const
    ) {
      const app = old.app();
      const lines = await adopted(app, source);
      assert.deepEqual(lines.map(({ line, outcome }) => [line, outcome]), numbers.map((n) => [n, "adopted"]));
      await app.close();
    }
  });

  it("adopts a portal once: further lines of it are named, and a failed one does not count", async () => {
    const old = oldProgram();
    const { row } = old.add(2);
    const app = old.app();
    const failing = { ...row, accessToken: "acce55dead" };
    const lines = await adopted(app, [failing, row, { ...row, version: "1" }]);
    assert.deepEqual(briefly(lines), [["not_adopted", "expired"], ["adopted", undefined], ["not_adopted", "twice"]]);
    assert.equal(lines[2]!.message, "line 2 has this portal");
    await app.close();
  });

  it("skips what is adopted without asking Bitrix24, and changes nothing of it", async () => {
    const old = oldProgram();
    const portals = [old.add(1), old.add(2)];
    const storage = memoryStorage();
    const app = old.app({ storage });
    await adopted(app, portals.map(({ row }) => row));
    const before = await entriesOf(storage, ["audit"]);
    const requests = old.bitrix24.requests();
    const lines = await adopted(app, [{ ...portals[0]!.row, version: "0.9" }, portals[1]!.row]);
    assert.deepEqual(briefly(lines), [["unchanged", "known_version"], ["unchanged", undefined]]);
    assert.match(lines[0]!.message!, /stays on 1\.0\.0, which is above the version 0\.9\.0/);
    assert.equal(old.bitrix24.requests(), requests);
    assert.deepEqual(await entriesOf(storage, ["audit"]), before);
    await app.close();
  });

  it("fills in what a known portal lacks, and neither its version nor its target changes", async () => {
    const old = oldProgram();
    const { portal, row } = old.add(2);
    const app = old.app({ initialVersion: "2" }).upgrade("3", () => {
      throw new Error("no");
    });
    await app.fetch(post(portal.update(3)));
    old.now += 2 * 60 * 60 * 1000;
    portal.expireTokens({ refresh: true });
    await app.check(portal.memberId).catch(() => {});
    const before = (await app.portal(portal.memberId))!;
    assert.equal(before.target, "3.0.0");
    const fresh = { memberId: row.memberId, version: "3", ...portal.tokens() };
    const [line] = await adopted(app, [fresh]);
    assert.deepEqual([line!.outcome, line!.reason, line!.version], ["filled_in", "known_version", "2.0.0"]);
    const after = (await app.portal(portal.memberId))!;
    assert.deepEqual([after.version, after.target, after.applicationToken], [
      "2.0.0",
      "3.0.0",
      before.applicationToken,
    ]);
    assert.equal((await app.credentials.get(portal.memberId)).accessToken.reveal(), fresh.accessToken);
    await app.close();
  });

  it("sets the version of a known portal that is blocked on it, which continues", async () => {
    const old = oldProgram();
    const { portal, row } = old.add(2);
    const ran: string[] = [];
    const app = old.app().upgrade("2", () => void ran.push("2")).upgrade("3", () => void ran.push("3"));
    await app.fetch(post(portal.event("ONCRMDEALADD", { "FIELDS[ID]": "1" })));
    await app.settled();
    old.now += 120_000;
    await app.tick();
    await app.settled();
    assert.equal((await app.portal(portal.memberId))?.blocked?.on, "version");
    assert.deepEqual(briefly(await adopted(app, [{ ...row, version: "3" }])), [["unchanged", "version"]]);
    assert.deepEqual(briefly(await adopted(app, [{ ...row, version: "1" }])), [["filled_in", undefined]]);
    await app.tick();
    await app.settled();
    const { version, blocked } = (await app.portal(portal.memberId))!;
    assert.deepEqual([version, blocked, ran], ["2.0.0", undefined, ["2"]]);
    await app.close();
  });

  it("does not make forgotten and removed portals known again", async () => {
    const old = oldProgram();
    const [forgotten, removed] = [old.add(2), old.add(2)];
    const app = old.app();
    await adopted(app, [forgotten.row, removed.row]);
    await app.admin.forget(forgotten.portal.memberId, OPERATOR);
    await app.fetch(post(removed.portal.event("ONCRMDEALADD", {})));
    await app.fetch(post(removed.portal.uninstall()));
    await app.settled();
    removed.portal.install(2);
    const again = { memberId: removed.row.memberId, version: "2", ...removed.portal.tokens() };
    const requests = old.bitrix24.requests();
    const lines = await adopted(app, [forgotten.row, again]);
    assert.deepEqual(briefly(lines), [["not_adopted", "forgotten"], ["not_adopted", "removed"]]);
    assert.equal(old.bitrix24.requests(), requests, "nobody is asked about them");
    await app.close();
  });

  it("is audited as one action, and refused with what the app lacks", async () => {
    const old = oldProgram();
    const app = old.app();
    await adopted(app, [old.add(2).row], { by: "ada", reason: "ticket 17", refresh: true });
    const { items: [entry] } = await app.admin.audit();
    assert.deepEqual(
      [entry?.action, entry?.by, entry?.reason, entry?.details, entry?.outcome],
      ["adopt", "ada", "ticket 17", { dryRun: false, refresh: true }, "done"],
    );
    await assert.rejects(app.admin.adopt([], { by: "ada" } as typeof OPERATOR), /cannot adopt portals with reason/);
    await assert.rejects(
      app.admin.adopt([], { ...OPERATOR, dryrun: true } as typeof OPERATOR),
      /the option dryrun that does not exist, wanted dryRun/,
    );
    for (const perMinute of [0, NaN, "9" as unknown as number]) {
      await assert.rejects(app.admin.adopt([], { ...OPERATOR, perMinute }), TypeError);
    }
    await assert.rejects(app.admin.adopt(7 as unknown as string, OPERATOR), /wanted JSON lines, or an iterable/);
    await app.close();

    const { clientId: _, ...keyless } = { clientId: "", clientSecret: undefined };
    const bare = old.app({ ...keyless, clientId: undefined } as object);
    await assert.rejects(bare.admin.adopt([], OPERATOR), /cannot adopt portals without clientId/);
    await bare.close();
    const noSecret = old.app({ clientSecret: undefined } as object);
    await assert.rejects(noSecret.admin.adopt([], { ...OPERATOR, refresh: true }), /without clientSecret/);
    assert.deepEqual((await noSecret.admin.audit()).items.map(({ outcome }) => outcome), ["refused"]);
    await noSecret.close();
  });
});

describe("admin.adopt() takes the version", () => {
  const cases: readonly {
    readonly name: string;
    readonly options: Parameters<OldProgram["app"]>[0];
    readonly row: Partial<PortalToAdopt>;
    readonly installed?: number;
    readonly wanted: readonly [string, string] | string;
  }[] = [
    { name: "from the line", options: {}, row: { version: "1.4" }, wanted: ["1.4.0", "2.0.0"] },
    { name: "from the line, a number", options: {}, row: { version: 1 }, wanted: ["1.0.0", "2.0.0"] },
    {
      name: "from the line, finer than Bitrix24 reports",
      options: {},
      row: { version: "2.1" },
      wanted: ["2.1.0", "2.1.0"],
    },
    {
      name: "from the line before initialVersion",
      options: { initialVersion: "1" },
      row: { version: "2" },
      wanted: ["2.0.0", "2.0.0"],
    },
    { name: "from initialVersion", options: { initialVersion: "1.5" }, row: {}, wanted: ["1.5.0", "2.0.0"] },
    {
      name: "from initialVersion, at most the target",
      options: { initialVersion: () => "7" },
      row: {},
      wanted: ["2.0.0", "2.0.0"],
    },
    {
      name: "not if initialVersion does not say it",
      options: { initialVersion: () => undefined },
      row: {},
      wanted: "neither the line nor initialVersion names its version",
    },
    {
      name: "not if initialVersion throws",
      options: {
        initialVersion: () => {
          throw new Error("no");
        },
      },
      row: {},
      wanted: "initialVersion failed: no",
    },
    { name: "from app.info", options: {}, row: {}, wanted: ["2.0.0", "2.0.0"] },
    {
      name: "from app.info by the scheme",
      options: { versions: mapped({ 1: "1.0.0", 2: "1.4.0" }) },
      row: {},
      wanted: ["1.4.0", "1.4.0"],
    },
    {
      name: "not from app.info if the scheme does not know it",
      options: { versions: mapped({ 1: "1.0.0" }) },
      row: {},
      wanted: "Bitrix24 reports no version that the app can read; name it in the line",
    },
    {
      name: "from the line if the scheme does not know the installed one",
      options: { versions: mapped({ 1: "1.0.0" }) },
      row: { version: "1.0.0" },
      wanted: ["1.0.0", "1.0.0"],
    },
    {
      name: "not from a spelling that another scheme reads otherwise",
      options: { versions: mapped({ 2: "1.4.0" }) },
      row: { version: "2.1" },
      wanted: "the version 2.1.0 of the line is above the version that is installed, 1.4.0",
    },
    {
      name: "from the line with deployed()",
      options: { versions: deployed("3") },
      row: { version: "1" },
      wanted: ["1.0.0", "3.0.0"],
    },
    {
      name: "from initialVersion with deployed()",
      options: { versions: deployed("3"), initialVersion: "2.5" },
      row: {},
      wanted: ["2.5.0", "3.0.0"],
    },
    {
      name: "not from app.info with deployed()",
      options: { versions: deployed("3") },
      row: {},
      wanted:
        "with deployed(), Bitrix24 does not know the version of its data; name it in the line, or set initialVersion",
    },
  ];
  for (const { name, options, row, wanted } of cases) {
    it(name, async () => {
      const old = oldProgram();
      const { portal, tokens } = old.add(2);
      const app = old.app({ versions: coerced(), ...options });
      const [line] = await adopted(app, [{ memberId: portal.memberId, ...tokens, ...row }]);
      if (typeof wanted === "string") {
        assert.deepEqual([line!.outcome, line!.reason, line!.message], ["not_adopted", "version", wanted]);
        assert.equal(await app.portal(portal.memberId), undefined);
      } else {
        const { version, target, initialVersion } = (await app.portal(portal.memberId))!;
        assert.deepEqual([[version, target], initialVersion], [wanted, wanted[0]]);
        assert.deepEqual([line!.version, line!.target], wanted);
      }
      await app.close();
    });
  }

  it("not from app.info while an update is not finished", async () => {
    const old = oldProgram();
    const portal = old.bitrix24.portal({ memberId: "b".repeat(32) });
    portal.install(2, { wizard: true });
    const row = { memberId: portal.memberId, ...portal.tokens() };
    const app = old.app();
    assert.deepEqual(briefly(await adopted(app, [row])), [["not_adopted", "version"]]);
    assert.deepEqual(briefly(await adopted(app, [{ ...row, version: "1" }])), [["adopted", undefined]]);
    await app.close();
  });

  it("and runs the upgrades of a portal that is below its target", async () => {
    const old = oldProgram();
    const { portal, row } = old.add(3);
    const app = old.app().upgrade("1", () => {}).upgrade("2", () => {}).upgrade("3", () => {});
    await app.admin.pause(OPERATOR);
    await adopted(app, [{ ...row, version: "1" }]);
    await app.tick();
    assert.deepEqual(await appliedUpgrades(app, portal.memberId), []);
    await app.admin.resume(OPERATOR);
    await app.tick();
    await app.settled();
    assert.deepEqual((await appliedUpgrades(app, portal.memberId)).map(({ id }) => id), ["2", "3"]);
    await app.close();
  });
});
