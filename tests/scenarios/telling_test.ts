/** Observers hear of each change of a portal's state, under one id, whenever a process ends. */
import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { movableClock } from "../support/app.ts";
import { run } from "../support/process.ts";
import { describe, it } from "../support/test.ts";
import { createTold } from "../support/told.ts";
import { withoutWrite } from "../support/without_write.ts";
import { aroundWrites, CHANGES, type End, live, noting, recover } from "./_telling.ts";

/** Lives the life in a process that ends, then in another one. Resolves to the number of writes, and what was stored. */
async function liveAndEnd(
  end: End | undefined,
  isAtomic: boolean,
): Promise<{ readonly writes: number; readonly changes: readonly string[] }> {
  const { clock, later } = movableClock();
  const memory = memoryStorage({ clock });
  const told = createTold();
  const watched = noting(isAtomic ? memory : withoutWrite(memory), told.note);
  let writes = 0;
  let isDead = false;
  const assertAlive = (): void => {
    if (isDead) throw new StorageError("the process has ended");
  };
  const ending = aroundWrites(watched, {
    before: () => {
      writes++;
      if (end?.at === writes && end.when === "before") isDead = true;
      assertAlive();
    },
    after: () => {
      if (end?.at === writes) isDead = true;
      assertAlive();
    },
  });
  const storage: Storage = { ...ending, get: async (...args) => (assertAlive(), await ending.get(...args)) };
  const first = live({ storage, told: told.plugin(() => !isDead), clock, later });
  if (end === undefined) await first;
  else await first.catch(() => {});
  await recover({ storage: watched, told: told.plugin(), clock, later });
  told.assertAll();
  return { writes, changes: told.changes };
}

describe("observers are told everything under one id if a process ends before or after any write", () => {
  for (const isAtomic of [true, false]) {
    it(`${isAtomic ? "with" : "without"} atomic ordered writes`, { timeout: 300_000 }, async () => {
      const { writes, changes } = await liveAndEnd(undefined, isAtomic);
      assert.deepEqual(changes, CHANGES);
      for (let at = 1; at <= writes; at++) {
        for (const when of ["before", "after"] as const) {
          await liveAndEnd({ at, when }, isAtomic).catch((error) => {
            throw new Error(`the process ended ${when} write ${at}: ${error.message}`, { cause: error });
          });
        }
      }
    });
  }
});

/** Lives the life on a file in a process that kills itself, then in another one. Resolves to the number of its writes. */
async function liveAndKill(
  end: End | undefined,
): Promise<{ readonly writes: number; readonly isKilled: boolean }> {
  const folder = mkdtempSync(join(tmpdir(), "telling-"));
  try {
    const [path, lines] = [join(folder, "portals.db"), join(folder, "lines")];
    const killed = run("tests/scenarios/telling_worker.ts", {
      args: [path, lines, "live", ...end === undefined ? [] : [String(end.at), end.when]],
    });
    const isKilled = await killed.exited === null;
    assert(isKilled || await killed.exited === 0, killed.output());
    const next = run("tests/scenarios/telling_worker.ts", { args: [path, lines, "recover"] });
    assert.equal(await next.exited, 0, next.output());
    const all = readFileSync(lines, "utf8").trim().split("\n").map((line) => JSON.parse(line) as [string, string]);
    const of = (kind: string): string[] => all.filter(([name]) => name === kind).map(([, text]) => text);
    const told = [...new Set(of("told"))].map((text) => text.split("|")[0]!);
    assert.deepEqual(told.sort(), of("stored").sort());
    if (end === undefined) assert.deepEqual(of("stored"), CHANGES);
    return { writes: Number(of("writes")[0]), isKilled };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Number of processes at a time. */
const AT_A_TIME = 3;

it("observers are told everything under one id if a process is killed before or after any write", {
  timeout: 600_000,
}, async () => {
  const { writes } = await liveAndKill(undefined);
  const ends = Array.from({ length: writes }, (_, i) => i + 1)
    .flatMap((at): End[] => [{ at, when: "before" }, { at, when: "after" }]);
  let kills = 0;
  const all = ends.length;
  await Promise.all(Array.from({ length: AT_A_TIME }, async () => {
    for (let end = ends.shift(); end !== undefined; end = ends.shift()) {
      const { at, when } = end;
      const { isKilled } = await liveAndKill(end).catch((error) => {
        throw new Error(`killed ${when} write ${at}: ${error.message}`, { cause: error });
      });
      if (isKilled) kills++;
    }
  }));
  // Totals are added when a second has passed, so the last writes may not come.
  assert(kills >= all - 8, `${kills} of ${all} processes were killed`);
});
