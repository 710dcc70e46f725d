/** Builds and runs the Dockerfile of a new project without Docker: its lines, in a folder that stands for the image. */
import { cpSync, globSync, mkdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, matchesGlob } from "node:path";
import process from "node:process";
import { run as runProgram } from "../../scripts/run.ts";
import { run, type Running } from "../support/process.ts";

/** An image that was built into a folder. */
export interface Image {
  /** The base image, as FROM names it. */
  readonly base: string;
  /** The user that runs CMD. */
  readonly user: string;
  /** The folder that stands for /app. */
  readonly app: string;
  /** Runs CMD. */
  readonly start: (env: Readonly<Record<string, string>>) => Running;
  /** Runs HEALTHCHECK. Resolves to whether it exits with 0. */
  readonly isHealthy: (env: Readonly<Record<string, string>>) => Promise<boolean>;
}

/** Builds the image of a project into `root`, with the programs in `path`. @throws {Error} if a line fails */
export async function buildImage(project: string, root: string, path: string): Promise<Image> {
  const inImage = (text: string): string => text.replaceAll(/\/(app|data)\b/g, (folder) => join(root, folder));
  const ignored = readFileSync(join(project, ".dockerignore"), "utf8").split("\n").filter((line) => line !== "");
  const env: Record<string, string> = { PATH: path };
  const seen: Record<string, string> = {};
  let folder = root;
  const lines = readFileSync(join(project, "Dockerfile"), "utf8").split("\n").filter((line) => /^[A-Z]/.test(line));
  for (const line of lines) {
    const [, name = "", rest = ""] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
    seen[name] = rest;
    if (name === "WORKDIR") mkdirSync(folder = inImage(rest), { recursive: true });
    if (name === "ENV") { for (const pair of rest.split(" ")) env[pair.split("=")[0]!] = inImage(pair.split("=")[1]!); }
    if (name === "COPY") copy(project, rest.split(" ").slice(0, -1), folder, ignored);
    if (name === "RUN") {
      // The users of the images do not exist here.
      const command = inImage(rest).replace(/chown \w+/, `chown ${process.getuid!()}`);
      const { ok, output } = await runProgram("/bin/sh", ["-c", command], { cwd: folder, env });
      if (!ok) throw new Error(`RUN ${rest} of ${basename(project)} failed:\n${output}`);
    }
  }
  const words = JSON.parse(seen["CMD"]!) as string[];
  // The entry point of the image of Deno runs `deno` with subcommands.
  const [command, ...args] = (seen["FROM"]!.startsWith("denoland/deno:") ? ["deno", ...words] : words) as [
    string,
    ...string[],
  ];
  const [check, ...checkArgs] = JSON.parse(seen["HEALTHCHECK"]!.replace(/^CMD /, "")) as [string, ...string[]];
  const program = (name: string): string =>
    path.split(":").map((dir) => join(dir, name)).find((file) => globSync(file).length > 0)!;
  return {
    ...{ base: seen["FROM"]!, user: seen["USER"]!, app: inImage("/app") },
    start: (more) => {
      const [first = "", ...others] = args.map(inImage);
      return run(first, { args: others, env: { ...env, ...more }, on: { command: program(command), cwd: folder } });
    },
    isHealthy: async (more) =>
      (await runProgram(program(check!), checkArgs, { cwd: folder, env: { ...env, ...more } })).ok,
  };
}

/** Copies the files that match and are not ignored. */
function copy(from: string, patterns: readonly string[], to: string, ignored: readonly string[]): void {
  for (const file of patterns.flatMap((pattern) => globSync(pattern, { cwd: from }))) {
    if (ignored.some((pattern) => matchesGlob(file, pattern.replace(/\/$/, "")))) continue;
    mkdirSync(dirname(join(to, file)), { recursive: true });
    cpSync(join(from, file), join(to, file));
  }
}
