/**
 * The long forms of `tests/chaos`, `tests/random` and `tests/simulation`. The gate runs about 20 seconds of each.
 *
 *     deno task chaos [seed] [seconds for each storage, default 60]
 *     deno task random [seed] [histories of portals, default 10000]
 *     deno task simulation [seed] [schedules, default 100000]
 *
 * Without a seed it takes one from the clock and prints it. For `random` and `simulation` the same seed gives the same run.
 * For `chaos` the seed plans events, kills, pauses, clocks and outages; the outcome also depends on the machine, so a
 * failure may need several runs to come again.
 */
// deno-lint-ignore-file no-console
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { ensureRedis } from "./redis_binary.ts";

const FORMS: Readonly<Record<string, (seed: string, amount?: string) => Record<string, string>>> = {
  chaos: (seed, amount = "60") => ({ CHAOS_SEED: seed, CHAOS_SECONDS: amount }),
  random: (seed, amount = "10000") => ({ SEED: seed, HISTORIES: amount }),
  simulation: (seed, amount = "100000") => ({ SEED: seed, SCHEDULES: amount }),
};

const [, , form = "", seed = String(Date.now() % 1_000_000), amount] = process.argv;
const environment = FORMS[form];
if (environment === undefined || [seed, amount ?? "1"].some((text) => !/^[1-9]\d*$/.test(text))) {
  console.error(`wanted ${Object.keys(FORMS).join(" or ")}, and whole numbers from 1 as seed and amount`);
  process.exit(1);
}
const env = environment(seed, amount);
console.log(Object.entries(env).map((variable) => variable.join("=")).join(" "));
if (form === "chaos") await ensureRedis();
const test = spawn(process.execPath, ["test", "-A", "--no-check", `tests/${form}`], {
  cwd: fileURLToPath(new URL("..", import.meta.url)),
  env: { ...process.env, ...env },
  stdio: "inherit",
});
test.on("close", (code) => process.exitCode = code ?? 1);
