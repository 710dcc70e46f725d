import assert from "node:assert/strict";
import { createTurns, type TakenTurn, type TurnKind, type Turns } from "../../../src/worker/turns.ts";
import { describe, it } from "../../support/test.ts";
import { type VirtualTime, virtualTime } from "../../support/time.ts";

const TURN_MS = 30_000;

interface Taking {
  readonly time: VirtualTime;
  readonly turns: Turns;
  readonly take: (name: string, kind?: TurnKind) => void;
  /** Names in the order in which their turns began. */
  readonly begun: string[];
  readonly taken: ReadonlyMap<string, TakenTurn>;
}

/** Takes turns by name. */
function taking(max: number): Taking {
  const time = virtualTime();
  const turns = createTurns(time, max);
  const begun: string[] = [];
  const taken = new Map<string, TakenTurn>();
  const take = (name: string, kind: TurnKind = "fresh"): void =>
    void turns.take(kind).then((turn) => {
      begun.push(turn === undefined ? `not ${name}` : name);
      if (turn !== undefined) taken.set(name, turn);
    });
  return { time, turns, begun, take, taken };
}

describe("createTurns()", () => {
  it("lets so many begin at once, and the others in the order in which they came", async () => {
    const { time, turns, begun, take, taken } = taking(2);
    assert(turns.isFree());
    for (const name of ["a", "b", "c", "d"]) take(name);
    assert(!turns.isFree());
    await time.elapse(0);
    assert.deepEqual(begun, ["a", "b"]);
    taken.get("b")!.end();
    await time.elapse(0);
    assert.deepEqual(begun, ["a", "b", "c"]);
    for (const name of ["a", "c"]) taken.get(name)!.end();
    await time.elapse(0);
    assert.deepEqual(begun, ["a", "b", "c", "d"]);
    assert(turns.isFree());
  });

  it("reserves slots, in which turns begin later or never", async () => {
    const { time, turns, begun, take } = taking(2);
    const [first, second] = [turns.reserve()!, turns.reserve()!];
    assert.deepEqual([turns.reserve(), turns.isFree()], [undefined, false]);
    for (const name of ["a", "b"]) take(name);
    await time.elapse(0);
    assert.deepEqual(begun, []);
    first.release();
    await time.elapse(0);
    assert.deepEqual(begun, ["a"]);
    second.begin("fresh").end();
    await time.elapse(0);
    assert.deepEqual(begun, ["a", "b"]);
    turns.close();
    assert.equal(turns.reserve(), undefined);
  });

  it("prefers fresh portals to those that had a turn, but for one of four", async () => {
    const { time, begun, take, taken } = taking(1);
    take("holder");
    for (const name of ["long 1", "long 2"]) take(name, "resumed");
    for (let i = 1; i <= 6; i++) take(`${i}`);
    for (let i = 0; i < 9; i++) {
      await time.elapse(0);
      taken.get(begun.at(-1)!)!.end();
    }
    assert.deepEqual(begun, ["holder", "1", "2", "3", "long 1", "4", "5", "6", "long 2"]);
  });

  it("lets a turn yield after 30 seconds, and only while others wait", async () => {
    const { time, take, taken } = taking(1);
    take("a");
    await time.elapse(TURN_MS);
    const turn = taken.get("a")!;
    assert.deepEqual([turn.yields(), turn.next()], [false, undefined]);
    take("b", "resumed");
    assert.deepEqual([turn.yields(), turn.next()], [true, "resumed"]);
    turn.end();
    take("c");
    await time.elapse(TURN_MS - 1);
    assert.equal(taken.get("b")!.yields(), false);
    await time.elapse(1);
    assert.equal(taken.get("b")!.yields(), true);
  });

  it("has room while fewer fresh portals wait than there are slots", async () => {
    const { time, turns, take, taken } = taking(1);
    take("a");
    for (let i = 0; i < 5; i++) take(`long ${i}`, "resumed");
    await turns.room();
    take("b");
    let hasRoom = false;
    void turns.room().then(() => hasRoom = true);
    await time.elapse(0);
    assert.equal(hasRoom, false);
    taken.get("a")!.end();
    await time.elapse(0);
    assert.equal(hasRoom, true);
  });

  it("lets one portal at a time resume alone, until it has progressed", async () => {
    const { time, begun, take, taken } = taking(3);
    for (const name of ["a", "b"]) take(name);
    await time.elapse(0);
    const [a, b] = ["a", "b"].map((name) => taken.get(name)!);
    assert.deepEqual([a!.takeAlone(), a!.takeAlone(), a!.next()], [true, true, undefined]);
    assert.deepEqual([b!.takeAlone(), b!.next()], [false, "alone"]);
    b!.end();
    for (const name of ["b again", "c"]) take(name, "alone");
    take("fresh");
    await time.elapse(0);
    assert.deepEqual(begun, ["a", "b", "fresh"]);
    a!.endAlone();
    await time.elapse(0);
    assert.deepEqual(begun, ["a", "b", "fresh", "b again"]);
    const again = taken.get("b again")!;
    assert.equal(again.takeAlone(), true);
    a!.end();
    again.end();
    await time.elapse(0);
    assert.deepEqual(begun, ["a", "b", "fresh", "b again", "c"]);
  });

  it("does not end a turn for portals that have to wait until another has progressed", async () => {
    const { time, take, taken } = taking(2);
    for (const name of ["a", "b"]) take(name);
    await time.elapse(TURN_MS);
    taken.get("a")!.takeAlone();
    take("c", "alone");
    assert.equal(taken.get("b")!.yields(), false);
    taken.get("a")!.endAlone();
    assert.equal(taken.get("b")!.yields(), true);
  });

  it("lets nobody wait once it is closed", async () => {
    const { time, turns, begun, take, taken } = taking(1);
    for (const name of ["a", "b"]) take(name);
    take("c", "resumed");
    void turns.room().then(() => begun.push("room"));
    turns.close();
    take("d");
    await turns.room();
    await time.elapse(0);
    assert.deepEqual(begun.toSorted(), ["a", "not b", "not c", "not d", "room"]);
    taken.get("a")!.end();
    take("e");
    await time.elapse(0);
    assert.equal(begun.at(-1), "e");
  });
});
