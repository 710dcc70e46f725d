import assert from "node:assert/strict";
import process from "node:process";
import { createInterface } from "node:readline";
import { describe, it } from "../../../support/test.ts";
import { commandOf, placeOfEachTest, start, valueOf } from "./_file_storage.ts";

const place = placeOfEachTest();

describe("fileStorage() in several processes", () => {
  it("loses no increment of two processes that increment one entry by compare-and-set, from an empty folder on", async () => {
    const times = 200;
    const children = [1, 2].map(() => start(commandOf("file_storage_child.ts", "count", place.path, String(times))));
    for (const child of children) assert.deepEqual(await child.ended, [0, null], child.errors());
    assert.equal((await place.open().get(["count"]))?.value, 2 * times);
  });
});

/** Number of acknowledged writes, by writer. */
type Acknowledged = readonly number[];

/** The way in which a process is killed. */
interface Round {
  readonly name: string;
  /** Number of concurrent writers. */
  readonly writers: number;
  /** Number of acknowledged writes before the kill; 0 to kill the process while it opens the file. */
  readonly after: number;
  /** Delay (ms) of the kill after that. */
  readonly delayMs: number;
}

async function kill(path: string, { name, writers, after, delayMs }: Round): Promise<Acknowledged> {
  const child = start(commandOf("file_storage_child.ts", "write", path, name, String(writers)));
  const acknowledged = new Array<number>(writers).fill(0);
  let lines = -1; // The first line only reports that the process opens the file.
  for await (const line of createInterface({ input: child.process.stdout! })) {
    lines++;
    if (lines > 0) acknowledged[Number(line)]!++;
    if (lines !== after) continue;
    // The process keeps writing meanwhile: the kill hits it in SQLite, in a write of the log, or in a sync.
    for (const end = performance.now() + delayMs; performance.now() < end;);
    process.kill(child.process.pid!, "SIGKILL");
  }
  assert.deepEqual(await child.ended, [null, "SIGKILL"], child.errors());
  assert.ok(lines >= after);
  return acknowledged;
}

/** Returns the entries that a writer leaves after `writes` writes: every fourth deletes the entry of the third. */
function entriesAfter(writes: number): string {
  return Array.from({ length: writes }, (_, n) => n).filter((n) => n % 4 < 2 || n % 4 === 2 && n === writes - 1).join();
}

async function assertKept(path: string, rounds: ReadonlyMap<string, Acknowledged>): Promise<void> {
  const { storage, connection } = place.connect(path);
  assert.equal(valueOf(connection, "PRAGMA integrity_check"), "ok");
  for (const [round, acknowledged] of rounds) {
    const left = acknowledged.map(() => [] as number[]);
    for await (const { key, value } of storage.list<{ n: number }>(["round", round])) {
      left[Number(key[2])]!.push(value.n);
    }
    acknowledged.forEach((writes, writer) => {
      const saw = left[writer]!.sort((a, b) => a - b).join();
      // The write after the last acknowledged one may have been committed.
      const wanted = [entriesAfter(writes), entriesAfter(writes + 1)];
      assert.ok(wanted.includes(saw), `round ${round}, writer ${writer}: saw ${saw}, wanted ${wanted.join(" or ")}`);
    });
  }
  await storage.close?.();
}

describe("fileStorage() in a process that is killed", () => {
  it("loses no acknowledged write and has no partial one, in a hundred kills", async () => {
    const files = 4;
    let kills = 0;
    await Promise.all(Array.from({ length: files }, async (_, file) => {
      const path = `${place.path}.${file}`;
      const rounds = new Map<string, Acknowledged>();
      for (let round = 0; round < 100 / files; round++) {
        const name = String(round);
        const writers = [1, 64, 7][round % 3]!;
        const after = round % 5 === 0 ? 0 : (round * 41 + file * 7) % 150;
        const delayMs = (round * 7 + file * 3) % 16 / 5;
        rounds.set(name, await kill(path, { name, writers, after, delayMs }));
        kills++;
        // In the other rounds, the next process opens the file as the killed one left it.
        if (round % 5 === 4) await assertKept(path, rounds);
      }
    }));
    assert.equal(kills, 100);
  });
});
