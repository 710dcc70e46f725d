/**
 * Compares the processor time that a new process takes to import the package with that for its dependencies, zod and
 * semver, as a ratio.
 *
 *     deno run -A scripts/bench/startup.ts
 *     node scripts/bench/startup.ts          (in a project that has the package installed)
 */
import { report, rounds } from "./_bench.ts";
import { startChild } from "./_child.ts";

/** Maximum ratio. */
const WANTED = 1.5;

/** Returns the processor time (ms) of the import in a process of its own. */
async function measure(what: "package" | "dependencies"): Promise<number> {
  const child = await startChild("_startup_child.ts");
  try {
    return await child.ask<number>(what);
  } finally {
    await child.stop();
  }
}

const times = await rounds(async () => ({
  own: await measure("package"),
  dependencies: await measure("dependencies"),
}));
report({ name: "CPU of the import of the package", values: times.map(({ own }) => own), unit: "ms" });
report({ name: "CPU of the import of zod and semver", values: times.map((of) => of.dependencies), unit: "ms" });
report({
  name: "CPU of the import of the package ÷ of zod and semver",
  values: times.map(({ own, dependencies }) => own / dependencies),
  wanted: { atMost: WANTED },
});
