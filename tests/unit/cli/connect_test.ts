import assert from "node:assert/strict";
import { createApp, memoryStorage, type Plugin } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import type { Terminal } from "../../../src/cli/terminal.ts";
import { quietLogger, trustAll } from "../../support/app.ts";
import { cli, type CliOptions, type Outcome } from "../../support/cli.ts";
import { type CliApp, cliApp, TOKEN } from "../../support/cli_app.ts";
import { after, before, describe, test } from "../../support/test.ts";

const URL_OPTION = ["--url", "https://ops.example"];

describe("the connection of operating commands", () => {
  let app: CliApp;
  before(async () => void (app = await cliApp()));
  after(() => app.close());

  const status = (args: readonly string[], options: CliOptions = {}): Promise<Outcome> =>
    cli(["status", ...args], options);

  test("the environment names the app and the token, and options win", async () => {
    const { code, err } = await status([], { ...app.local, env: { ONAPPUPDATE_APP: "app.ts" } });
    assert.equal(code, 0, err);
    const env = { ONAPPUPDATE_URL: "https://ops.example", ONAPPUPDATE_TOKEN: TOKEN };
    assert.equal((await status([], { ...app.remote, env })).code, 0);
    assert.equal((await status(["--app", "app.ts"], { ...app.local, env })).code, 0);
  });

  test("an empty variable of the environment is one that is not set", async () => {
    const { code, err } = await status([], { ...app.local, env: { ONAPPUPDATE_APP: "app.ts", ONAPPUPDATE_URL: "" } });
    assert.equal(code, 0, err);
    const none = await status([], { ...app.local, env: { ONAPPUPDATE_APP: "", ONAPPUPDATE_URL: "" } });
    assert.match(none.err, /wanted --app FILE or --url URL/);
  });

  test("--token-file has the token, and a path may follow the host", async () => {
    const files = { "token.txt": `${TOKEN}\n` };
    const urls: string[] = [];
    const fetch: Terminal["fetch"] = (url, init) => {
      urls.push(String(url));
      return app.remote.fetch!(String(url).replace("/ops/", "/"), init);
    };
    for (const path of ["/ops", "/ops/", "/ops/api/v1", "/ops/api/v1/"]) {
      const args = ["--url", `https://ops.example${path}`, "--token-file", "token.txt"];
      const { code, out, err } = await status(args, { ...app.remote, env: {}, files, fetch });
      assert.equal(code, 0, err);
      assert.match(out, /^https:\/\/ops\.example\/ops\s/);
    }
    for (const url of urls) assert.match(url, /^https:\/\/ops\.example\/ops\/api\/v1\/\w+/);
  });

  test("redirects are not followed", async () => {
    const seen: (string | undefined)[] = [];
    const fetch: Terminal["fetch"] = (_url, init) => {
      seen.push(init?.redirect);
      return Promise.resolve(new Response(null, { status: 302, headers: { location: "https://evil.example/" } }));
    };
    const { code, err } = await status(URL_OPTION, { ...app.remote, fetch });
    assert.equal(code, 3);
    assert.match(err, /redirect, which is not followed/);
    assert.deepEqual([...new Set(seen)], ["manual"]);
  });

  const answers: Readonly<Record<string, readonly [code: number, message: RegExp, answer: () => Promise<Response>]>> = {
    "nothing": [
      3,
      /does not answer: fetch failed: connection refused\n/,
      () => Promise.reject(new TypeError("fetch failed", { cause: new Error("connection refused") })),
    ],
    "nothing at several addresses": [
      3,
      /does not answer: fetch failed: ECONNREFUSED\n/,
      () => {
        const cause = Object.assign(new AggregateError([new Error("a"), new Error("b")]), { code: "ECONNREFUSED" });
        return Promise.reject(new TypeError("fetch failed", { cause }));
      },
    ],
    "another server": [
      3,
      /answers 404, and is no operator API: is the address right, and does the app serve the API\?/,
      () => Promise.resolve(new Response("<h1>", { status: 404 })),
    ],
    "another server that says 200": [3, /is no operator API/, () => Promise.resolve(new Response("<h1>"))],
    "a storage that is down": [
      3,
      /storage/,
      () =>
        Promise.resolve(Response.json({ error: { code: "storage", message: "the storage fails" } }, { status: 503 })),
    ],
  };
  for (const [name, [code, message, answer]] of Object.entries(answers)) {
    test(`an address where ${name} answers exits with ${code}`, async () => {
      const outcome = await status(URL_OPTION, { ...app.remote, fetch: answer });
      assert.deepEqual([outcome.code, outcome.out], [code, ""]);
      assert.match(outcome.err, message);
    });
  }

  test("an answer that repeats the token is printed without it", async () => {
    const token = "operator-token-".padEnd(43, "x");
    const message = `refused: Bearer ${token}`;
    for (const httpStatus of [401, 409]) {
      const fetch = () => Promise.resolve(Response.json({ error: { code: "busy", message } }, { status: httpStatus }));
      const { err } = await status(URL_OPTION, { ...app.remote, fetch, env: { ONAPPUPDATE_TOKEN: token } });
      assert.match(err, /refused: Bearer \[redacted\]/);
    }
  });

  const invalid: Readonly<Record<string, readonly [args: readonly string[], options: CliOptions, message: RegExp]>> = {
    "no app": [[], {}, /wanted --app FILE or --url URL/],
    "two apps": [["--app", "a.ts", ...URL_OPTION], {}, /--app and --url, wanted one/],
    "two apps in the environment": [[], { env: { ONAPPUPDATE_APP: "a", ONAPPUPDATE_URL: "b" } }, /wanted one of them/],
    "an address without a scheme": [
      ["--url", "ops.example"],
      {},
      /--url: saw "ops\.example", wanted an address such as https:\/\/ops\.example\n/,
    ],
    "an address without a scheme in the environment": [
      [],
      { env: { ONAPPUPDATE_URL: "ops.example" } },
      /error: ONAPPUPDATE_URL: saw "ops\.example", wanted/,
    ],
    "an empty name of a file": [["--app", ""], {}, /--app: saw nothing, wanted a file/],
    "no token": [URL_OPTION, {}, /wanted a token for --url/],
    "an empty token file": [[...URL_OPTION, "--token-file", "t"], { files: { t: "\n" } }, /wanted a token/],
    "a file without a token": [[...URL_OPTION, "--token-file", "t"], { files: { t: "a b\nc" } }, /t has no token/],
    "http to another machine": [["--url", "http://ops.example"], { env: { ONAPPUPDATE_TOKEN: TOKEN } }, /wanted https/],
    // Not every machine resolves it by itself: a name server could answer, and have the token.
    "http to a name below localhost": [
      ["--url", "http://ops.localhost"],
      { env: { ONAPPUPDATE_TOKEN: TOKEN } },
      /wanted https/,
    ],
    "http to a name that begins like this machine": [
      ["--url", "http://127.0.0.1.evil.example"],
      { env: { ONAPPUPDATE_TOKEN: TOKEN } },
      /wanted https/,
    ],
    "a password in the address": [["--url", "https://a:b@ops.example"], {}, /a user or a password/],
    "a token file for --app": [["--app", "a.ts", "--token-file", "t"], {}, /--token-file has no effect/],
  };
  for (const [name, [args, options, message]] of Object.entries(invalid)) {
    test(`${name} exits with 2`, async () => {
      const { code, out, err } = await status(args, options);
      assert.deepEqual({ code, out }, { code: 2, out: "" });
      assert.match(err, message);
      assert.doesNotMatch(err, /a b\nc|operator-token/);
    });
  }

  const failingPlugin = (error: Error): Plugin => ({ name: "failing", setup: () => Promise.reject(error) });
  const load = (value: unknown): CliOptions => ({ load: () => Promise.resolve(value) });
  const create = (plugin: Plugin): object =>
    createApp({ storage: memoryStorage(), logger: quietLogger }).use(trustAll).use(plugin);

  test("a module without an app, and an app that cannot be set up, exit with 2", async () => {
    for (const value of [undefined, {}, () => {}, memoryStorage()]) {
      const { code, err } = await status(["--app", "app.ts"], load(value));
      assert.equal(code, 2);
      assert.match(err, /its default export is no app\nWrite: export default createApp/);
    }
    const { code, err } = await status(["--app", "app.ts"], load(create(failingPlugin(new Error("no templates")))));
    assert.equal(code, 2);
    assert.match(err, /cannot set up the app of app\.ts: no templates/);
  });

  test("an error of an app of another copy of this package exits with 1, and is printed", async () => {
    const inner = createApp({ storage: memoryStorage(), logger: quietLogger }).use(trustAll);
    const admin = { ...inner.admin, counts: () => Promise.reject(new RangeError("of another copy")) };
    const { code, err } = await status(["--app", "app.ts"], load({ ...inner, admin }));
    assert.equal(code, 1);
    assert.match(err, /of another copy[^]*^error: [^]*Does the app import the version/m);
  });

  test("an app whose storage is down exits with 3", async () => {
    const error = new StorageError("the storage does not answer");
    const { code, err } = await status(["--app", "app.ts"], load(create(failingPlugin(error))));
    assert.equal(code, 3, err);
    const inner = memoryStorage();
    const down = (): never => {
      throw error;
    };
    const storage = { ...inner, get: down, list: down, put: down, delete: down };
    const app = createApp({ storage, logger: quietLogger }).use(trustAll);
    const outcome = await status(["--app", "app.ts"], load(app));
    assert.equal(outcome.code, 3, outcome.err);
  });
});
