/**
 * Kills and stops workers, and takes their storage down, for longer than the tests do: each storage for so many seconds.
 *
 *     deno run -A scripts/chaos.ts [seed] [seconds]
 *
 * Default: a seed of the moment, which it prints, and 60 seconds. The seed plans events, kills, pauses, clocks and
 * outages; what comes of them also depends on the machine, so a failure may take some runs to come again.
 */
// deno-lint-ignore-file no-console
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";

const [, , seed = String(Date.now() % 1_000_000), seconds = "60"] = process.argv;
for (const [name, text] of Object.entries({ seed, seconds })) {
  if (!/^[1-9]\d*$/.test(text)) {
    console.error(`cannot make chaos with ${name} ${text}, wanted a whole number from 1`);
    process.exit(1);
  }
}
console.log(`seed ${seed}, ${seconds} seconds for each storage`);
const test = spawn(process.execPath, ["test", "-A", "--no-check", "tests/chaos/chaos_test.ts"], {
  cwd: fileURLToPath(new URL("..", import.meta.url)),
  env: { ...process.env, CHAOS_SEED: seed, CHAOS_SECONDS: seconds },
  stdio: "inherit",
});
test.on("close", (code) => process.exitCode = code ?? 1);
