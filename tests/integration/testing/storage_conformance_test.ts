import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { Storage } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import type { StorageConformanceOptions, StorageWorkerCommand } from "@b24/onappupdate/testing";
import { failedRequirements, register } from "../../support/conformance.ts";
import { root, runArgs } from "../../support/process.ts";
import { describe, it, test } from "../../support/test.ts";
import { BROKEN_WORKERS } from "./_broken_workers.ts";

/** Returns options for files that workers share, with the broken storage `how` of `_broken_workers.ts`. */
function onFiles(how?: string): Partial<StorageConformanceOptions> {
  const paths = new WeakMap<Storage, string>();
  return {
    create: (clock) => {
      const path = join(mkdtempSync(join(tmpdir(), "worker-")), "app.db");
      const storage = fileStorage({ path, clock });
      paths.set(storage, path);
      return storage;
    },
    dispose: async (storage) => {
      await storage.close?.();
      rmSync(join(paths.get(storage)!, ".."), { recursive: true });
    },
    worker: (storage): StorageWorkerCommand => ({
      command: process.execPath,
      args: [
        ...runArgs,
        join(root, "tests/integration/testing/file_worker.ts"),
        paths.get(storage)!,
        ...(how === undefined ? [] : [how]),
      ],
    }),
  };
}

test("storageConformance() passes a file that processes share", async () => {
  const shared = register(onFiles()).filter(({ name }) => name.startsWith("8."));
  assert.equal(shared.length, 6);
  assert.deepEqual(await failedRequirements(shared), new Map());
});

describe("storageConformance() finds storages that are broken in several processes:", () => {
  for (const [does, { caught }] of Object.entries(BROKEN_WORKERS)) {
    it(does, async () => {
      const tests = register(onFiles(does)).filter(({ name }) => caught.includes(name.split(" ")[0]!));
      assert.deepEqual([...(await failedRequirements(tests)).keys()], caught);
    });
  }
});

test("storageConformance() reports a worker that does not start", async () => {
  const [first] = register({ worker: () => ({ command: process.execPath, args: ["no such file"] }) })
    .filter(({ name }) => name.startsWith("8.1 "));
  await assert.rejects(first!.fn(), /exited without a result/);
});
