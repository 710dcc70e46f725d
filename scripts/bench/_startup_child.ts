/** A process that has imported nothing yet: imports what it is told, and answers with the time that it took. */
import { answerCommands } from "./_child.ts";

async function timed(load: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await load();
  return performance.now() - start;
}

answerCommands({
  package: () => timed(() => import("@b24/onappupdate")),
  dependencies: () =>
    timed(async () => {
      await import("zod");
      await import("semver");
    }),
});
