/**
 * Mutation testing: makes one small mistake in the source after the other, each in a copy of the package, and runs the tests
 * that must notice it.
 *
 *     deno task mutants [part of a name or file ...]
 *
 * Fails if no test notices a mutant that has no reason, or if a mutant no longer applies. The mutants are in `scripts/mutants/`.
 * TEST_DEADLINE_FACTOR multiplies all time limits; MUTANTS_AT_A_TIME says how many run at once, by default 2.
 */
// deno-lint-ignore-file no-console
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { MUTANTS } from "./mutants/list.ts";
import { type Mutant, mutated } from "./mutants/mutant.ts";
import { type Finished, run } from "./run.ts";
import { deadlineFactor, failureOutput, verdict } from "./test_run.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
/** Files of the package that unit tests and the simulation use. */
const COPIED = [
  ...["deno.json", "deno.lock", "mod.ts", "storage.ts", "errors.ts"],
  ...["src", "plugins", "examples", "scripts", "tests"],
];
/** Time limit (ms) of the tests of one mutant. A mutant at which tests hang is noticed. */
const DEADLINE_MS = 150_000;
/** Time limit (ms) of all tests without a mutant. */
const ALL_DEADLINE_MS = 10 * 60_000;

/** The outcome of a mutant. */
type Outcome = "killed" | "survived" | "listed" | "invalid";

function test(folder: string, tests: readonly string[], deadlineMs: number): Promise<Finished> {
  return run(process.execPath, ["test", "-A", "--no-check", "--fail-fast", ...tests], {
    ...{ cwd: folder, timeoutMs: deadlineMs * deadlineFactor() },
  });
}

/** Runs the tests of a mutant in a copy of the package. */
async function outcomeOf(
  folder: string,
  mutant: Mutant,
): Promise<{ readonly outcome: Outcome; readonly output: string }> {
  const { file, tests, scenarios, reason } = mutant;
  const path = join(folder, file);
  const source = readFileSync(path, "utf8");
  try {
    writeFileSync(path, mutated(source, mutant));
    if (scenarios !== undefined) {
      const find = ["run", "-A", "--no-check", "tests/simulation/_find_mutant.ts", ...scenarios];
      const { ok, output } = await run(process.execPath, find, {
        ...{ cwd: folder, timeoutMs: 2 * DEADLINE_MS * deadlineFactor() },
      });
      return { outcome: ok ? "killed" : "survived", output };
    }
    const { ok, output } = await test(folder, tests, DEADLINE_MS);
    // Code that cannot be loaded shows nothing.
    const isLoaded = !/could not be parsed|does not provide an export|Module not found/.test(output);
    if (!ok) return { outcome: isLoaded ? "killed" : "invalid", output };
    return { outcome: reason === undefined ? "survived" : "listed", output };
  } catch (error) {
    return { outcome: "invalid", output: String(error) };
  } finally {
    writeFileSync(path, source);
  }
}

/** Returns the line that reports a mutant, with the output of tests if there is something to look at. */
function report({ name, file, reason }: Mutant, outcome: Outcome, output: string, seconds: number): string {
  const ok = reason === undefined ? outcome === "killed" : outcome === "listed";
  const why = reason === undefined ? "" : outcome === "listed" ? ` (${reason})` : " (it has a reason why it is not)";
  const line = verdict(ok, `${outcome}: ${name}, ${file}${why}`, seconds);
  return ok || outcome === "survived" ? line : `${failureOutput(output).slice(-3000)}\n${line}`;
}

/** Makes the mutants, some at a time. Resolves to whether all outcomes are as wanted. */
async function makeAll(mutants: readonly Mutant[], folders: readonly string[]): Promise<boolean> {
  const left = [...mutants];
  const counts: Record<Outcome, number> = { killed: 0, survived: 0, listed: 0, invalid: 0 };
  let isOk = true;
  await Promise.all(folders.map(async (folder) => {
    for (let mutant = left.shift(); mutant !== undefined; mutant = left.shift()) {
      const start = performance.now();
      const { outcome, output } = await outcomeOf(folder, mutant);
      counts[outcome]++;
      isOk &&= outcome === (mutant.reason === undefined ? "killed" : "listed");
      console.log(report(mutant, outcome, output, (performance.now() - start) / 1000));
    }
  }));
  console.log(`\n${Object.entries(counts).map(([outcome, count]) => `${count} ${outcome}`).join(", ")}`);
  return isOk;
}

/** Returns whether all tests of the mutants pass without one: otherwise, failures show nothing. */
async function passesWithout(mutants: readonly Mutant[], folder: string): Promise<boolean> {
  const tests = [...new Set(mutants.flatMap(({ tests, scenarios }) => scenarios === undefined ? tests : []))];
  if (tests.length === 0) return true;
  const { ok, output, seconds } = await test(folder, tests, ALL_DEADLINE_MS);
  console.log(`${ok ? "" : failureOutput(output)}${verdict(ok, "the tests without a mutant", seconds)}`);
  return ok;
}

const [, , ...wanted] = process.argv;
const mutants = MUTANTS.filter(({ name, file }) =>
  wanted.length === 0 || wanted.some((text) => name.includes(text) || file.includes(text))
);
const folder = mkdtempSync(join(tmpdir(), "onappupdate-mutants-"));
try {
  const places = Math.min(Number(process.env["MUTANTS_AT_A_TIME"] ?? 2), mutants.length);
  const folders = Array.from({ length: places }, (_, place) => join(folder, String(place)));
  for (const copy of folders) {
    for (const path of COPIED) cpSync(join(root, path), join(copy, path), { recursive: true });
  }
  if (!(mutants.length > 0 && await passesWithout(mutants, folders[0]!) && await makeAll(mutants, folders))) {
    process.exitCode = 1;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
