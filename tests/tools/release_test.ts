import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { changesOf, checkRelease } from "../../scripts/release.ts";
import { describe, it } from "../support/test.ts";

const CHANGELOG = "# Changelog\n\nText.\n\n## 1.1.0 (unreleased)\n\n## 1.0.0\n\nThe first.\n\n- All.\n";

describe("a release", () => {
  it("takes its notes from the changelog", () => {
    assert.equal(changesOf("1.0.0", CHANGELOG), "The first.\n\n- All.");
  });

  it("is refused without notes", () => {
    assert.throws(() => changesOf("2.0.0", CHANGELOG), { message: 'CHANGELOG.md has no heading "## 2.0.0"' });
    assert.throws(() => changesOf("1.1.0", CHANGELOG), { message: 'CHANGELOG.md has nothing under "## 1.1.0"' });
    assert.throws(() => changesOf("1.0", CHANGELOG), { message: 'CHANGELOG.md has no heading "## 1.0"' });
  });

  it("has the version that its tag names", () => {
    checkRelease("v1.0.0", "1.0.0", CHANGELOG);
    for (const tag of ["1.0.0", "v1.0.1", "v1.0.0 ", ""]) {
      assert.throws(() => checkRelease(tag, "1.0.0", CHANGELOG), {
        message: `the tag is "${tag}", but deno.json has version "1.0.0"`,
      });
    }
  });

  it("of this version has notes", () => {
    const { version } = JSON.parse(readFileSync(new URL("../../deno.json", import.meta.url), "utf8"));
    const changelog = readFileSync(new URL("../../CHANGELOG.md", import.meta.url), "utf8");
    assert.match(changesOf(version, changelog), /createApp/);
  });
});
