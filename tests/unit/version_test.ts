import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { coerced, deployed, mapped, OnAppUpdateError } from "@b24/onappupdate";
import { VersionError } from "@b24/onappupdate/errors";
import { compareVersions, isVersion, parseVersion, refines } from "../../src/version.ts";
import { describe, it } from "../support/test.ts";

const HUGE = "9007199254740991";

/** The version that each text stands for; `null` if it is not a version. */
const READINGS: readonly (readonly [raw: string, version: string | null])[] = [
  ["3", "3.0.0"],
  ["0", "0.0.0"],
  ["10", "10.0.0"],
  ["2.1", "2.1.0"],
  ["2.1.0", "2.1.0"],
  ["v2.1.0", "2.1.0"],
  ["v2", "2.0.0"],
  ["V3", "3.0.0"],
  [" 3 ", "3.0.0"],
  ["3\n", "3.0.0"],
  ["\u00a03", "3.0.0"],
  ["02.01", "2.1.0"],
  ["007", "7.0.0"],
  ["2.0.0-beta.1", "2.0.0-beta.1"],
  ["2.0.0-Beta.1", "2.0.0-Beta.1"],
  ["v2-rc.1", "2.0.0-rc.1"],
  ["2.1-rc.1", "2.1.0-rc.1"],
  ["2.0.0--", "2.0.0--"],
  ["2.1.0+build.5", "2.1.0"],
  ["3+b", "3.0.0"],
  ["2.0.0-beta+exp.sha.5114f85", "2.0.0-beta"],
  [HUGE, `${HUGE}.0.0`],
  [`1.2.${HUGE}`, `1.2.${HUGE}`],
  ["9007199254740992", null],
  ["1".repeat(400), null],
  [`1.0.0-${"a".repeat(300)}`, null],
  ["", null],
  [" ", null],
  ["v", null],
  ["vv3", null],
  ["v 3", null],
  ["latest", null],
  ["error 500", null],
  ["1.2.3.4", null],
  ["-1", null],
  ["+1", null],
  ["1..2", null],
  ["1.", null],
  [".1", null],
  ["1.2.", null],
  ["3abc", null],
  ["1,2", null],
  ["3 4", null],
  ["3\n4", null],
  ["1e3", null],
  ["0x10", null],
  ["Infinity", null],
  ["NaN", null],
  ["null", null],
  ["１", null],
  ["٣", null],
  ["²", null],
  ["1.x", null],
  [">=1", null],
  ["2.0.0-", null],
  ["2.0.0-beta..1", null],
  ["2.0.0-01", null],
  ["2.0.0-beta_1", null],
  ["2.0.0-бета", null],
  ["2.0.0+", null],
  ["3\0", null],
];

describe("coerced()", () => {
  for (const [raw, version] of READINGS) {
    const short = raw.length > 40 ? `${raw.slice(0, 20)}… (${raw.length} characters)` : raw;
    it(`reads ${JSON.stringify(short)} as ${version ?? "not a version"}`, () => {
      assert.equal(isVersion(raw), version !== null);
      if (version !== null) {
        assert.equal(coerced().parse(raw), version);
        assert.equal(parseVersion(raw), version);
        // A version that was read reads as itself: what is stored can be read again.
        assert.equal(parseVersion(version), version);
        return;
      }
      assert.throws(() => coerced().parse(raw), (error: unknown) => {
        assert(error instanceof VersionError);
        assert(error instanceof OnAppUpdateError);
        assert.equal(error.name, "VersionError");
        assert.equal(error.code, "version");
        assert.equal(error.raw, raw);
        assert.equal(
          error.message,
          `cannot read version ${JSON.stringify(raw.slice(0, 40))}, wanted a version such as "3", "2.1" or "2.1.0"`,
        );
        return true;
      });
    });
  }

  it('has the name "coerced" and no deployed version', () => {
    assert.equal(coerced().name, "coerced");
    assert.equal(coerced().deployed, undefined);
    assert.equal(coerced().latest, undefined);
  });

  it("reads the latest version that it is given", () => {
    assert.equal(coerced({ latest: "2.1" }).latest, "2.1.0");
    assert.throws(() => coerced({ latest: "newest" }), VersionError);
  });

  it("refuses what is neither a string nor absent", () => {
    assert.throws(() => coerced({ latest: 3 as never }), {
      name: "TypeError",
      message: 'cannot use coerced() with latest 3, wanted a version such as "2.1.0"',
    });
    assert.throws(() => coerced("3" as never), /with options a string, wanted an object with latest$/);
    assert.throws(() => coerced(null as never), /with options null, wanted an object with latest$/);
  });
});

describe("mapped()", () => {
  const scheme = mapped({ 1: "1.0.0", 2: "1.4", "2.1": "v1.5.0-rc.1", beta: "2.0.0-beta.1" });
  const readings: readonly (readonly [raw: string, version: string | null])[] = [
    ["1", "1.0.0"],
    [" 1 ", "1.0.0"],
    ["2", "1.4.0"],
    ["2.1", "1.5.0-rc.1"],
    ["beta", "2.0.0-beta.1"],
    ["3", null],
    ["01", null],
    ["1.0.0", null],
    ["", null],
    ["toString", null],
    ["__proto__", null],
    ["latest", null],
  ];
  for (const [raw, version] of readings) {
    it(`reads ${JSON.stringify(raw)} as ${version ?? "not in the table"}`, () => {
      if (version !== null) assert.equal(scheme.parse(raw), version);
      else {
        // No VersionError: the event is kept for code whose table knows it.
        assert.throws(() => scheme.parse(raw), {
          name: "RangeError",
          message: `cannot map VERSION ${JSON.stringify(raw)}: it is not in the table of mapped(); add it and deploy`,
        });
      }
    });
  }

  it("quotes at most 40 characters of an unknown VERSION", () => {
    assert.throws(() => scheme.parse("x".repeat(1000)), (error: Error) => error.message.length < 120);
  });

  it("refuses a table with a value that is not a version", () => {
    assert.throws(() => mapped({ 1: "1.0.0", 2: "soon" }), { name: "VersionError", raw: "soon" });
  });

  const noTables: readonly (readonly [table: unknown, message: string])[] = [
    [undefined, 'table undefined, wanted the version of each VERSION, such as { 1: "1.0.0" }'],
    ["1.0.0", 'table "1.0.0", wanted the version of each VERSION, such as { 1: "1.0.0" }'],
    [["1.0.0"], 'table a list, wanted the version of each VERSION, such as { 1: "1.0.0" }'],
    [new Map([["1", "1.0.0"]]), 'table an object, wanted the version of each VERSION, such as { 1: "1.0.0" }'],
    [{}, 'table an object, wanted the version of each VERSION, such as { 1: "1.0.0" }'],
    [{ 1: "1.0.0", 2: 2 }, 'table.2 2, wanted a version such as "2.1.0"'],
    [{ 1: undefined }, 'table.1 undefined, wanted a version such as "2.1.0"'],
  ];
  for (const [table, message] of noTables) {
    it(`refuses ${message.split(",")[0]}`, () => {
      assert.throws(() => mapped(table as never), {
        name: "TypeError",
        message: `cannot use mapped() with ${message}`,
      });
    });
  }

  it("copies the table", () => {
    const table: Record<string, string> = { 1: "1.0.0" };
    const copied = mapped(table);
    table[1] = "9.0.0";
    assert.equal(copied.parse("1"), "1.0.0");
  });

  it('has the name "mapped" and no deployed version', () => {
    assert.equal(scheme.name, "mapped");
    assert.equal(scheme.deployed, undefined);
  });
});

describe("deployed()", () => {
  it("returns the version of the code for any VERSION", () => {
    const scheme = deployed("v2.3");
    for (const raw of ["1", "2.3.0", "9", "", "latest"]) assert.equal(scheme.parse(raw), "2.3.0");
    assert.equal(scheme.deployed, "2.3.0");
    assert.equal(scheme.name, "deployed");
  });

  it("refuses a string that is not a version", () => {
    for (const version of ["", "latest", "1.2.3.4"]) {
      assert.throws(() => deployed(version), { name: "VersionError", raw: version });
    }
  });

  it("refuses a number", () => {
    assert.throws(() => deployed(2 as never), {
      name: "TypeError",
      message: 'cannot use deployed() with version 2, wanted a version such as "2.1.0"',
    });
  });
});

describe("compareVersions()", () => {
  const ascending = [
    ...["0.0.0", "0.0.9", "0.0.10", "0.9.0", "0.10.0", "1.0.0-0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.9"],
    ...["1.0.0-alpha.10", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-rc.1", "1.0.0", "1.9.0", "1.10.0", "2.0.0", "10.0.0"],
    `${HUGE}.0.0`,
  ];
  it("orders by numbers, with pre-releases before their release", () => {
    for (const [i, a] of ascending.entries()) {
      for (const [j, b] of ascending.entries()) {
        assert.equal(compareVersions(a, b), Math.sign(i - j), `${a} and ${b}`);
      }
    }
  });

  it("orders 1.10 after 1.9, and 10 after 9", () => {
    assert.equal(compareVersions(parseVersion("1.10"), parseVersion("1.9")), 1);
    assert.equal(compareVersions(parseVersion("10"), parseVersion("9")), 1);
  });

  it("treats versions that differ only in build metadata as equal", () => {
    assert.equal(compareVersions(parseVersion("1.0.0+a"), parseVersion("1.0.0+b")), 0);
  });
});

describe("refines()", () => {
  const cases: readonly (readonly [raw: string, coarse: string, refined: boolean])[] = [
    ["2.1.0", "2", true],
    ["v2.1", "2", true],
    [" 2.1 ", "2", true],
    ["2.1.3", "2.1", true],
    ["2", "2", false],
    ["3.1.0", "2", false],
    ["21.0.0", "2", false],
    ["2.10.0", "2.1", false],
    ["2", "2.1", false],
    ["2-beta", "2", false],
  ];
  for (const [raw, coarse, refined] of cases) {
    it(`${JSON.stringify(raw)} of ${JSON.stringify(coarse)}: ${refined}`, () => {
      assert.equal(refines(raw, coarse), refined);
    });
  }
});

it("no other module of the core parses versions", () => {
  const core = new URL("src/", import.meta.resolve("@b24/onappupdate"));
  const files = readdirSync(core, { recursive: true, encoding: "utf8" })
    .map((file) => file.replaceAll("\\", "/"))
    .filter((file) => /\.(ts|js)$/.test(file) && !file.endsWith(".d.ts"));
  const withSemver = files.filter((file) => /from ?"semver"/.test(read(new URL(file, core)))).map(stem);
  // Ranges are made of versions; what a version is, `version` says there too.
  assert.deepEqual(withSemver.sort(), ["upgrade/definition", "version"]);
  for (const file of files.filter((file) => stem(file) !== "version" && !/^(testing|cli)\//.test(file))) {
    assert.doesNotMatch(read(new URL(file, core)), /parseInt|parseFloat|split\("\."\)|localeCompare|\/\^v/, file);
  }
});

function read(url: URL): string {
  return readFileSync(fileURLToPath(url), "utf8");
}

function stem(file: string): string {
  return file.replace(/\.(ts|js)$/, "");
}
