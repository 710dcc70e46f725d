/** Runs the recipes of docs/logging.md: fields and errors arrive, and no secret does. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MEMBER_ID } from "../support/app.ts";
import { root, run } from "../support/process.ts";
import { after, describe, it } from "../support/test.ts";
import { blocks, write } from "./_snippets.ts";

type Line = Readonly<Record<string, unknown>>;

const folder = mkdtempSync(join(tmpdir(), "logging-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** The recipes, by the package that they import. */
const RECIPES = ["consoleLogger", "pino", "winston", "@logtape/logtape"];
const snippets = blocks(readFileSync(join(root, "docs/logging.md"), "utf8"), "docs/logging.md");

/** Returns the lines that a recipe has written. */
async function linesOf(recipe: string): Promise<readonly Line[]> {
  const snippet = snippets.find(({ code }) =>
    code.includes(recipe === "consoleLogger" ? "{ consoleLogger" : `from "${recipe}"`)
  );
  assert.ok(snippet !== undefined, recipe);
  const { output, exited } = run("tests/docs/logging_worker.ts", { args: [write(snippet, folder, 6379)] });
  assert.equal(await exited, 0, output());
  // The console and pino write to the same stream, one line each.
  assert.doesNotMatch(output(), /acce55|fe5fe5|secret-of-the-app/);
  return output().split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as Line);
}

/** Returns the message of a line, as the loggers name it. */
const messageOf = ({ message, msg }: Line): unknown => message ?? msg;

describe("the recipe of docs/logging.md for", () => {
  for (const recipe of RECIPES) {
    it(recipe, async () => {
      const lines = await linesOf(recipe);
      const line = (message: string): Line => {
        const found = lines.filter((line) => messageOf(line) === message);
        assert.equal(found.length, 1, `${message} in\n${lines.map((line) => JSON.stringify(line)).join("\n")}`);
        return found[0]!;
      };
      for (const line of lines) {
        assert.equal(typeof line["event"], "string", JSON.stringify(line));
        const time = line["time"] ?? line["timestamp"] ?? line["@timestamp"];
        assert.ok(!Number.isNaN(new Date(time as string).getTime()), JSON.stringify(line));
      }

      const fields = { memberId: MEMBER_ID, eventName: "ONAPPUPDATE", upgradeId: "3.0.0", attempt: 1 };
      const { event, deals, access_token: token, ...importing } = line("importing");
      assert.deepEqual([event, deals, token], ["deals.importing", { count: 7 }, "[redacted]"]);
      for (const [name, value] of Object.entries(fields)) assert.equal(importing[name], value, name);
      assert.equal(line("reading")["event"], "deals.reading");

      const { err, level, ...parked } = line("portal parked");
      assert.equal(parked["event"], "portal.parked");
      assert.ok(["error", "ERROR", 50].includes(level as string), String(level));
      const { name, code, message } = err as Line;
      assert.deepEqual([name, code], ["NonRetriableError", "non_retriable"]);
      assert.match(String(message), /^cannot import/);
      assert.match(JSON.stringify(err), /TypeError.*no such field|no such field.*TypeError/);
    });
  }
});
