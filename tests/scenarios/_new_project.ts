/**
 * New projects as their owners use them: installed from the packed package, then, without a network, started, updated and
 * asked for their status.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { run as runProgram } from "../../scripts/run.ts";
import type { Choice } from "../../src/cli/templates/choice.ts";
import { cli } from "../support/cli.ts";
import { keepOutput } from "../support/kept_output.ts";
import { run, type Running } from "../support/process.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The source of packages. */
export interface Sources {
  /** The packed package. */
  readonly tarball: string;
  /** The path of Node. */
  readonly node: string;
}

/** The output of a task. */
export interface TaskOutput {
  readonly ok: boolean;
  readonly output: string;
}

/** A project in a folder. */
export interface Project {
  readonly folder: string;
  /** Runs a task of the project to its end, without a network; `eval`: runs a module. */
  readonly task: (name: string, args: readonly string[], env: Readonly<Record<string, string>>) => Promise<TaskOutput>;
  /** Starts its program. */
  readonly start: (env: Readonly<Record<string, string>>) => Running;
}

/** Writes a project into a new folder, and installs it. Only this needs the network, for packages that no cache has. */
export async function createProject(folder: string, choice: Omit<Choice, "name">, sources: Sources): Promise<Project> {
  const { runtime, storage, framework } = choice;
  const flags = ["--runtime", runtime, "--storage", storage, "--framework", framework];
  const { code, err } = await cli(["new", folder, ...flags]);
  if (code !== 0) throw new Error(`onappupdate new ${flags.join(" ")} exited with ${code}: ${err}`);
  return runtime === "deno" ? await denoProject(folder) : await nodeProject(folder, sources);
}

async function denoProject(folder: string): Promise<Project> {
  const manifest = edit(join(folder, "deno.json"), (manifest) => ({ ...manifest, links: [root] }));
  await successful(process.execPath, ["install", "--entrypoint", "main.ts", "upgrades.test.ts"], folder);
  const tasks = manifest["tasks"] as Readonly<Record<string, string>>;
  // The packages are there: no task may fetch any, or reach another machine.
  const argsOf = (name: string): string[] =>
    wordsOf(tasks[name]!).slice(1).toSpliced(1, 0, "--cached-only").flatMap((flag) => OFFLINE_FLAGS[flag] ?? flag);
  return projectOf(folder, (name) => ({
    command: process.execPath,
    args: name === "check" ? ["check"] : name === "eval" ? ["run", ...OFFLINE_FLAGS["--allow-net"]!] : argsOf(name),
  }));
}

async function nodeProject(folder: string, { tarball, node }: Sources): Promise<Project> {
  const manifest = edit(join(folder, "package.json"), ({ dependencies, ...manifest }) => ({
    ...manifest,
    dependencies: { ...dependencies as object, "@b24/onappupdate": pathToFileURL(tarball).href },
  }));
  await successful("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline"], folder);
  const scripts = manifest["scripts"] as Readonly<Record<string, string>>;
  return projectOf(folder, (name) => {
    const [command, ...args] = name === "eval" ? ["node"] : wordsOf(scripts[name]!);
    return command === "node"
      ? { command: node, args }
      : { command: node, args: [join(folder, "node_modules/typescript/bin", command!), ...args] };
  }, { NODE_OPTIONS: `--import=${new URL("_offline.mjs", import.meta.url)}` });
}

const LOOPBACK = "--allow-net=127.0.0.1,localhost,0.0.0.0";

/** The permissions of a Deno that reaches this machine alone, by the flag of a task. */
const OFFLINE_FLAGS: Readonly<Record<string, readonly string[]>> = {
  "--allow-net": [LOOPBACK],
  "-A": [LOOPBACK, "--allow-env", "--allow-read", "--allow-write", "--allow-sys", "--allow-ffi", "--no-prompt"],
};

const wordsOf = (script: string): string[] => script.split(" ");

function projectOf(
  folder: string,
  commandOf: (task: string) => { readonly command: string; readonly args: readonly string[] },
  offline: Readonly<Record<string, string>> = {},
): Project {
  return {
    folder,
    task: async (name, more, env) => {
      const { command, args } = commandOf(name);
      const options = { cwd: folder, env: { NO_COLOR: "1", ...offline, ...env } };
      const task = await runProgram(command, [...args, ...more], options);
      keepOutput("task", task.output);
      return task;
    },
    start: (env) => {
      const { command, args: [first = "", ...args] } = commandOf("start");
      return run(first, { args, env: { ...offline, ...env }, on: { command, cwd: folder } });
    },
  };
}

function edit(
  path: string,
  change: (manifest: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const changed = change(JSON.parse(readFileSync(path, "utf8")));
  writeFileSync(path, JSON.stringify(changed, null, 2));
  return changed;
}

async function successful(command: string, args: readonly string[], cwd: string): Promise<void> {
  const { ok, output } = await runProgram(command, args, { cwd });
  if (!ok) throw new Error(`${basename(command)} ${args[0]} failed in ${basename(dirname(cwd))}:\n${output}`);
}
