/**
 * New projects of `onappupdate new`: each value of its options at least once, or with TEST_PROJECTS=all each combination.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { buildNpm } from "../../scripts/build_npm.ts";
import { findNode } from "../../scripts/npm_project.ts";
import { type PostgresServer, startPostgres } from "../../scripts/postgres_server.ts";
import { run } from "../../scripts/run.ts";
import { runLine } from "../../src/cli/dev/commands.ts";
import { serveStandIn } from "../../src/cli/dev/server.ts";
import { createStandIn, type StandIn } from "../../src/cli/dev/stand_in.ts";
import { type Choice, combinations, FRAMEWORKS, RUNTIMES, STORAGES } from "../../src/cli/templates/choice.ts";
import { root } from "../support/process.ts";
import { type SharedRedis, sharedRedis } from "../support/redis.ts";
import { after, before, describe, it, waitFor } from "../support/test.ts";
import { until } from "../support/until.ts";
import { buildImage } from "./_image.ts";
import { createProject, type Project, type Sources } from "./_new_project.ts";
import { freePort } from "../../scripts/server_process.ts";

type Combination = Omit<Choice, "name">;

const EACH_VALUE: readonly Combination[] = [
  { runtime: "deno", storage: "kv", framework: "hono" },
  { runtime: "deno", storage: "file", framework: "none" },
  { runtime: "deno", storage: "memory", framework: "none" },
  { runtime: "deno", storage: "postgres", framework: "hono" },
  { runtime: "node", storage: "file", framework: "none" },
  { runtime: "node", storage: "kv", framework: "hono" },
  { runtime: "node", storage: "redis", framework: "express" },
  { runtime: "node", storage: "postgres", framework: "fastify" },
];
const COMBINATIONS = process.env["TEST_PROJECTS"] === "all" ? combinations() : EACH_VALUE;

const folder = mkdtempSync(join(tmpdir(), "onappupdate-new-"));
const TOKEN = "a-token-of-this-test-0123456789abcdef-0123456789";
let sources: Sources;
let redis: SharedRedis;
let postgres: PostgresServer;

before(async () => {
  const { TEST_TARBALL: tarball, TEST_NODE: node } = process.env;
  sources = {
    tarball: tarball ?? await buildNpm(join(folder, "npm")),
    node: node ?? (await findNode("24")).path,
  };
  redis = await sharedRedis();
  postgres = await startPostgres();
  writeFileSync(join(folder, "token"), TOKEN);
}, { timeout: 600_000 });
after(async () => {
  await redis?.remove();
  await postgres?.remove();
  rmSync(folder, { recursive: true, force: true });
});

/** Environment of the storage; each project has data of its own. */
function storageEnv({ storage }: Combination, name: string): Record<string, string> {
  if (storage === "kv") return { KV_PATH: "portals.kv" };
  if (storage === "redis") return { REDIS_URL: `redis://127.0.0.1:${redis.port}`, REDIS_PREFIX: name };
  if (storage === "postgres") return { DATABASE_URL: postgres.url, DATABASE_TABLE: name.replaceAll("-", "_") };
  return {};
}

async function isHealthy(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/readyz`);
    await response.body?.cancel();
    return response.status === 200;
  } catch {
    return false;
  }
}

const calls = (standIn: StandIn, method: string): number =>
  standIn.transcript.entries().filter((entry) => entry.kind === "call" && entry.method === method).length;

/** Waits until `status` shows the portal on version 2. */
async function untilUpdated(project: Project, args: readonly string[], env: Record<string, string>): Promise<void> {
  let shown = "";
  await until(() => `status ${args[0]}:\n${shown}`, async () => {
    const { ok, output } = await project.task("onappupdate", ["status", ...args, "--json"], env);
    assert.ok(ok, output);
    return /"version": "2\.0\.0"/.test(shown = output);
  }, 500);
}

/** Returns whether the health check of the container passes for a program with this environment. */
async function passesHealthCheck(project: Project, env: Record<string, string>): Promise<boolean> {
  const [, command = ""] = /^HEALTHCHECK CMD (.*)$/m.exec(readFileSync(join(project.folder, "Dockerfile"), "utf8"))!;
  const [program, ...args] = JSON.parse(command) as [string, ...string[]];
  return (await run(program === "node" ? sources.node : process.execPath, args, { env })).ok;
}

/** Asserts that the programs of a project do not reach other machines, neither by name nor by address. */
async function assertOffline(project: Project): Promise<void> {
  writeFileSync(
    join(project.folder, "offline.js"),
    `for (const url of ["https://oauth.bitrix24.tech/", "http://192.0.2.1/"]) {
      await fetch(url).then(() => console.log("reached", url), (error) => console.log(error.cause?.code ?? error.name));
    }`,
  );
  const { output } = await project.task("eval", ["offline.js"], {});
  assert.match(output, /^(ENETUNREACH|NotCapable)\n\1\n?$/);
  rmSync(join(project.folder, "offline.js"));
}

/** Opens a connection that sends no request. */
async function connectSilently(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1").on("error", () => {});
  await once(socket, "connect");
  return socket;
}

/** Starts the app, installs and updates it on a portal, and asks for its status while it runs. */
async function tryProject(project: Project, combination: Combination, name: string): Promise<void> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const standIn = createStandIn({ clientId: "app.dev", events: `${url}/b24/events`, page: url });
  const server = await serveStandIn(standIn, { port: 0, host: "127.0.0.1" });
  const env = {
    ...{ ONAPPUPDATE_DEV: server.url, CLIENT_ID: "app.dev", CLIENT_SECRET: "dev-secret", PORT: String(port) },
    OPERATOR_SHA256: createHash("sha256").update(TOKEN).digest("hex"),
    ...storageEnv(combination, name),
  };
  const running = project.start(env);
  let silent: Socket | undefined;
  try {
    const ended = running.exited.then((code) => {
      throw new Error(`the program exited with ${code}:\n${running.output()}`);
    });
    ended.catch(() => {});
    await Promise.race([ended, until(() => `the program:\n${running.output()}`, () => isHealthy(url))]);
    assert.ok(await passesHealthCheck(project, env));
    await runLine(standIn, "install 1");
    await runLine(standIn, "update 2");
    await until(() => `the upgrade:\n${running.output()}`, () => calls(standIn, "user.current") === 1);
    await until(() => `its end:\n${running.output()}`, () => /"event":"portal\.upgraded"/.test(running.output()));
    const statuses = standIn.transcript.entries().flatMap((entry) => entry.kind === "sent" ? [entry.status] : []);
    assert.deepEqual(statuses, [200, 200]);

    // Counts are stored now and then. Memory belongs to the process of the app.
    await untilUpdated(project, ["--url", url, "--token-file", join(folder, "token")], env);
    if (combination.storage !== "memory") await untilUpdated(project, ["--app", "./app.ts"], env);
    // It must not keep the program from ending: a server of node:http waits for it for ever.
    silent = await connectSilently(port);
  } finally {
    running.stop();
    assert.equal(await waitFor("the program to end", running.exited), 0, running.output());
    silent?.destroy();
    assert.ok(!await passesHealthCheck(project, env));
    await server.close();
  }
}

describe("deno create", () => {
  it("writes a project by the export ./create", async () => {
    const here = join(folder, "created");
    mkdirSync(here);
    writeFileSync(join(here, "deno.json"), JSON.stringify({ links: [root] }));
    const { version } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
    const args = ["create", "-y", `jsr:@b24/onappupdate@${version}`, "--", "rating", "--storage", "kv"];
    const { ok, output } = await run(process.execPath, args, { cwd: here });
    assert.ok(ok, output);
    assert.match(readFileSync(join(here, "rating/app.ts"), "utf8"), /denoKvStorage/);
    assert.equal((await run(process.execPath, args, { cwd: here })).code, 2); // the folder is not empty
  });
});

describe("the Dockerfile of a new project", () => {
  const images: readonly (readonly [Combination, base: RegExp, user: string])[] = [
    [{ runtime: "node", storage: "file", framework: "none" }, /^node:24-slim$/, "node"],
    [{ runtime: "deno", storage: "file", framework: "none" }, /^denoland\/deno:\d+\.\d+\.\d+$/, "deno"],
    [{ runtime: "deno", storage: "kv", framework: "hono" }, /^denoland\/deno:\d+\.\d+\.\d+$/, "deno"],
  ];
  for (const [combination, base, user] of images) {
    const name = Object.values(combination).join("-");
    it(
      `${name}: each line works, and the image has no file for development`,
      { timeout: 600_000 },
      async () => {
        const project = await createProject(join(folder, `docker-${name}`), combination, sources);
        const path = [dirname(sources.node), dirname(process.execPath), process.env["PATH"]].join(":");
        const image = await buildImage(project.folder, join(folder, `image-${name}`), path);
        assert.match(image.base, base);
        assert.equal(image.user, user); // which both images have, and which is not root
        const files = readdirSync(image.app, { recursive: true, encoding: "utf8" });
        assert.ok(files.includes("main.ts") && files.includes("app.ts") && files.includes("upgrades.ts"));
        for (
          const file of [
            ".env",
            "upgrades.test.ts",
            "Dockerfile",
            "tsconfig.json",
            "node_modules/typescript",
            "node_modules/@types",
          ]
        ) {
          assert.ok(!files.includes(file), file);
        }
        const port = await freePort();
        const env = { PORT: String(port), CLIENT_ID: "app.dev", CLIENT_SECRET: "dev-secret" };
        const running = image.start(env);
        try {
          const exited = running.exited.then((code) => assert.fail(`exited with ${code}:\n${running.output()}`));
          exited.catch(() => {});
          await Promise.race([exited, until(() => running.output(), () => isHealthy(`http://127.0.0.1:${port}`))]);
          assert.ok(await image.isHealthy(env));
        } finally {
          running.stop();
          assert.equal(await waitFor("the program to end", running.exited), 0, running.output());
        }
        assert.ok(!await image.isHealthy(env));
        // The portals are in the volume.
        assert.ok(readdirSync(join(image.app, "../data")).some((file) => file.startsWith("portals.")));
      },
    );
  }
});

describe("projects of onappupdate new", () => {
  it("have each value of its options", () => {
    const values = (choices: readonly Combination[]): Set<string> =>
      new Set(choices.flatMap((one) => Object.values(one)));
    assert.deepEqual([...values(COMBINATIONS)].sort(), [...RUNTIMES, ...STORAGES, ...FRAMEWORKS].sort());
  });

  for (const combination of COMBINATIONS) {
    const { runtime, storage, framework } = combination;
    const name = `${runtime}-${storage}-${framework}`;
    it(`${name}: installs, starts, updates a portal, shows it, passes its tests`, { timeout: 600_000 }, async () => {
      const project = await createProject(join(folder, name), combination, sources);
      await assertOffline(project);
      await tryProject(project, combination, name);
      for (const task of ["test", "check"]) {
        const { ok, output } = await project.task(task, [], {});
        assert.ok(ok, `${task} of ${name}:\n${output}`);
      }
    });
  }
});
