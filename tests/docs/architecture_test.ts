import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createApp, memoryStorage } from "@b24/onappupdate";
import type { Key, Storage } from "@b24/onappupdate/storage";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import * as keys from "../../src/portal/keys.ts";
import { MEMBER_ID, post, quietLogger, trustAll } from "../support/app.ts";
import { describe, it } from "../support/test.ts";
import { withoutWrite } from "../support/without_write.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const page = readFileSync(join(root, "docs/architecture.md"), "utf8");

/** The text of a section, by its heading. */
function section(heading: string): string {
  const [, text] = page.split(`\n## ${heading}\n`);
  assert.ok(text !== undefined, `docs/architecture.md has no section "${heading}"`);
  return text.split("\n## ")[0]!;
}

/** The first column of the table in a section, without its head. */
function firstColumn(heading: string): string[] {
  return section(heading).split("\n").filter((line) => line.startsWith("| `")).map((line) => line.split("`")[1]!);
}

describe("docs/architecture.md", () => {
  it("lists every folder and module of src/, and no other", () => {
    const parts = readdirSync(join(root, "src"), { withFileTypes: true })
      .map((entry) => `src/${entry.name}${entry.isDirectory() ? "/" : ""}`);
    const named = firstColumn("Folders").filter((name) => name.startsWith("src/")).flatMap((name) => name.split(", "));
    assert.deepEqual(named.sort(), parts.sort());
  });

  it("lists every key of src/portal/keys.ts, and no other", () => {
    const first = Object.values(keys).map((key: unknown) =>
      (typeof key === "function" ? (key as (...parts: string[]) => Key)("a", "b") : key as Key)[0]
    );
    const named = firstColumn("Stored keys").map((key) => key.split("/")[0]!);
    assert.deepEqual([...new Set(named)].sort(), [...new Set(first)].sort());
  });

  it("lists every key that the life of a portal writes", async () => {
    const named = new Set(firstColumn("Stored keys").map((key) => key.split("/")[0]!));
    const written = new Set<string>();
    const inner = memoryStorage();
    const storage: Storage = {
      ...withoutWrite(inner),
      put: (key, ...rest) => {
        written.add(key[0]);
        return inner.put(key, ...rest);
      },
    };
    const portal = fakeBitrix24({ clientId: "app.5f3a" }).portal({ memberId: MEMBER_ID });
    const app = createApp({ storage, acknowledge: "handled", logger: quietLogger, tickEveryMs: false })
      .use(trustAll)
      .upgrade("2", async ({ step }) => void await step("large", () => "x".repeat(10_000)));
    for (const body of [portal.install(1), portal.update(2), portal.uninstall()]) {
      assert.equal((await app.fetch(post(body))).status, 200);
    }
    await app.close();
    assert.deepEqual([...written].filter((name) => !named.has(name)), []);
    assert.ok(written.size >= 4, [...written].join());
  });

  it("names functions that exist, in the modules that have them", () => {
    const text = section("The life of a request") + section("The life of a run");
    const named = [...text.matchAll(/`(\w+)\(\)` in `([\w/.]+\.ts)`/g)];
    assert.ok(named.length >= 16, `${named.length} functions`);
    for (const [, name, file] of named) {
      const source = readFileSync(join(root, file!), "utf8");
      assert.match(
        source,
        new RegExp(`\\b(function\\*? ${name}\\b|const ${name} =|${name}:|${name}\\()`),
        `${file} has no ${name}()`,
      );
    }
  });
});
