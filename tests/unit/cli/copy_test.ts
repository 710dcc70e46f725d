import assert from "node:assert/strict";
import { memoryStorage } from "@b24/onappupdate";
import type { Storage } from "@b24/onappupdate/storage";
import type { Terminal } from "../../../src/cli/terminal.ts";
import { cli, type Outcome } from "../../support/cli.ts";
import { describe, test } from "../../support/test.ts";

/** A storage that others can share, which cannot be closed. */
function shared(): Storage {
  const inner = memoryStorage();
  return { ...inner, capabilities: { ...inner.capabilities, scope: "host" }, close: () => Promise.resolve() };
}

async function filled(count: number): Promise<Storage> {
  const storage = shared();
  for (let i = 0; i < count; i++) await storage.put(["entry", String(i).padStart(4, "0")], { i });
  return storage;
}

const copy = (from: unknown, to: unknown, options: Partial<Terminal> = {}, ...args: string[]): Promise<Outcome> =>
  cli(["copy", "from.ts", "to.ts", ...args], {
    load: (path) => Promise.resolve(path === "from.ts" ? from : to),
    ...options,
  });

describe("onappupdate copy", () => {
  test("copies, compares, and goes on where it was", async () => {
    const [from, to] = [await filled(150), await filled(20)];
    const bars: string[] = [];
    const progress: Terminal["progress"] = (label, total) => ({
      update: (done) => void bars.push(`${label.trim()} ${done} of ${total}`),
      stop: () => {},
    });
    const { code, out, err } = await copy(from, to, { progress });
    assert.deepEqual([code, out, err], [0, "130 copied, 20 were there already, 0 only in the target\n", ""]);
    assert.deepEqual([bars[0], bars.at(-1)], ["copying 64 of undefined", "comparing 150 of 150"]);
    const again = await copy(from, to, {}, "--json");
    assert.deepEqual(JSON.parse(again.out), { copied: 0, same: 150, extra: 0 });
  });

  test("an entry that differs exits with 1, and --overwrite replaces it", async () => {
    const [from, to] = [await filled(2), shared()];
    await to.put(["entry", "0000"], { i: "other" });
    const { code, out, err } = await copy(from, to);
    assert.deepEqual([code, out], [1, ""]);
    assert.match(err, /^error: .*differ/);
    assert.equal((await copy(from, to, {}, "--overwrite")).code, 0);
  });

  test("Ctrl+C stops it, and it can go on", async () => {
    const [from, to] = [await filled(200), shared()];
    const interruption = new AbortController();
    const progress: Terminal["progress"] = () => ({ update: () => interruption.abort(), stop: () => {} });
    const { code, err } = await copy(from, to, { progress, interrupted: () => interruption.signal });
    assert.equal(code, 1);
    assert.match(err, /^error: stopped while copying, after 64 entries: run the command again/);
    assert.equal((await copy(from, to)).code, 0);
  });

  test("a module without a storage, and a storage of one process, exit with 2", async () => {
    const cases = [[undefined, shared(), /from\.ts: its default export is no storage/], [
      shared(),
      {},
      /to\.ts: its default/,
    ]];
    for (const [from, to, reason] of [...cases, [memoryStorage(), shared(), /from\.ts: .*belongs to one process/]]) {
      const { code, out, err } = await copy(from, to);
      assert.deepEqual([code, out], [2, ""]);
      assert.match(err, reason as RegExp);
    }
  });
});
