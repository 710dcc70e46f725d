/** `onappupdate copy`: copies a storage. */
import { hasFunctions } from "../check_options.ts";
import { defined } from "../defined.ts";
import { copyStorage } from "../storage/copy.ts";
import type { Storage } from "../storage/storage.ts";
import { closeInTime } from "./close_in_time.ts";
import { defineCommand } from "./command.ts";
import { badAnswer, usageError } from "./exit.ts";
import type { Terminal } from "./terminal.ts";

interface CopyOptions {
  readonly overwrite?: true;
}

const isStorage = hasFunctions("get", "put", "delete", "list");

/** Copies all entries of a storage to another one, and compares them. */
export const copy = defineCommand<CopyOptions>({
  usage: "copy",
  summary: "copy a storage to another one, and compare them",
  description:
    "Both files are modules whose default export is a storage. Stop the app first. What is already there is not " +
    "written again: after an interruption, run the command again.",
  group: "Set up:",
  arguments: [
    { usage: "<from>", description: "module of the storage that is read" },
    { usage: "<to>", description: "module of the storage that is written" },
  ],
  options: [{ flags: "--overwrite", description: "replace entries that differ" }],
  examples: ["onappupdate copy ./sqlite.ts ./redis.ts"],
  run: async ({ args: [from = "", to = ""], options: { overwrite }, terminal, show }) => {
    const source = await loadStorage(terminal, from);
    const target = await loadStorage(terminal, to);
    const signal = terminal.interrupted();
    const progress = terminal.progress("copying  ");
    let phase = "copying";
    let copied = 0;
    let bar = progress;
    try {
      const report = await copyStorage(source, target, {
        ...defined({ overwrite }),
        signal,
        progress: ({ phase: now, done }) => {
          if (now !== phase) {
            bar.stop();
            bar = terminal.progress("comparing", copied);
            phase = now;
          }
          if (now === "copying") copied = done;
          bar.update(done);
        },
      });
      bar.stop();
      show(
        report,
        () => `${report.copied} copied, ${report.same} were there already, ${report.extra} only in the target`,
      );
    } catch (error) {
      bar.stop();
      if (!signal.aborted) throw error;
      throw badAnswer(`stopped while ${phase}, after ${copied} entries: run the command again to go on`);
    } finally {
      for (const storage of [source, target]) await closeInTime(async () => await storage.close?.());
    }
  },
});

async function loadStorage({ load }: Terminal, file: string): Promise<Storage> {
  const found = await load(file);
  if (!isStorage(found)) {
    throw usageError(`cannot use ${file}: its default export is no storage\nWrite: export default fileStorage({ … })`);
  }
  const storage = found as Storage;
  if (storage.capabilities.scope === "process") {
    throw usageError(`cannot use ${file}: the storage "${storage.name}" belongs to one process, so it is empty here`);
  }
  return storage;
}
