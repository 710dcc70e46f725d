import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { runArgs } from "../../support/process.ts";
import { test } from "../../support/test.ts";

const HOUR_MS = 3_600_000;

test("copyStorage() completes when it is repeated after its process was killed several times", async () => {
  const folder = mkdtempSync(join(tmpdir(), "copy-"));
  const [from, to] = [join(folder, "from.db"), join(folder, "to.db")];
  const child = async (killAt: number): Promise<{ ended: unknown[]; output: string }> => {
    const script = fileURLToPath(new URL("copy_child.ts", import.meta.url));
    const child = spawn(process.execPath, [...runArgs, script, from, to, String(killAt)], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    let output = "";
    child.stdout.on("data", (text) => output += text);
    return { ended: await once(child, "close"), output };
  };
  const read = async (path: string): Promise<unknown[]> => {
    const storage = fileStorage({ path });
    const found: unknown[] = [];
    for await (const { key, value } of storage.list([])) found.push([key, value]);
    await storage.close?.();
    return found;
  };
  try {
    const source = fileStorage({ path: from });
    for (let i = 0; i < 200; i++) await source.put(["n", String(i).padStart(4, "0")], { i });
    for (let i = 0; i < 50; i++) await source.put(["receipt", String(i)], 1, { ttlMs: HOUR_MS });
    await source.close?.();
    let before = 0;
    for (const killAt of [1, 70, 30, 65]) {
      assert.deepEqual((await child(killAt)).ended, [null, "SIGKILL"]);
      const { length } = await read(to);
      assert.ok(length >= before && length < 250, `${length} after ${before}`);
      before = length;
    }
    assert.ok(before > 0);
    const { ended, output } = await child(0);
    assert.deepEqual(ended, [0, null]);
    assert.deepEqual(JSON.parse(output), { copied: 250 - before, same: before, extra: 0 });
    assert.deepEqual(await read(to), await read(from));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
