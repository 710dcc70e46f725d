import assert from "node:assert/strict";
import { createLowest, isMember, maxPortals, membersOf, rolloutHash } from "../../../src/rollout/membership.ts";
import { describe, it } from "../../support/test.ts";

const members = Array.from({ length: 20_000 }, (_, i) => i.toString(16).padStart(32, "0"));
const plan = { target: "2.0.0", stages: [], first: [], hold: [] };

describe("rolloutHash()", () => {
  it("is the same in every version of this package", () => {
    assert.deepEqual(
      [rolloutHash("2.0.0", members[0]!), rolloutHash("2.0.0", "a223c6b3710f85df22e9377d6c4f7553")],
      [0.13191403402015567, 0.2744117919355631],
    );
  });

  it("spreads portals evenly, and otherwise for each target", () => {
    for (const target of ["2.0.0", "2.0.1", "10.3.0-beta.1"]) {
      for (const percent of [1, 10, 50]) {
        const share = members.filter((id) => rolloutHash(target, id) < percent / 100).length / members.length * 100;
        assert(Math.abs(share - percent) < 1, `${percent} % of ${target}: ${share}`);
      }
    }
    const both = members.filter((id) => rolloutHash("2.0.0", id) < 0.1 && rolloutHash("2.0.1", id) < 0.1).length;
    assert(both > 100 && both < 300, `${both} portals are early for two targets, wanted about 200`);
  });
});

describe("isMember()", () => {
  const lowest = createLowest("2.0.0", 5);
  for (const id of members) lowest.add(id);
  const stages = [{ portals: 2 }, { portals: 5 }, { percent: 10 }, { percent: 100 }];
  const staged = { ...plan, stages, lowest: lowest.memberIds() };
  const inStage = (stage: number): string[] => members.filter((id) => isMember(staged, stage, id));

  it("nests the stages", () => {
    const all = stages.map((_, stage) => inStage(stage));
    assert.deepEqual(all.map(({ length }) => length).map((n, i) => i === 2 ? Math.round(n / 1000) : n), [
      2,
      5,
      2,
      20_000,
    ]);
    for (const [i, ids] of all.slice(1).entries()) assert(all[i]!.every((id) => ids.includes(id)));
  });

  it("keeps the portals of a number in a stage of few percent", () => {
    const few = members.slice(0, 20);
    const lowest = createLowest("2.0.0", 5);
    for (const id of few) lowest.add(id);
    const small = { ...plan, stages: [{ portals: 5 }, { percent: 1 }], lowest: lowest.memberIds() };
    assert.deepEqual(few.filter((id) => isMember(small, 1, id)).sort(), [...lowest.memberIds()].sort());
  });

  it("takes the portals with the lowest hashes", () => {
    const sorted = [...members].sort((a, b) => rolloutHash("2.0.0", a) - rolloutHash("2.0.0", b));
    assert.deepEqual(lowest.memberIds(), sorted.slice(0, 5));
    assert.deepEqual(inStage(0).sort(), sorted.slice(0, 2).sort());
  });

  it("counts the portals of `first`, and never has those of `hold`", () => {
    const [a, b] = lowest.memberIds();
    const named = { ...staged, first: ["mine"], hold: [a!] };
    assert.deepEqual(membersOf(named, 2), ["mine", b]);
    assert.equal(isMember(named, 0, "mine"), true);
    assert.equal(isMember(named, 0, a!), false);
    assert.equal(isMember(named, 3, a!), false);
  });

  it("has nobody before the lowest hashes are found", () => {
    assert.equal(isMember({ ...plan, stages }, 1, lowest.memberIds()[0]!), false);
  });
});

it("maxPortals() is the largest number of a stage", () => {
  assert.equal(maxPortals([{ portals: 2 }, { portals: 5 }, { percent: 10 }]), 5);
  assert.equal(maxPortals([{ percent: 10 }]), 0);
});
