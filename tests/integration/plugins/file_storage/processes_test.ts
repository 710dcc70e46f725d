import assert from "node:assert/strict";
import process from "node:process";
import { createInterface } from "node:readline";
import { describe, it } from "../../../support/test.ts";
import { commandOf, placeOfEachTest, start, valueOf } from "./_file_storage.ts";

const place = placeOfEachTest();

describe("fileStorage() in several processes", () => {
  it("loses no count of two that count in one key by compare-and-set, from an empty folder on", async () => {
    const times = 200;
    const children = [1, 2].map(() => start(commandOf("file_storage_child.ts", "count", place.path, String(times))));
    for (const child of children) assert.deepEqual(await child.ended, [0, null], child.errors());
    assert.equal((await place.open().get(["count"]))?.value, 2 * times);
  });
});

/** What the writers of a process were told before it was killed: how many writes were done, by writer. */
type Told = readonly number[];

/** What is done to a process in one round. */
interface Round {
  readonly name: string;
  /** How many write at once. */
  readonly writers: number;
  /** It is killed when so many writes are acknowledged; 0: while it opens the file. */
  readonly after: number;
  /** And so much later. */
  readonly delayMs: number;
}

async function kill(path: string, { name, writers, after, delayMs }: Round): Promise<Told> {
  const child = start(commandOf("file_storage_child.ts", "write", path, name, String(writers)));
  const told = new Array<number>(writers).fill(0);
  let lines = -1; // The first says that it begins to open the file.
  for await (const line of createInterface({ input: child.process.stdout! })) {
    lines++;
    if (lines > 0) told[Number(line)]!++;
    if (lines !== after) continue;
    // It goes on meanwhile: so the end comes while it calls SQLite, or writes a log, or waits for the disk.
    for (const end = performance.now() + delayMs; performance.now() < end;);
    process.kill(child.process.pid!, "SIGKILL");
  }
  assert.deepEqual(await child.ended, [null, "SIGKILL"], child.errors());
  assert.ok(lines >= after);
  return told;
}

/** What a writer leaves after so many writes: every fourth deletes what the third has put. */
function leftAfter(writes: number): string {
  return Array.from({ length: writes }, (_, n) => n).filter((n) => n % 4 < 2 || n % 4 === 2 && n === writes - 1).join();
}

async function assertKept(path: string, rounds: ReadonlyMap<string, Told>): Promise<void> {
  const { storage, connection } = place.connect(path);
  assert.equal(valueOf(connection, "PRAGMA integrity_check"), "ok");
  for (const [round, told] of rounds) {
    const left = told.map(() => [] as number[]);
    for await (const { key, value } of storage.list<{ n: number }>(["round", round])) {
      left[Number(key[2])]!.push(value.n);
    }
    told.forEach((writes, writer) => {
      const saw = left[writer]!.sort((a, b) => a - b).join();
      // The last may have been done without a word of it.
      const wanted = [leftAfter(writes), leftAfter(writes + 1)];
      assert.ok(wanted.includes(saw), `round ${round}, writer ${writer}: saw ${saw}, wanted ${wanted.join(" or ")}`);
    });
  }
  await storage.close?.();
}

describe("fileStorage() in a process that is killed", () => {
  it("loses no acknowledged write and does none by half, a hundred times", async () => {
    const files = 4;
    let kills = 0;
    await Promise.all(Array.from({ length: files }, async (_, file) => {
      const path = `${place.path}.${file}`;
      const rounds = new Map<string, Told>();
      for (let round = 0; round < 100 / files; round++) {
        const name = String(round);
        const writers = [1, 64, 7][round % 3]!;
        const after = round % 5 === 0 ? 0 : (round * 41 + file * 7) % 150;
        const delayMs = (round * 7 + file * 3) % 16 / 5;
        rounds.set(name, await kill(path, { name, writers, after, delayMs }));
        kills++;
        // In between the next process finds the file as the killed one has left it.
        if (round % 5 === 4) await assertKept(path, rounds);
      }
    }));
    assert.equal(kills, 100);
  });
});
