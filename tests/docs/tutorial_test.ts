/**
 * `docs/tutorial.md` as its reader follows it: its commands and files in their order, in a folder of their own, with the
 * repository in place of the package, as [Local development](../../docs/local-development.md) says. What it shows is what is
 * printed. A pipe takes the place of the terminal, so that each key is the command that it runs.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { keyBindings } from "../../src/cli/dev/keys.ts";
import { keepOutput } from "../support/kept_output.ts";
import { root } from "../support/process.ts";
import { after, describe, it, waitFor } from "../support/test.ts";
import { until } from "../support/until.ts";

interface Block {
  /** Such as `sh`; empty for what is printed. */
  readonly language: string;
  readonly code: string;
}

function read(file: string): string {
  return readFileSync(join(root, "docs", file), "utf8");
}

/** Returns the blocks of a text, in order. */
function blocksOf(text: string): Block[] {
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language = "", code = ""]) => ({ language, code }));
}

/** Returns a pattern of what is shown, with any times, numbers of events, ids, and any text for `…`; spaces count as one. */
function shown(text: string): RegExp {
  const escaped = text.trim().replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(
    escaped.replace(/\d{4}-\d\d-\d\d/g, "\\d{4}-\\d\\d-\\d\\d").replace(/\d\d:\d\d:\d\d/g, "\\d\\d:\\d\\d:\\d\\d")
      .replace(/\b(in|after) \d+ (ms|s)\b/g, "$1 \\d+ $2").replace(/#\d+/g, "#\\d+")
      .replace(/\b[0-9a-f]{32}\b/g, "[0-9a-f]{32}").replace(/\b[0-9a-f]{16}\b/g, "[0-9a-f]{16}")
      .replace(/…/g, "[\\s\\S]*").replace(/\s+/g, "\\s+"),
  );
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  assert.ok(typeof address === "object" && address !== null);
  return address.port;
}

/** After this time (ms), the reader starts the app again. Deno's watcher can miss a change that comes soon after a start. */
const PATIENCE_MS = 20_000;

const folder = mkdtempSync(join(tmpdir(), "tutorial-"));
const project = join(folder, "rating");
const started: ChildProcess[] = [];
after(() => {
  for (const { pid } of started) {
    try {
      process.kill(-pid!, "SIGKILL");
    } catch {
      // It has ended.
    }
  }
  rmSync(folder, { recursive: true, force: true });
});

const [port, standInPort] = [await freePort(), await freePort()];
/** In place of the ports that the reader has free. What is set comes before the file `.env` of the project. */
const env = {
  ...process.env,
  NO_COLOR: "1",
  PATH: `${dirname(process.execPath)}${delimiter}${process.env["PATH"]}`,
  PORT: String(port),
  ONAPPUPDATE_DEV: `http://127.0.0.1:${standInPort}`,
};

/** One of the reader's terminals, in which a command runs. */
interface TerminalOfReader {
  readonly output: () => string;
  readonly type: (line: string) => void;
  /** Presses Ctrl+C, and waits for the end. */
  readonly interrupt: () => Promise<unknown>;
  readonly ended: Promise<number | null>;
}

/** Types commands into a new terminal, which is a process group, since tasks start processes. */
function terminal(commands: string, cwd: string): TerminalOfReader {
  const child = spawn("bash", ["-euo", "pipefail", "-c", commands], { cwd, env, detached: true });
  started.push(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      keepOutput(`tutorial-${child.pid}`, text);
    });
  }
  const ended = new Promise<number | null>((resolve, reject) => child.once("error", reject).once("close", resolve));
  return {
    output: () => output,
    type: (line) => void child.stdin.write(`${line}\n`),
    interrupt: async () => {
      process.kill(-child.pid!, "SIGINT");
      await waitFor("the end after Ctrl+C", ended);
    },
    ended,
  };
}

/** Runs commands to their end. Resolves to what they print. */
async function runAll(commands: string, cwd: string): Promise<string> {
  const { output, ended } = terminal(commands, cwd);
  assert.equal(await waitFor(commands, ended), 0, `${commands}\n${output()}`);
  return output();
}

/** Returns the command of a key. */
function keyOf(key: string): string {
  const [, line] = keyBindings().find(([one]) => one === key) ?? [];
  assert.ok(line !== undefined, key);
  return line;
}

describe("docs/tutorial.md", () => {
  const tutorial = read("tutorial.md");
  const blocks = blocksOf(tutorial);
  /** Returns the next block, which has to be of this language. */
  function next(language: string): string {
    const block = blocks.shift();
    assert.equal(block?.language, language, block?.code ?? "the end");
    return block!.code;
  }

  it("does what it says, step by step", { timeout: 600_000 }, async () => {
    // 1. Make a project, from a clone.
    const [, clone = ""] = read("local-development.md").split("### From a clone\n");
    const [, create, links] = blocksOf(clone);
    symlinkSync(root, join(folder, "onappupdate"));
    const first = next("sh");
    assert.match(first, /^deno create jsr:@b24\/onappupdate -- rating\ncd rating\ndeno task test\n$/);
    await runAll(create!.code, folder);
    const manifest = join(project, "deno.json");
    writeFileSync(
      manifest,
      JSON.stringify({ ...JSON.parse(readFileSync(manifest, "utf8")), ...JSON.parse(links!.code) }),
    );
    const [, , test = ""] = first.split("\n");
    const tested = await runAll(test, project);
    for (const line of next("").trim().split("\n")) assert.match(tested, shown(line));

    // 2. Install the app on a portal.
    const dev = next("sh");
    let app = terminal(dev, project);
    /** How often the app has started to listen; before that, an event gets no answer. */
    const starts = (): number => app.output().split("Listening on ").length - 1;
    await until(() => `the app\n${app.output()}`, () => starts() === 1);
    const flags = `--port ${standInPort} --events http://127.0.0.1:${port}/b24/events`;
    const standIn = terminal(`${next("sh").trim()} ${flags}`, project);
    await until(() => `the stand-in\n${standIn.output()}`, () => standIn.output().includes("Web page: "));
    /** Presses a key, and waits for lines, in any order. */
    const press = async (key: string, lines: readonly string[]): Promise<void> => {
      assert.ok(tutorial.includes(`ress \`${key}\``));
      const before = standIn.output().length;
      standIn.type(keyOf(key));
      for (const line of lines) {
        await until(
          () => `${line}\n${standIn.output()}\n${app.output()}`,
          () => shown(line).test(standIn.output().slice(before)),
        );
      }
    };
    const events = next("").trim().split("\n");
    const update = events.findIndex((line) => line.includes("ONAPPUPDATE"));
    await press("i", events.slice(0, update));
    await press("u", events.slice(update));
    await press("g", ["→ ONAPPUPDATE 3", "← app.info oauth.bitrix24.tech 401 expired_token in 1 ms"]);

    // 3. Write an upgrade.
    const upgrades = join(project, "upgrades.ts");
    /** Saves a change, and waits until the app has restarted by itself. */
    const save = async (change: (text: string) => string): Promise<void> => {
      const text = readFileSync(upgrades, "utf8");
      assert.notEqual(change(text), text);
      const before = starts();
      writeFileSync(upgrades, change(text));
      const givenUpAt = Date.now() + PATIENCE_MS;
      await until("the restart", () => starts() > before || Date.now() > givenUpAt);
      if (starts() > before) return;
      await app.interrupt();
      app = terminal(dev, project);
      await until(() => `the app\n${app.output()}`, () => starts() === 1);
    };
    const added = next("js");
    await save((text) => text.replace(/(?=^ *\.on\()/m, () => added));
    assert.match(app.output(), /"upgrades":\["2\.0\.0","3\.0\.0"\]/);
    await press("u", next("").trim().split("\n"));
    await until(() => `the failure\n${app.output()}`, () => app.output().includes(`"event":"upgrade.failed"`));
    const portal = await runAll(next("sh"), project);
    assert.match(portal, shown(next("")));
    await save((text) => text.replace("user.curent", "user.current"));
    const [retry = "", status = ""] = next("sh").trim().split("\n");
    await runAll(retry, project);
    await until(() => `the upgrade\n${app.output()}`, () => /"portal\.upgraded".*"to":"3\.0\.0"/.test(app.output()));
    assert.match(await runAll(status, project), shown(next("")));
    const [audit = ""] = /deno task onappupdate audit --app \.\/app\.ts/.exec(tutorial) ?? [];
    assert.match(await runAll(audit, project), /a typo/);

    // 4. Make it safe to repeat.
    writeFileSync(join(project, "safe.ts"), next("ts"));
    assert.match(await runAll(next("sh"), project), /^one tab is bound$/m);

    // 5. Deploy it, as far as it needs no account.
    assert.deepEqual(blocks, []);
    const [, name = ""] = /`deno create jsr:@b24\/onappupdate -- (\S+) --storage kv`/.exec(tutorial) ?? [];
    const deployed = join(folder, name);
    await runAll(create!.code.split("\n")[0]!.replace(" rating ", ` ${name} --storage kv `), folder);
    assert.match(readFileSync(join(deployed, "main.ts"), "utf8"), /^Deno\.cron\(/m);
    const [, deploy = ""] = tutorial.split("## 5. ");
    const variables: readonly string[] = deploy.match(/(?<=`)[A-Z0-9]+_[A-Z0-9_]+(?=`)/g) ?? [];
    assert.ok(variables.includes("OPERATOR_SHA256"), `${variables}`);
    for (const variable of variables) {
      assert.match(readFileSync(join(deployed, ".env.example"), "utf8"), new RegExp(`^${variable}=$`, "m"));
    }
    const [token = ""] = /deno task onappupdate token [^`]*/.exec(deploy) ?? [];
    assert.match(await runAll(token, project), /sha256: "[0-9a-f]{64}"/);
  });
});
