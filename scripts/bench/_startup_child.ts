/** A process that has imported nothing yet: imports what it is told, and answers with the processor time that it took. */
import { answerCommands, cpuMicros } from "./_child.ts";

/** Returns processor time (ms), which other processes of the machine do not change. */
async function timed(load: () => Promise<unknown>): Promise<number> {
  const before = cpuMicros();
  await load();
  return (cpuMicros() - before) / 1000;
}

answerCommands({
  package: () => timed(() => import("@b24/onappupdate")),
  dependencies: () =>
    timed(async () => {
      await import("zod");
      await import("semver");
    }),
});
