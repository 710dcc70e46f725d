/** Runs each line of the workflows as far as it does not need GitHub, npm's or JSR's accounts. */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { read } from "../../scripts/run.ts";
import { after, before, describe, it } from "../support/test.ts";

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}

interface Job {
  readonly permissions?: Readonly<Record<string, string>>;
  readonly strategy?: { readonly matrix: Readonly<Record<string, readonly string[]>> };
  readonly "timeout-minutes"?: number;
  readonly steps: readonly Step[];
}

interface Workflow {
  readonly on: Readonly<Record<string, unknown>>;
  readonly permissions: Readonly<Record<string, string>>;
  readonly concurrency?: { readonly group: string };
  readonly jobs: Readonly<Record<string, Job>>;
}

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = join(root, ".github/workflows");
const workflows = new Map(
  readdirSync(folder).map((file) => [file, parse(readFileSync(join(folder, file), "utf8")) as Workflow]),
);
const steps = [...workflows].flatMap(([file, { jobs }]) =>
  Object.entries(jobs).flatMap(([job, { steps }]) => steps.map((step) => ({ ...step, where: `${file}, ${job}` })))
);

/** The replacements of lines; all others run as they are. */
const INSTEAD: Readonly<Record<string, string>> = {
  // The gate runs this test.
  ".ci/run": "test -x .ci/run && bash -n .ci/run",
  // The gate runs the tests on all versions of Node; this is the shortest run of the command.
  "deno task test:npm ${{ matrix.runtime }}": "deno task test:npm bun",
  // Another test builds the site.
  "deno task site": "deno task | grep '^- site'",
  "deno publish": "deno publish --dry-run --allow-dirty",
  // The copy is no repository.
  'git merge-base --is-ancestor "$GITHUB_SHA" origin/main':
    "git init -q --initial-branch=main tagged && cd tagged && " +
    "git -c user.name=a -c user.email=a@example.com commit -q --allow-empty -m a && " +
    "git update-ref refs/remotes/origin/main HEAD && GITHUB_SHA=$(git rev-parse HEAD) && " +
    'git merge-base --is-ancestor "$GITHUB_SHA" origin/main',
  "npm publish ./npm/b24-onappupdate-*.tgz --provenance":
    "npm publish ./npm/b24-onappupdate-*.tgz --provenance --dry-run",
  'gh release create "$GITHUB_REF_NAME" --verify-tag --notes-file notes.md npm/b24-onappupdate-*.tgz npm/sbom.json':
    'test -s notes.md && test -s npm/b24-onappupdate-*.tgz && grep -q \'"bomFormat": "CycloneDX"\' npm/sbom.json',
};

describe("workflows", () => {
  const copy = mkdtempSync(join(tmpdir(), "onappupdate-workflows-"));
  const { version } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));

  before(() => {
    const left = new Set(
      [".git", "npm", "node_modules", "cov", "data", "site/dist", "site/generated", "site/node_modules"].map((name) =>
        join(root, name)
      ),
    );
    cpSync(root, copy, { recursive: true, filter: (path) => !left.has(path) });
  });
  after(() => rmSync(copy, { recursive: true, force: true }));

  for (const line of new Set(steps.flatMap(({ run }) => run === undefined ? [] : [run.replace(/ +# .*$/, "")]))) {
    it(`runs ${line}`, async () => {
      const PATH = dirname(process.execPath) + delimiter + process.env["PATH"];
      await read("bash", ["-euo", "pipefail", "-c", INSTEAD[line] ?? line], {
        cwd: copy,
        env: { PATH, GITHUB_REF_NAME: `v${version}` },
      });
    });
  }

  it("replaces only lines that there are", () => {
    for (const line of Object.keys(INSTEAD)) assert.ok(steps.some(({ run }) => run?.startsWith(line)), line);
  });

  it("install the Deno that the README names", () => {
    const [, wanted] = /deno@(\d+\.\d+\.\d+) task test/.exec(readFileSync(join(root, "README.md"), "utf8")) ?? [];
    const set = steps.filter(({ uses }) => uses?.startsWith("denoland/setup-deno@"));
    assert.notEqual(set.length, 0);
    for (const step of set) assert.equal(step.with?.["deno-version"], wanted, step.where);
  });

  it("grant each job what it needs, and none that a pull request starts more than to read", () => {
    const granted: Readonly<Record<string, Readonly<Record<string, string>>>> = {
      jsr: { contents: "read", "id-token": "write" },
      npm: { contents: "read", "id-token": "write" },
      github: { contents: "write" },
      deploy: { "id-token": "write", pages: "write" },
    };
    const seen = new Set<string>();
    for (const [file, { on, permissions, jobs }] of workflows) {
      assert.deepEqual(permissions, { contents: "read" }, file);
      for (const [name, job] of Object.entries(jobs)) {
        assert.deepEqual(job.permissions, granted[name], `${file}, ${name}`);
        if (job.permissions === undefined) continue;
        seen.add(name);
        assert.ok(Object.keys(on).every((event) => ["push", "workflow_dispatch"].includes(event)), file);
        assert.deepEqual(on["push"], { tags: ["v*"] }, file);
      }
    }
    assert.deepEqual([...seen].sort(), Object.keys(granted).sort());
  });

  it("name each action by its commit, with its version in a comment, and leave no token in the clone", () => {
    for (const file of workflows.keys()) {
      const lines = readFileSync(join(folder, file), "utf8").split("\n").filter((line) => /\buses:/.test(line));
      for (const line of lines) assert.match(line, /uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/, file);
    }
    const clones = steps.filter(({ uses }) => uses?.startsWith("actions/checkout@"));
    assert.ok(clones.length > 0);
    for (const step of clones) assert.equal(step.with?.["persist-credentials"], false, step.where);
  });

  it("end in time, and do not run beside themselves", () => {
    for (const [file, { concurrency, jobs }] of workflows) {
      assert.ok(concurrency !== undefined, file);
      for (const [name, job] of Object.entries(jobs)) assert.ok(job["timeout-minutes"]! <= 60, `${file}, ${name}`);
    }
  });

  it("put nothing from outside into a line of a shell, and publish nothing from a cache", () => {
    for (const { run, where } of steps) {
      assert.doesNotMatch((run ?? "").replace("${{ matrix.runtime }}", ""), /\$\{\{/, where);
    }
    for (const step of steps.filter(({ where }) => !where.startsWith("test.yml"))) {
      if (step.uses?.startsWith("actions/setup-node@")) assert.equal(step.with?.["package-manager-cache"], false);
      assert.equal(step.with?.["cache"], undefined, step.where);
    }
  });

  it("use no secret but the token of the job", () => {
    for (const file of workflows.keys()) {
      assert.doesNotMatch(readFileSync(join(folder, file), "utf8"), /secrets\.|NPM_TOKEN|NODE_AUTH_TOKEN/, file);
    }
  });
});

describe("templates of issues", () => {
  it("name functions that there are", async () => {
    const exports = { ...await import("@b24/onappupdate"), ...await import("@b24/onappupdate/testing") };
    const templates = join(root, ".github/ISSUE_TEMPLATE");
    const text = readdirSync(templates).map((file) => readFileSync(join(templates, file), "utf8")).join("\n");
    const names = [...text.matchAll(/`(\w+)\(\)`/g)].map(([, name]) => name!);
    assert.notEqual(names.length, 0);
    for (const name of names) assert.ok(name in exports, name);
  });
});
