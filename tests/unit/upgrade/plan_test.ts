import assert from "node:assert/strict";
import {
  createApp,
  memoryStorage,
  type UpgradeContext,
  type UpgradeOptions,
  type UpgradeRange,
} from "@b24/onappupdate";
import { compareThresholds, defineUpgrade, type Upgrade } from "../../../src/upgrade/definition.ts";
import { dueUpgrades, makePlan, type UpgradePath } from "../../../src/upgrade/plan.ts";
import { trustAll } from "../../support/app.ts";
import { seeded } from "../../support/seeded.ts";
import { describe, it } from "../../support/test.ts";

function define(range: UpgradeRange, options?: UpgradeOptions): Upgrade {
  return defineUpgrade(range, () => {}, options);
}

/** Ids of the due upgrades, in order. */
function due(ranges: readonly UpgradeRange[], path: UpgradePath): string[] {
  return dueUpgrades(ranges.map((range) => define(range)), path).map(({ id }) => id);
}

function spell(range: UpgradeRange): string {
  return typeof range === "object" ? `${range.from} -> ${range.to}` : `${range}`;
}

/** For each range: version changes for which it runs, and for which it does not. */
const SELECTION: readonly (readonly [range: UpgradeRange, runs: readonly string[], rests: readonly string[]])[] = [
  ["2.0.0", ["1.0.0 2.0.0", "1.9.9 3.0.0", "0.0.0 2.0.0", "1.9.9 2.0.1", "2.0.0-beta.1 2.0.0", "2.0.0-0 2.0.0"], [
    ...["2.0.0 3.0.0", "2.0.1 3.0.0", "1.0.0 1.9.9", "1.0.0 2.0.0-rc.1", "2.0.0-alpha 2.0.0-rc.1", "3.0.0 4.0.0"],
  ]],
  ["2", ["1.0.0 2.0.0", "1.9.9 2.5.0"], ["2.0.0 2.1.0", "1.0.0 1.9.0"]],
  ["v2.1", ["2.0.9 2.1.0"], ["2.1.0 2.2.0"]],
  ["1.10", ["1.9.0 1.10.0"], ["1.0.0 1.9.0", "1.10.0 1.11.0"]],
  ["2.0.0-beta.1", ["1.0.0 2.0.0", "1.0.0 2.0.0-beta.1", "2.0.0-alpha 2.0.0-beta.2"], [
    ...["2.0.0-beta.1 2.0.0", "1.0.0 2.0.0-alpha", "1.0.0 2.0.0-beta.0"],
  ]],
  // Numbers count as numbers in pre-releases, too.
  ["2.0.0-beta.10", ["2.0.0-beta.9 2.0.0-beta.10"], ["2.0.0-beta.10 2.0.0-beta.11", "1.0.0 2.0.0-beta.9"]],
  ["0.0.0", ["0.0.0-beta 0.0.0"], ["0.0.0 1.0.0"]],

  [">=1.4.0 <2.0.0", ["1.4.0 2.0.0", "1.9.9 2.0.0", "1.4.0 3.0.0", "2.0.0-rc.1 2.0.0"], [
    ...["1.3.9 2.0.0", "1.3.0 3.0.0", "1.4.0 1.9.9", "2.0.0 3.0.0", "1.4.0 2.0.0-rc.1", "1.4.0-rc.1 2.0.0"],
  ]],
  [">1.4.0 <1.6.0", ["1.5.0 1.6.0", "1.4.1 2.0.0", "1.6.0-beta 1.6.0"], ["1.4.0 1.6.0", "1.4.1 1.5.9", "1.6.0 2.0.0"]],
  ["<2.0.0", ["0.1.0 2.0.0", "1.9.9 2.0.0", "2.0.0-rc.1 2.0.0"], ["1.0.0 2.0.0-rc.1", "2.0.0 2.1.0"]],
  // A partial version includes the pre-releases of all versions that it stands for.
  ["<2", ["1.9.9 2.0.0", "1.9.9 2.0.0-beta.1", "1.0.0 2.0.0-0"], ["2.0.0-beta.1 2.0.0", "1.0.0 1.9.9"]],
  ["<=1.9.9", ["1.9.9 1.9.10", "1.0.0 2.0.0", "1.9.9 1.9.10-beta", "0.1.0 1.10.0"], [
    ...["1.0.0 1.9.9", "1.9.8 1.9.9", "1.9.10 2.0.0"],
  ]],
  ["<=1", ["1.5.0 2.0.0", "1.9.9 2.0.0-beta.1"], ["1.0.0 1.9.9", "2.0.0 3.0.0"]],
  ["^1.4.0", ["1.4.0 2.0.0", "1.9.9 2.0.0-beta.1", "1.9.9 3.0.0"], [
    ...["1.3.9 2.0.0", "1.4.0 1.9.9", "2.0.0-beta.1 2.0.0", "2.0.0 3.0.0"],
  ]],
  ["^0.3.1", ["0.3.1 0.4.0", "0.3.9 1.0.0"], ["0.3.0 0.4.0", "0.3.1 0.3.9", "0.4.0 1.0.0"]],
  ["^0.0.3", ["0.0.3 0.0.4", "0.0.3 1.0.0"], ["0.0.2 0.0.4", "0.0.4 0.0.5"]],
  ["~1.4.2", ["1.4.2 1.5.0", "1.4.9 2.0.0"], ["1.4.1 1.5.0", "1.4.2 1.4.9", "1.5.0 1.6.0"]],
  ["~1.4", ["1.4.0 1.5.0", "1.4.9 1.5.0-beta"], ["1.3.9 1.5.0", "1.4.0 1.4.9"]],
  ["~1", ["1.0.0 2.0.0", "1.9.9 2.0.0"], ["1.0.0 1.9.9", "0.9.9 2.0.0"]],
  ["1.x", ["1.0.0 2.0.0", "1.9.9 2.0.0-beta.1", "1.0.0-beta 2.0.0"], ["0.9.9 2.0.0", "1.0.0 1.9.9", "2.0.0 3.0.0"]],
  ["1.4.x", ["1.4.0 1.5.0", "1.4.9 3.0.0"], ["1.4.0 1.4.1", "1.5.0 1.6.0", "1.3.0 1.5.0"]],
  ["1.*", ["1.0.0 2.0.0"], ["1.0.0 1.9.9"]],
  ["=1.4", ["1.4.7 1.5.0"], ["1.4.0 1.4.7", "1.5.0 2.0.0"]],
  ["1.4.0 - 1.9.0", ["1.4.0 1.9.1", "1.9.0 1.9.1", "1.5.0 2.0.0"], ["1.4.0 1.9.0", "1.3.9 2.0.0", "1.9.1 2.0.0"]],
  ["1.4 - 1.9", ["1.9.5 1.10.0", "1.4.0 2.0.0"], ["1.4.0 1.9.9", "1.3.9 2.0.0", "1.10.0 2.0.0"]],
  ["=1.4.0", ["1.4.0 1.4.1", "1.4.0 9.0.0", "1.4.0 1.4.1-beta"], ["1.3.9 1.4.0", "1.3.9 2.0.0", "1.4.1 2.0.0"]],
  ["=2.0.0-beta.1", ["2.0.0-beta.1 2.0.0", "2.0.0-beta.1 2.0.0-beta.2"], ["1.0.0 2.0.0", "2.0.0-beta.2 2.0.0"]],
  [">=2.0.0-beta.1 <2.0.0", ["2.0.0-beta.1 2.0.0", "2.0.0-rc.9 3.0.0"], [
    ...["2.0.0-alpha 2.0.0", "2.0.0-beta.1 2.0.0-rc.1", "1.0.0 2.0.0"],
  ]],
  // The lowest of several upper bounds counts.
  [">=1.0.0 <3.0.0 <2.0.0", ["1.0.0 2.0.0"], ["2.0.0 3.0.0", "1.0.0 1.9.9"]],
  ["<=1.9.0 <1.9.0", ["1.8.0 1.9.0"], ["1.8.0 1.8.9", "1.9.0 2.0.0"]],

  [{ from: "1.x", to: ">=2.1.0" }, ["1.0.0 2.1.0", "1.9.9 3.0.0", "1.0.0 2.2.0-beta"], [
    ...["1.0.0 2.0.9", "2.0.0 2.1.0", "0.9.0 2.1.0", "2.1.0 3.0.0", "1.0.0 2.1.0-beta", "1.0.0 1.9.9"],
  ]],
  [{ from: "*", to: ">=2.0.0" }, ["0.1.0 2.0.0", "2.0.0-beta 2.0.0", "1.0.0 9.0.0"], ["2.0.0 3.0.0", "1.0.0 1.9.9"]],
  [{ from: "1.x", to: "2.x" }, ["1.0.0 2.0.0", "1.0.0 2.9.9", "1.0.0 2.0.0-beta.1"], [
    ...["1.0.0 3.0.0", "2.0.0 2.1.0", "0.9.0 2.0.0"],
  ]],
  [{ from: "1.x", to: "2.0.0" }, ["1.0.0 2.0.0"], ["1.0.0 2.0.1", "1.0.0 1.9.9", "2.0.0-rc.1 2.0.0"]],
  [{ from: "<2.0.0", to: ">2.0.0" }, ["1.0.0 2.0.1", "2.0.0-rc.1 3.0.0"], ["1.0.0 2.0.0", "2.0.0 2.0.1"]],
  [{ from: "1.x || 3.x", to: "2.x || 4.x" }, ["1.0.0 2.0.0", "3.0.0 4.0.0", "1.0.0 4.0.0"], [
    ...["1.0.0 3.0.0", "2.0.0 4.0.0", "3.0.0 3.5.0", "1.0.0 5.0.0"],
  ]],
  // Wide on both sides: not again within `to`.
  [{ from: ">=1.0.0", to: ">=2.0.0" }, ["1.0.0 2.0.0", "1.5.0 5.0.0"], ["2.0.0 3.0.0", "0.9.0 2.0.0"]],
];

describe("dueUpgrades() selects", () => {
  for (const [range, runs, rests] of SELECTION) {
    for (const [runs_, paths] of [[true, runs], [false, rests]] as const) {
      for (const path of paths) {
        const [version, target] = path.split(" ") as [string, string];
        it(`${spell(range)} ${runs_ ? "at" : "not at"} ${version} -> ${target}`, () => {
          assert.deepEqual(due([range], { version, target }), runs_ ? [spell(range)] : []);
        });
      }
    }
  }

  const everything = ["1.0.0", "2.0.0", "1.x", "<=1.9.9", { from: "1.x", to: "2.x" }];
  const none: Readonly<Record<string, UpgradePath>> = {
    "the same version again": { version: "1.5.0", target: "1.5.0" },
    "a downgrade": { version: "2.0.0", target: "1.5.0" },
    "a downgrade from a release to its pre-release": { version: "2.0.0", target: "2.0.0-rc.1" },
    "a portal with an unknown version": { target: "2.0.0" },
    "a portal with an unknown target": { version: "1.0.0" },
    "a portal with neither": {},
  };
  for (const [name, path] of Object.entries(none)) {
    it(`nothing for ${name}`, () => assert.deepEqual(due(everything, path), []));
  }

  it("nothing if nothing is registered", () => assert.deepEqual(due([], { version: "1.0.0", target: "2.0.0" }), []));
});

describe("dueUpgrades() skips what is applied", () => {
  const ranges = ["1.5.0", "2.0.0", "1.x", "3.0.0"];
  const applied: readonly (readonly [ids: readonly string[], left: readonly string[]])[] = [
    [[], ["1.5.0", "1.x", "2.0.0", "3.0.0"]],
    [["1.5.0"], ["1.x", "2.0.0", "3.0.0"]],
    // An applied upgrade does not imply earlier ones.
    [["3.0.0"], ["1.5.0", "1.x", "2.0.0"]],
    [["2.0.0", "1.x", "3.0.0", "1.5.0"], []],
    [["of another app", "1.5"], ["1.5.0", "1.x", "2.0.0", "3.0.0"]],
  ];
  for (const [ids, left] of applied) {
    it(`of ${JSON.stringify(ids)}`, () => {
      const path = { version: "1.0.0", target: "3.0.0", applied: ids.map((id) => ({ id })) };
      assert.deepEqual(due(ranges, path), left);
    });
  }

  it("by id, not by range", () => {
    const upgrades = [define("2.0.0", { id: "settings" }), define("2", { id: "robots" })];
    const path = { version: "1.0.0", target: "2.0.0", applied: [{ id: "settings" }, { id: "2.0.0" }] };
    assert.deepEqual(dueUpgrades(upgrades, path).map(({ id }) => id), ["robots"]);
  });
});

describe("dueUpgrades() orders", () => {
  const orders: Readonly<Record<string, readonly [path: string, registered: UpgradeRange[], run: string[]]>> = {
    "by threshold": ["1.0.0 9.0.0", ["3", "2.0.0", "10.0.0", "2.5"], ["2.0.0", "2.5", "3"]],
    "by numbers": ["1.0.0 2.0.0", ["1.10", "1.9", "1.2.10", "1.2.9"], ["1.2.9", "1.2.10", "1.9", "1.10"]],
    "pre-releases before their release": [
      "1.0.0 2.0.0",
      ["2.0.0", "2.0.0-rc.1", "2.0.0-beta.10", "2.0.0-beta.9", "1.9.9"],
      ["1.9.9", "2.0.0-beta.9", "2.0.0-beta.10", "2.0.0-rc.1", "2.0.0"],
    ],
    "equal thresholds as registered": [
      "1.4.0 2.0.0",
      [">=1.4.0 <2.0.0", "2.0.0", { from: "1.x", to: ">=2.0.0" }, "2", "<2.0.0"],
      [">=1.4.0 <2.0.0", "2.0.0", "1.x -> >=2.0.0", "2", "<2.0.0"],
    ],
    "and the other way round": [
      "1.4.0 2.0.0",
      ["<2.0.0", "2", { from: "1.x", to: ">=2.0.0" }, "2.0.0", ">=1.4.0 <2.0.0"],
      ["<2.0.0", "2", "1.x -> >=2.0.0", "2.0.0", ">=1.4.0 <2.0.0"],
    ],
    "<=1.5.0 just after 1.5.0, before all that comes then": [
      "1.5.0 2.0.0",
      ["1.5.1", "1.5.1-0", "<=1.5.0", "=1.5.0", "2.0.0"],
      ["<=1.5.0", "=1.5.0", "1.5.1-0", "1.5.1", "2.0.0"],
    ],
    "a version before the range that ends with it": ["1.4.0 2.0.0", ["<=1.5.0", "1.5.0"], ["1.5.0", "<=1.5.0"]],
    "^1.4.0, 1.x and <2 before the first pre-release of 2.0.0": [
      "1.4.0 2.0.0",
      ["2.0.0-0.1", "2.0.0", "^1.4.0", "1.x", "<2", "<2.0.0"],
      ["^1.4.0", "1.x", "<2", "2.0.0-0.1", "2.0.0", "<2.0.0"],
    ],
    "{ from, to } by the lowest version of `to`": [
      "1.0.0 4.0.0",
      [
        "2.1.0",
        { from: "1.x", to: ">=2.0.0" },
        { from: "*", to: ">=2.0.0-beta.1" },
        { from: "1.x", to: "4.x" },
        "4.0.0",
      ],
      ["* -> >=2.0.0-beta.1", "1.x -> >=2.0.0", "2.1.0", "1.x -> 4.x", "4.0.0"],
    ],
    "a range by its upper bound, not by where it begins": [
      "1.0.0 3.0.0",
      [">=0.1.0 <3.0.0", "2.0.0", "<=1.0.0"],
      ["<=1.0.0", "2.0.0", ">=0.1.0 <3.0.0"],
    ],
  };
  for (const [name, [path, registered, run]] of Object.entries(orders)) {
    it(name, () => {
      const [version, target] = path.split(" ") as [string, string];
      assert.deepEqual(due(registered, { version, target }), run);
    });
  }

  it("without changing what was registered", () => {
    const upgrades = ["3", "2", "1"].map((range) => define(range));
    dueUpgrades(upgrades, { version: "0.0.0", target: "3.0.0" });
    assert.deepEqual(upgrades.map(({ id }) => id), ["3", "2", "1"]);
  });
});

describe("compareThresholds()", () => {
  const ascending = [
    { version: "1.0.0-beta", after: false },
    { version: "1.0.0", after: false },
    { version: "1.0.0", after: true },
    { version: "1.0.1-0", after: false },
    { version: "1.9.0", after: true },
    { version: "1.10.0", after: false },
  ];
  it("is an order", () => {
    for (const [i, a] of ascending.entries()) {
      for (const [j, b] of ascending.entries()) assert.equal(Math.sign(compareThresholds(a, b)), Math.sign(i - j));
    }
  });
});

describe("makePlan()", () => {
  const upgrades = [define("3.0.0", { id: "three" }), define("2.0.0"), define("1.x"), define("9.0.0")];
  const plans: Readonly<Record<string, readonly [path: UpgradePath, plan: object]>> = {
    "up": [{ version: "1.0.0", target: "3.0.0", applied: [{ id: "2.0.0" }] }, {
      from: "1.0.0",
      to: "3.0.0",
      direction: "up",
      upgrades: [{ id: "1.x", range: "1.x" }, { id: "three", range: "3.0.0" }],
      skipped: [{ id: "2.0.0", range: "2.0.0" }],
    }],
    "up without anything to run": [{ version: "3.0.0", target: "4.0.0" }, {
      from: "3.0.0",
      to: "4.0.0",
      direction: "up",
      upgrades: [],
      skipped: [],
    }],
    "up with all of it applied": [{ version: "2.5.0", target: "3.0.0", applied: [{ id: "three" }] }, {
      from: "2.5.0",
      to: "3.0.0",
      direction: "up",
      upgrades: [],
      skipped: [{ id: "three", range: "3.0.0" }],
    }],
    "none": [{ version: "3.0.0", target: "3.0.0", applied: [{ id: "three" }] }, {
      from: "3.0.0",
      to: "3.0.0",
      direction: "none",
      upgrades: [],
      skipped: [],
    }],
    "down": [{ version: "3.0.0", target: "1.0.0" }, {
      from: "3.0.0",
      to: "1.0.0",
      direction: "down",
      upgrades: [],
      skipped: [],
    }],
    "unknown": [{}, { direction: "none", upgrades: [], skipped: [] }],
    "unknown start": [{ target: "3.0.0" }, { to: "3.0.0", direction: "none", upgrades: [], skipped: [] }],
  };
  for (const [name, [path, plan]] of Object.entries(plans)) {
    it(name, () => assert.deepEqual(makePlan(upgrades, path), plan));
  }
});

describe("app.plan({ from, to })", () => {
  const app = createApp({ storage: memoryStorage() }).use(trustAll);
  app.upgrade("2", () => {}).upgrade("1.x", () => {}, { id: "leaving 1" }).upgrade(
    { from: "1.x", to: ">=2.1.0" },
    () => {},
  );

  const spellings: readonly (readonly [from: string, to: string, ids: readonly string[]])[] = [
    ["1", "2", ["leaving 1", "2"]],
    ["v1.4", "2.1", ["leaving 1", "2", "1.x -> >=2.1.0"]],
    ["1.0.0", "2.0.0-beta.1", ["leaving 1"]],
    ["2.0.0-beta.1", "2", ["2"]],
    ["2", "3", []],
    ["2", "1", []],
  ];
  for (const [from, to, ids] of spellings) {
    it(`${from} -> ${to}`, async () => {
      assert.deepEqual((await app.plan({ from, to })).upgrades.map(({ id }) => id), ids);
    });
  }

  it("refuses what is not a version", async () => {
    await assert.rejects(app.plan({ from: "latest", to: "2" }), { name: "VersionError", raw: "latest" });
    await assert.rejects(app.plan({ from: "1", to: "1.2.3.4" }), { name: "VersionError", raw: "1.2.3.4" });
  });
});

describe("defineUpgrade()", () => {
  it("is recorded under the range as written, or under its id", () => {
    assert.equal(define("  2.0  ").id, "2.0");
    assert.equal(define(" >=1.4.0  <2.0.0 ").id, ">=1.4.0  <2.0.0");
    assert.equal(define({ from: " 1.x ", to: " >=2.1.0 " }).id, "1.x -> >=2.1.0");
    assert.equal(define({ from: "1.x", to: ">=2.1.0" }, { id: "robots" }).id, "robots");
    assert.equal(define({ from: "1.x", to: ">=2.1.0" }, { id: "robots" }).range, "1.x -> >=2.1.0");
  });

  it("accepts the versions of Bitrix24, which are whole numbers, as ranges", () => {
    const { id, range, threshold, covers } = define(3);
    assert.deepEqual([id, range, threshold], ["3", "3", { version: "3.0.0", after: false }]);
    assert.deepEqual([covers("2.9.9", "3.0.0"), covers("3.0.0", "4.0.0")], [true, false]);
    const entering = define({ from: 1, to: 2 });
    assert.deepEqual([entering.range, entering.covers("1.5.0", "2.0.0")], ["1 -> 2", true]);
    assert.equal(define(0).threshold.version, "0.0.0");
  });

  it("has the same meaning as others that are spelled in another way, and as no others", () => {
    const groups: readonly (readonly UpgradeRange[])[] = [
      ["2", 2, "2.0.0", "v2.0", " 2.0.0 ", "<2.0.0"],
      ["<=2.0.0"],
      ["2.0.0-rc.1"],
      ["1.x", "1.X", "1.*", ">=1.0.0-0 <2.0.0-0", "<2.0.0-0   >=1.0.0-0"],
      [">=1.0.0 <2.0.0"],
      ["^1.4.0", ">=1.4.0 <2.0.0-0"],
      [{ from: "1.x", to: ">=2.1.0" }, { from: "1", to: " >= 2.1.0" }, { from: 1, to: ">=2.1.0" }],
      [{ from: "1.x", to: ">=2.1.1" }],
      [{ from: "1.x || 0.5.0", to: ">=2" }, { from: "0.5.0 || 1.x", to: ">=2" }],
    ];
    for (const [i, group] of groups.entries()) {
      for (const [j, other] of groups.entries()) {
        for (const a of group) {
          for (const b of other) {
            assert.equal(define(a).meaning === define(b).meaning, i === j, `${spell(a)} and ${spell(b)}`);
          }
        }
      }
    }
  });

  it("is refused if its id cannot be a part of a key", () => {
    assert.equal(define("2", { id: "x".repeat(500) }).id.length, 500);
    assert.throws(() => define("2", { id: "x".repeat(501) }), /"2": its id has 501 characters, wanted at most 500/);
    assert.throws(() => define("2", { id: "\ud800" }), TypeError);
  });

  it("keeps its handler and its timeout", () => {
    const handler = (_ctx: UpgradeContext): void => {};
    const upgrade = defineUpgrade("2", handler, { timeoutMs: 1.5 });
    assert.equal(upgrade.handler, handler);
    assert.equal(upgrade.timeoutMs, 1.5);
    assert.equal(define("2").timeoutMs, 3_600_000);
    assert.equal(define("2", { timeoutMs: 2 ** 31 - 1 }).timeoutMs, 2 ** 31 - 1);
  });

  const notARange = (text: string, part = text): string =>
    `cannot register upgrade ${JSON.stringify(text)}: ${JSON.stringify(part)} is not a version range`;
  const empty = (text: string, part = text): string =>
    `cannot register upgrade ${JSON.stringify(text)}: no version is in ${JSON.stringify(part)}`;
  const unbounded = (text: string): string =>
    `cannot register upgrade ${JSON.stringify(text)}: it has no upper bound, so no portal ever leaves it; ` +
    'add one, as in ">=1.4.0 <2.0.0", or use { from, to }';
  const either = (text: string): string =>
    `cannot register upgrade ${JSON.stringify(text)}: it has "||"; register one upgrade for each part`;
  const inside = (text: string): string =>
    `cannot register upgrade ${JSON.stringify(text)}: "from" is part of "to", so no portal ever enters "to"`;
  const downwards = (text: string): string =>
    `cannot register upgrade ${JSON.stringify(text)}: "from" is above "to", and portals never go down`;
  const refused: readonly (readonly [range: UpgradeRange, message: string])[] = [
    ["latest", notARange("latest")],
    ["1.2.3.4", notARange("1.2.3.4")],
    ["2.0.0-01", notARange("2.0.0-01")],
    ["9007199254740992", notARange("9007199254740992")],
    [">=02.0.0 <3", notARange(">=02.0.0 <3")],
    ["<", notARange("<")],
    [" ^ ", notARange("^")],
    ["１", notARange("１")],
    ["-1", notARange("-1")],
    [">2 <1", empty(">2 <1")],
    ["<0.0.0-0", empty("<0.0.0-0")],
    [">*", empty(">*")],
    [">=1.4.0", unbounded(">=1.4.0")],
    [">1", unbounded(">1")],
    ["*", unbounded("*")],
    ["x", unbounded("x")],
    [">=1.0.0 || <0.5.0", either(">=1.0.0 || <0.5.0")],
    ["1.x || 3.x", either("1.x || 3.x")],
    [{ from: "latest", to: ">=2" }, notARange("latest -> >=2", "latest")],
    [{ from: "1.x", to: "next" }, notARange("1.x -> next", "next")],
    [{ from: ">2 <1", to: ">=2" }, empty(">2 <1 -> >=2", ">2 <1")],
    [{ from: "1.x", to: ">3 <2" }, empty("1.x -> >3 <2", ">3 <2")],
    [{ from: "2.x", to: ">=1.0.0" }, inside("2.x -> >=1.0.0")],
    [{ from: "1.x", to: "*" }, inside("1.x -> *")],
    [{ from: "1.5.0", to: "1.5.0" }, inside("1.5.0 -> 1.5.0")],
    // The two swapped by mistake.
    [{ from: ">=2.1.0", to: "1.x" }, downwards(">=2.1.0 -> 1.x")],
    [{ from: "2.x", to: "1.x" }, downwards("2.x -> 1.x")],
    [{ from: "2.0.0", to: "<2.0.0" }, downwards("2.0.0 -> <2.0.0")],
  ];
  for (const [range, message] of refused) {
    it(`refuses ${JSON.stringify(range)}`, () => {
      assert.throws(() => define(range), (error: unknown) => {
        assert(error instanceof TypeError);
        assert.equal(error.message, message);
        return true;
      });
    });
  }

  const kinds = 'wanted a version such as "2.0.0" or 2, a range such as ">=1.4.0 <2.0.0", or { from, to }';
  const noRanges: readonly (readonly [range: unknown, message: string])[] = [
    // Written 2.10 in the code.
    [2.1, `range 2.1, ${kinds}`],
    [-1, `range -1, ${kinds}`],
    [NaN, `range NaN, ${kinds}`],
    [2 ** 53, `range 9007199254740992, ${kinds}`],
    [true, `range true, ${kinds}`],
    [() => {}, `range a function, ${kinds}: app.upgrade(range, handler, options)`],
    [undefined, `range undefined, ${kinds}`],
    [null, `range null, ${kinds}`],
    ["", `range "", ${kinds}`],
    ["  ", `range "  ", ${kinds}`],
    [["1.x", ">=2"], `range a list, ${kinds}`],
    [{}, 'range.from undefined, wanted a range such as "1.x"'],
    [{ from: "1.x" }, 'range.to undefined, wanted a range such as ">=2.1.0"'],
    [{ from: "", to: "2" }, 'range.from "", wanted a range such as "1.x"'],
    [{ from: "1.x", to: 2.1 }, 'range.to 2.1, wanted a range such as ">=2.1.0"'],
    [{ form: "1.x", to: "2" }, "the option range.form that does not exist, wanted from"],
  ];
  for (const [range, message] of noRanges) {
    it(`refuses ${JSON.stringify(range)} as a range`, () => {
      assert.throws(() => define(range as UpgradeRange), {
        name: "TypeError",
        message: `cannot register an upgrade with ${message}`,
      });
    });
  }

  it("refuses a missing handler, and options in its place", () => {
    const message = (kind: string): string =>
      `cannot register upgrade "2": its handler is ${kind}, wanted a function: app.upgrade(range, handler, options)`;
    const register = (...more: unknown[]) => () => defineUpgrade("2", ...more as [() => void]);
    assert.throws(register(), { name: "TypeError", message: message("undefined") });
    assert.throws(register({ id: "a" }, () => {}), { name: "TypeError", message: message("object") });
  });

  for (const timeoutMs of [0, -1, Number.NaN, 2 ** 31, Infinity]) {
    it(`refuses a timeout of ${timeoutMs} ms`, () => {
      assert.throws(() => define("2.0", { timeoutMs }), {
        name: "TypeError",
        message: `cannot register upgrade "2.0" with timeoutMs ${timeoutMs}, wanted a number from 1 to 2147483647`,
      });
    });
  }
});

describe("dueUpgrades(), for any path in any number of updates,", () => {
  const versions = [0, 1, 2, 10].flatMap((major) =>
    [0, 1, 9, 10].flatMap((minor) =>
      [0, 3].flatMap((patch) =>
        ["-0", "-beta.1", "-beta.9", "-beta.10", "-rc.1", ""].map((pre) => `${major}.${minor}.${patch}${pre}`)
      )
    )
  );

  /** Ids of the upgrades that run at each stop. */
  function runsAt(upgrades: readonly Upgrade[], [start = "", ...stops]: readonly string[]): string[][] {
    const applied: { id: string }[] = [];
    let version = start;
    return stops.map((target) => {
      const ran = dueUpgrades(upgrades, { version, target, applied });
      applied.push(...ran);
      version = target;
      return ran.map(({ id }) => id);
    });
  }

  for (let seed = 1; seed <= 300; seed++) {
    it(`runs each threshold on the way once, in order (seed ${seed})`, () => {
      const next = seeded(seed);
      const pick = (): number => Math.floor(next() * versions.length);
      // In ascending order, so that an index compares as its version does.
      const thresholds = Array.from({ length: 1 + Math.floor(next() * 20) }, pick);
      const upgrades = thresholds.map((index, i) => define(versions[index]!, { id: `${i}` }));
      const stops = Array.from({ length: 2 + Math.floor(next() * 8) }, pick).sort((a, b) => a - b);
      const [start, end] = [stops[0]!, stops.at(-1)!];
      const expected = thresholds.map((index, i) => ({ index, id: `${i}` }))
        .filter(({ index }) => start < index && index <= end)
        .sort((a, b) => a.index - b.index)
        .map(({ id }) => id);

      const inSteps = runsAt(upgrades, stops.map((index) => versions[index]!));
      const atOnce = runsAt(upgrades, [versions[start]!, versions[end]!]);
      assert.deepEqual(inSteps.flat(), expected);
      assert.deepEqual(atOnce.flat(), expected);
    });

    it(`runs each range once at most, when it is left (seed ${seed})`, () => {
      const next = seeded(seed + 1_000_000);
      const pick = (): number => Math.floor(next() * versions.length);
      const ranges = Array.from({ length: 10 }, () => [pick(), pick()].sort((a, b) => a - b) as [number, number]);
      const upgrades = ranges.map(([low, high], i) =>
        define(
          i % 2 === 0
            ? `>=${versions[low]} <=${versions[high]}`
            : `>=${versions[low]} <${versions[high + 1] ?? "99.0.0"}`,
          {
            id: `${i}`,
          },
        )
      );
      const stops = Array.from({ length: 2 + Math.floor(next() * 8) }, pick).sort((a, b) => a - b);
      const expected = stops.slice(1).map((target, i) =>
        ranges.map(([low, high], id) => ({ low, high, id }))
          .filter(({ low, high }) => low <= stops[i]! && stops[i]! <= high && high < target)
          // With <, the threshold is the next version; with <=, it is just above the last.
          .sort((a, b) => a.high - b.high || Number(a.id % 2) - Number(b.id % 2) || a.id - b.id)
          .map(({ id }) => String(id))
      );
      const seen = new Set<string>();
      const once = expected.map((ids) => ids.filter((id) => !seen.has(id) && seen.add(id)));
      assert.deepEqual(runsAt(upgrades, stops.map((index) => versions[index]!)), once);
    });
  }
});
