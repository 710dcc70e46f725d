/** The simulation finds mistakes that kills have not found. */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { run } from "../../scripts/run.ts";
import { after, before, describe, it } from "../support/test.ts";
import { parseSchedule, replay } from "./_explore.ts";
import { type Mutant, MUTANTS } from "./_mutants.ts";
import { scenarioOf } from "./_scenarios.ts";
import { schedulesOf } from "./_world.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** The modules of the package that a schedule needs. */
const COPIED = [
  ...["deno.json", "deno.lock", "mod.ts", "storage.ts", "errors.ts", "src", "plugins"],
  ...["tests/support", "tests/simulation", "scripts"],
];

/** All mutants use one copy, one after the other, so that Deno has most of it in its cache. */
let copy: string;

before(() => {
  copy = mkdtempSync(join(tmpdir(), "onappupdate-mutant-"));
  for (const path of COPIED) cpSync(join(root, path), join(copy, path), { recursive: true });
});

after(() => rmSync(copy, { recursive: true, force: true }));

describe("the simulation finds a mistake", () => {
  for (const mutant of MUTANTS) {
    it(mutant.name, async () => {
      const { ok, output } = await explore(mutant);
      assert(ok, output);
      assert.match(output.split("\n")[0]!, mutant.violation);
      const { name, deviations } = parseSchedule(/SCHEDULE="([^"]*)"/.exec(output)![1]!);
      // The mistake alone is what breaks the schedule.
      await replay(schedulesOf(scenarioOf(name)), deviations);
    });
  }
});

/** Runs schedules of a copy of the package with the mistake. `ok`: one has failed. */
async function explore(
  { file, changes, scenarios }: Mutant,
): Promise<{ readonly ok: boolean; readonly output: string }> {
  const source = readFileSync(join(root, file), "utf8");
  try {
    writeFileSync(join(copy, file), changed(source, changes));
    return await run(process.execPath, ["run", "-A", "--no-check", "tests/simulation/_find_mutant.ts", ...scenarios], {
      cwd: copy,
    });
  } finally {
    writeFileSync(join(copy, file), source);
  }
}

function changed(source: string, changes: Mutant["changes"]): string {
  return changes.reduce((text, [from, to]) => {
    assert.equal(text.split(from).length, 2, `wanted once in the source: ${from}`);
    return text.replace(from, () => to);
  }, source);
}
