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
  readonly steps: readonly Step[];
}

interface Workflow {
  readonly permissions: Readonly<Record<string, string>>;
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
  "npm install --global npm@11": "npm install --global --prefix global npm@11",
  "npm publish ./npm/b24-onappupdate-*.tgz --provenance":
    "npm publish ./npm/b24-onappupdate-*.tgz --provenance --dry-run",
  'gh release create "$GITHUB_REF_NAME" --verify-tag --notes-file notes.md npm/b24-onappupdate-*.tgz sbom.json':
    'test -s notes.md && test -s npm/b24-onappupdate-*.tgz && grep -q \'"bomFormat": "CycloneDX"\' sbom.json',
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

  it("grant rights to the jobs that publish only", () => {
    for (const [file, { permissions, jobs }] of workflows) {
      assert.deepEqual(permissions, { contents: "read" }, file);
      for (const [name, job] of Object.entries(jobs)) {
        if (["jsr", "npm", "pages"].includes(name)) {
          assert.equal(job.permissions?.["id-token"], "write");
        } else assert.equal(job.permissions, undefined, `${file}, ${name}`);
      }
    }
  });

  it("use no secret but the token of the job", () => {
    for (const file of workflows.keys()) {
      assert.doesNotMatch(readFileSync(join(folder, file), "utf8"), /secrets\.|NPM_TOKEN|NODE_AUTH_TOKEN/, file);
    }
  });
});
