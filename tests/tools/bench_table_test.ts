import assert from "node:assert/strict";
import { withFigures } from "../../scripts/bench_table.ts";
import { test } from "../support/test.ts";

const PAGE = `# Figures

<!-- figures -->

| figure | goal      | Deno | Node |
| ------ | --------- | ---- | ---- |
| old    | at most 5 | 4    | 3    |
| other  |           | 1 ms |      |

<!-- end of figures -->

The end.
`;

test("withFigures() replaces figures by name and runtime, and keeps the others", () => {
  const changed = withFigures(PAGE, [
    { name: "old", runtime: "Deno", value: "9", wanted: "at most 5", isGood: false },
    { name: "new", runtime: "Node", value: "2", wanted: "", isGood: true },
  ]);
  assert.deepEqual(changed.split("\n").filter((line) => line.startsWith("|")), [
    "| figure | goal | Deno | Node |",
    "| --- | --- | --- | --- |",
    "| old | at most 5 | **9** | 3 |",
    "| other |  | 1 ms |  |",
    "| new |  |  | 2 |",
  ]);
  assert(changed.startsWith("# Figures\n") && changed.endsWith("\n\nThe end.\n"));
});

test("withFigures() refuses a page without a table", () => {
  assert.throws(() => withFigures("# Nothing", []), /has no <!-- figures -->/);
});
