import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { createApp, memoryStorage } from "@b24/onappupdate";
import { MEMBER_ID, quietLogger, trustAll } from "../../support/app.ts";
import { cli, type CliOptions, type Outcome } from "../../support/cli.ts";
import type { Terminal } from "../../../src/cli/terminal.ts";
import { describe, test } from "../../support/test.ts";

const fixtures = fileURLToPath(new URL("../../fixtures/", import.meta.url));
const URL_OF_APP = "http://localhost:8000/b24/events";

interface Sent {
  readonly url: string;
  readonly form: URLSearchParams;
  readonly redirect: RequestInit["redirect"];
}

/** Answers all requests with these statuses, the last one for all that follow. */
function recorder(...statuses: readonly number[]): { readonly sent: Sent[]; readonly fetch: Terminal["fetch"] } {
  const sent: Sent[] = [];
  const fetch: Terminal["fetch"] = (input, init) => {
    sent.push({ url: String(input), form: new URLSearchParams(String(init?.body)), redirect: init?.redirect });
    return Promise.resolve(new Response("", { status: statuses[sent.length - 1] ?? statuses.at(-1) ?? 200 }));
  };
  return { sent, fetch };
}

async function printed(...args: readonly string[]): Promise<URLSearchParams[]> {
  const { code, out, err } = await cli(["simulate", ...args, "--print"]);
  assert.equal(code, 0, err);
  return out.trim().split("\n").map((body) => new URLSearchParams(body));
}

const simulate = (args: readonly string[], options: CliOptions = {}): Promise<Outcome> =>
  cli(["simulate", ...args], options);

describe("onappupdate simulate", () => {
  test("keeps a version as it was typed", async () => {
    const { out } = await cli(["simulate", "update", "--from", "2.9", "--to", "2.10", "--print"]);
    assert.ok(out.includes("data%5BVERSION%5D=2.10&data%5BPREVIOUS_VERSION%5D=2.9&"), out);
  });

  test("prints what an app accepts as the event, for each kind", async () => {
    const names = {
      install: "ONAPPINSTALL",
      update: "ONAPPUPDATE",
      uninstall: "ONAPPUNINSTALL",
      payment: "ONAPPPAYMENT",
    };
    for (const [kind, name] of Object.entries({ ...names, test: "ONAPPTEST", ready: "ONAPPUSERREADY" })) {
      const { out } = await cli(["simulate", kind, "--print"]);
      const decoded = JSON.parse((await cli(["decode", "--json"], { stdin: out })).out);
      assert.equal(decoded.name, name);
      assert.equal(decoded.auth.domain, "example.bitrix24.com");
      assert.equal("accessToken" in decoded.auth, kind !== "uninstall", kind);
    }
  });

  test("an app handles what it sends", async () => {
    const versions: string[] = [];
    const app = createApp({ storage: memoryStorage(), acknowledge: "handled", logger: quietLogger, tickEveryMs: false })
      .use(trustAll).upgrade("2.10", ({ memberId }) => void versions.push(memberId));
    const fetch: Terminal["fetch"] = (input, init) => app.fetch(new Request(input, init));
    const options = ["--url", URL_OF_APP, "--member", MEMBER_ID];
    assert.equal((await simulate(["install", "--to", "1", ...options], { fetch })).code, 0);
    const { code, out } = await simulate(["update", "--to", "2.10", ...options, "--json"], { fetch });
    assert.equal(code, 0);
    const [answer] = JSON.parse(out);
    assert.deepEqual({ ...answer, ms: 0, answer: "" }, {
      ...{ url: URL_OF_APP, event: "ONAPPUPDATE", status: 200, ms: 0, answer: "" },
    });
    assert.deepEqual(versions, [MEMBER_ID]);
    await app.close();
  });

  test("--set replaces, adds and leaves out fields, also of a captured body", async () => {
    const set = ["--set", "data.X=a=b", "--set", "auth.user_id=7", "--set", "auth.access_token"];
    for (const source of [["--to", "3"], ["--body", `${fixtures}update-documented.form`]]) {
      const [form] = await printed("update", ...source, ...set);
      assert.deepEqual(["data[X]", "auth[user_id]", "auth[access_token]"].map((name) => form!.get(name)), [
        "a=b",
        "7",
        null,
      ]);
      assert.ok(form!.get("data[VERSION]"));
    }
    const [json] = await printed("update", "--body", `${fixtures}update-documented.json`, "--set", "data.VERSION=9");
    assert.equal(json!.get("data[VERSION]"), "9");
    assert.equal(json!.get("event"), "ONAPPUPDATE");
  });

  test("--forge changes one part", async () => {
    const [plain] = await printed("update", "--to", "3");
    const fields = { token: "application_token", member: "member_id", endpoint: "client_endpoint", domain: "domain" };
    for (const [part, field] of Object.entries(fields)) {
      const [form] = await printed("update", "--to", "3", "--forge", part);
      const differing = [...plain!.keys()].filter((name) => name !== "ts" && form!.get(name) !== plain!.get(name));
      assert.deepEqual(differing.includes(`auth[${field}]`), true, part);
      assert.equal(differing.length, part === "endpoint" ? 2 : 1, part);
    }
  });

  test("--duplicate repeats the event, and --reorder sends a newer one before it", async () => {
    const forms = await printed("update", "--to", "3", "--duplicate", "2", "--reorder");
    assert.deepEqual(forms.map((form) => form.get("data[VERSION]")), ["4", "3", "3", "3"]);
    const [newer, older] = forms.map((form) => Number(form.get("ts")));
    assert.equal(newer! - older!, 1);
    const names = (await printed("uninstall", "--reorder")).map((form) => form.get("event"));
    assert.deepEqual(names, ["ONAPPINSTALL", "ONAPPUNINSTALL"]);
  });

  test("open posts to the page, with its query", async () => {
    const { sent, fetch } = recorder(200);
    const page = "http://127.0.0.1:8000/app?a=1";
    assert.equal((await simulate(["open", "--page", page, "--member", MEMBER_ID], { fetch })).code, 0);
    const { searchParams } = new URL(sent[0]!.url);
    assert.deepEqual([searchParams.get("a"), searchParams.get("DOMAIN")], ["1", "example.bitrix24.com"]);
    assert.equal(sent[0]!.form.get("member_id"), MEMBER_ID);
    assert.equal(sent[0]!.redirect, "manual");
  });

  test("exits with 1 for a refusal, and with 0 for the refusal of a forged event", async () => {
    const url = ["--url", URL_OF_APP];
    assert.equal((await simulate(["update", ...url, "--duplicate", "1"], recorder(200, 503))).code, 1);
    assert.equal((await simulate(["update", ...url], recorder(302))).code, 1);
    assert.equal((await simulate(["update", ...url, "--forge", "token"], recorder(403))).code, 0);
    assert.equal((await simulate(["update", ...url, "--forge", "token"], recorder(500))).code, 1);
  });

  test("says that made-up tokens are not verified, unless the caller has passed a token or a body", async () => {
    const url = ["--url", URL_OF_APP];
    const noteOf = async (...args: string[]): Promise<string> => (await simulate([...args], recorder(200))).err;
    assert.match(await noteOf("update", ...url), /does not know its made-up tokens.*onappupdate dev\n$/);
    assert.equal(await noteOf("update", ...url, "--token", "a".repeat(32)), "");
    assert.equal(await noteOf("update", ...url, "--body", `${fixtures}update-documented.form`), "");
    assert.equal(await noteOf("open", "--page", "http://127.0.0.1:8000/app"), "");
    const refused = (...args: string[]): Promise<string> =>
      simulate([...args, ...url], recorder(403)).then(({ err }) => err);
    assert.match(await refused("update"), /^The app refuses it, because its tokens are made up\. .*by --token/);
    assert.equal(await refused("update", "--token", "f".repeat(32)), "");
    assert.equal(await refused("update", "--forge", "token"), "");
  });

  test("prints the detail of a refusal", async () => {
    const problem = { title: "Bad Request", status: 400, detail: "data.VERSION: saw \u001bx" };
    const fetch: Terminal["fetch"] = () => Promise.resolve(Response.json(problem, { status: 400 }));
    const { code, out } = await simulate(["update", "--url", URL_OF_APP], { fetch });
    assert.deepEqual([code, out.replace(/\d+ ms/, "")], [1, "ONAPPUPDATE  400    data.VERSION: saw \\u001bx\n"]);
  });

  test("exits with 3 if nothing answers", async () => {
    const fetch: Terminal["fetch"] = () =>
      Promise.reject(new TypeError("this test has no network", { cause: new Error("offline") }));
    const { code, out, err } = await simulate(["update", "--url", URL_OF_APP], { fetch });
    assert.deepEqual({ code, out }, { code: 3, out: "" });
    assert.match(err, /^error: http:\/\/localhost:8000 does not answer: this test has no network: offline\nIs the app/);
  });

  test("sends to other machines with --remote only", async () => {
    for (const host of ["app.example.com", "localhost.example.com", "10.0.0.1", "127.0.0.1.example.com", "[::2]"]) {
      const { sent, fetch } = recorder(200);
      const { code, err } = await simulate(["update", "--url", `https://${host}/`], { fetch });
      assert.deepEqual({ code, sent }, { code: 2, sent: [] }, host);
      assert.match(err, /is not this machine\n.*--remote/);
    }
    const { sent, fetch } = recorder(200);
    assert.equal((await simulate(["update", "--url", "https://app.example.com/", "--remote"], { fetch })).code, 0);
    assert.equal(sent.length, 1);
  });

  const invalid: Readonly<Record<string, readonly [args: readonly string[], reason: RegExp]>> = {
    "an unknown kind": [["upgrade"], /Allowed choices are install, update/],
    "an invalid version": [["update", "--to", "next"], /'next' is invalid.*a version such as 3/],
    "no address": [["update"], /wanted --url URL, or --print/],
    "an opening without a page": [["open"], /wanted --page URL/],
    "an opening at an event handler": [["open", "--url", URL_OF_APP], /use --page/],
    "an event at a page": [["update", "--page", URL_OF_APP], /use --url/],
    "an invalid address of the event handler": [
      ["update", "--url", "localhost"],
      /--url: saw "localhost", wanted an address such as .*events/,
    ],
    "an invalid address of the page": [
      ["open", "--page", "localhost"],
      /--page: saw "localhost", wanted an address such as .*app\n/,
    ],
    "an address with a password": [["update", "--url", "http://a:b@localhost/"], /a user or a password/],
    "a version of what has none": [["uninstall", "--to", "3"], /it has no version/],
    "a version before anything but an update": [["install", "--from", "3"], /only update/],
    "a field without a path": [["update", "--set", "=3"], /a field and its value/],
    "an invalid number": [["update", "--duplicate", "0"], /Wanted a whole number, 1 to 1000/],
    "a member of a captured body": [["update", "--body", "a.form", "--member", "x"], /--member and --body.*--set/],
    "a captured body of another event": [["install", "--body", `${fixtures}update-documented.form`], /ONAPPUPDATE/],
    "a captured body that does not exist": [["install", "--body", "/none"], /cannot read \/none/],
  };
  for (const [name, [args, reason]] of Object.entries(invalid)) {
    test(`exits with 2 for ${name}`, async () => {
      const { code, out, err } = await simulate(args);
      assert.deepEqual({ code, out }, { code: 2, out: "" }, err);
      assert.match(err, reason);
    });
  }
});
