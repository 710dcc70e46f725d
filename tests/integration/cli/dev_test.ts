import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run, type Running } from "../../support/process.ts";
import { after, describe, test, waitFor } from "../../support/test.ts";
import { until } from "../../support/until.ts";
import { freePort } from "../../../scripts/server_process.ts";

const folder = mkdtempSync(join(tmpdir(), "onappupdate-dev-"));
/** Processes that have not ended. */
const started = new Set<Running>();
after(async () => {
  for (const one of started) one.stop();
  await Promise.all([...started].map(({ exited }) => exited));
  rmSync(folder, { recursive: true, force: true });
});

function start(file: string, options: Parameters<typeof run>[1]): Running {
  const running = run(file, options);
  started.add(running);
  void running.exited.finally(() => started.delete(running));
  return running;
}

/** Starts an app and a stand-in for it. */
async function startBoth(
  args: readonly string[] = [],
): Promise<{ dev: Running; app: Running; url: string; appUrl: string }> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const app = start("tests/integration/cli/dev_child.ts", {
    env: { ONAPPUPDATE_DEV: url, CLIENT_ID: "app.dev", CLIENT_SECRET: "dev-secret" },
  });
  const [, appUrl = ""] = await waitFor("the app", app.printed(/listening on (\S+)/));
  const dev = start("tests/integration/cli/dev_cli.ts", {
    args: ["dev", `${appUrl}/`, "--page", `${appUrl}/page`, "--port", String(port), ...args],
    hasInput: true,
  });
  await waitFor("the stand-in", dev.printed(/^CLIENT_SECRET=/m));
  return { dev, app, url, appUrl };
}

/** Sends a request with any header. Resolves to its status and body. */
function ask(
  url: string,
  { method = "GET", headers = {}, body = "" }: {
    readonly method?: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: string;
  } = {},
): Promise<{ readonly status: number; readonly text: string; readonly headers: Readonly<Record<string, unknown>> }> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => text += chunk)
        .on("end", () => resolve({ status: response.statusCode ?? 0, text, headers: response.headers }));
    });
    sent.on("error", reject).end(body);
  });
}

const FORM = { "content-type": "application/x-www-form-urlencoded" };

describe("onappupdate dev", () => {
  test("installs and updates an app in another process, and shows its calls", async () => {
    const answers = join(folder, "answers.json");
    writeFileSync(answers, JSON.stringify({ "crm.deal.update": true }));
    const { dev, app, url } = await startBoth(["--answers", answers]);
    assert.match(dev.output(), new RegExp(`^ONAPPUPDATE_DEV=${url}$`, "m"));
    assert.match(app.output(), /"event":"dev\.enabled"/);

    dev.type("install 1\n");
    await waitFor("the installation", dev.printed(/→ ONAPPINSTALL 1 +portal1\.example\.com +200 in \d+ ms #\d+/));
    await waitFor("its check", dev.printed(/← app\.info +oauth\.bitrix24\.tech +200 in/));
    dev.type("update\n");
    await waitFor("the update", dev.printed(/→ ONAPPUPDATE 2 /));
    await waitFor("the upgrade's call", dev.printed(/← profile +portal1\.example\.com +200 in/));
    await waitFor("its batch", dev.printed(/← batch [^\n]+\n +crm\.deal\.update\?id=1&fields\[UF_CRM_RATING\]=5/));
    await waitFor("the upgrade", app.printed(/"event":"portal\.upgraded".*"to":"2\.0\.0"/));
    // Until the upgrade has ended, the app answers a page that waits for it.
    await until("the page of the app", async () => {
      dev.type("open user\n");
      return /version 2\.0\.0, admin: false/.test((await ask(`${url}/fragment`)).text);
    }, 200);
    assert.match(dev.output(), /→ opening user +portal1\.example\.com +200/);

    dev.type("install 2 --wrong\n");
    await waitFor("the mistake", dev.printed(/unknown flag --wrong/));
    // A pipe gets no escape sequences, and nobody gets tokens.
    // deno-lint-ignore no-control-regex -- this is the character to find
    assert.doesNotMatch(dev.output(), /\x1b|acce55[0-9a-f]|fe5fe5[0-9a-f]/);
    dev.type("quit\n");
    assert.equal(await waitFor("the end", dev.exited), 0);
  });

  test("grants a scope that an upgrade waits for, and names the CLIENT_ID of an app that refuses all events", async () => {
    const answers = join(folder, "scope.json");
    writeFileSync(answers, JSON.stringify({ "crm.deal.update": true }));
    const { dev, app, appUrl, url } = await startBoth(["--answers", answers]);
    dev.type("install 1\nupdate 5\n");
    await waitFor("the block", app.printed(/"event":"portal\.blocked".*"blockedOn":"scope"/));
    dev.type("grant calendar\nupdate 6\n");
    await waitFor(
      "the grant",
      dev.printed(/portal1\.example\.com grants crm, .*, calendar; the next update or check says so/),
    );
    await waitFor("the upgrade", app.printed(/"event":"portal\.upgraded".*"to":"6\.0\.0"/));
    dev.type("quit\n");
    assert.equal(await waitFor("the end", dev.exited), 0);

    const other = start("tests/integration/cli/dev_cli.ts", {
      args: ["dev", `${appUrl}/`, "--client-id", "app.mine", "--port", new URL(url).port],
      hasInput: true,
    });
    await waitFor("the other stand-in", other.printed(/^CLIENT_SECRET=/m));
    other.type("install 1\n");
    await waitFor(
      "the note",
      other.printed(
        /the app has CLIENT_ID app\.dev, so it refuses what is sent here: set CLIENT_ID=app\.mine, or start this/,
      ),
    );
    await waitFor("the refusal", app.printed(/"event":"event\.refused".*belongs to another app/));
    other.type("quit\n");
    assert.equal(await waitFor("the end", other.exited), 0);
  });

  test("its page runs commands and replays; other names and origins are refused", async () => {
    const { dev, url } = await startBoth();
    const host = new URL(url).host;
    const page = await ask(`${url}/`);
    assert.equal(page.status, 200);
    assert.match(String(page.headers["content-security-policy"]), /^default-src 'none'; .*frame-ancestors 'none'$/);

    const refused: readonly Readonly<Record<string, string>>[] = [
      { host: "evil.example" },
      { host, origin: "http://evil.example" },
      { host, origin: "null" },
      { host, "sec-fetch-site": "cross-site" },
    ];
    for (const headers of refused) {
      const answer = await ask(`${url}/run`, {
        method: "POST",
        headers: { ...FORM, ...headers },
        body: "command=install",
      });
      assert.equal(answer.status, 403, JSON.stringify(headers));
    }
    // The app's calls as well: a page must not call the fake portals with a name of its own.
    const before = (await ask(`${url}/fragment`)).text;
    const asked = await ask(`${url}/`, { headers: { "x-fake-bitrix24-address": `${url}/` } });
    assert.deepEqual([asked.status, asked.text], [200, "a stand-in for Bitrix24\n"]);
    assert.equal((await ask(`${url}/fragment`)).text, before, "the question of doctor is no call of the app");
    const address = { "x-fake-bitrix24-address": "https://oauth.bitrix.info/rest/app.info" };
    assert.equal((await ask(url, { method: "POST", headers: { ...address, host: "evil.example" } })).status, 403);
    assert.equal(
      (await ask(url, { method: "POST", headers: { ...address, origin: "http://evil.example" } })).status,
      403,
    );
    assert.doesNotMatch(dev.output(), /ONAPPINSTALL|app\.info/);

    const own = { ...FORM, origin: `http://${host}`, "sec-fetch-site": "same-origin" };
    const ran = await ask(`${url}/run`, { method: "POST", headers: own, body: "command=install" });
    assert.deepEqual([ran.status, ran.headers["location"]], [303, "./"]);
    const [, id] = await waitFor("the installation", dev.printed(/ONAPPINSTALL 1 .* #(\d+)/));
    await ask(`${url}/run`, { method: "POST", headers: own, body: `command=replay+${id}` });
    await waitFor("the replay", dev.printed(new RegExp(`ONAPPINSTALL 1 .*replay of #${id}`)));
    const opened = await ask(`${url}/open`, { method: "POST", headers: own, body: "who=user" });
    assert.match(
      opened.text,
      /<form method="post" action="http:\/\/127\.0\.0\.1:\d+\/page\?DOMAIN=portal1\.example\.com/,
    );
    assert.match((await ask(`${url}/fragment`)).text, /replay of #/);
    assert.equal((await ask(`${url}/run`)).status, 405);
    assert.equal((await ask(`${url}/etc`)).status, 404);
    dev.type("quit\n");
    assert.equal(await waitFor("the end", dev.exited), 0);
  });

  test("--file keeps portals over a restart, and --json prints a line for each entry", async () => {
    const file = join(folder, "portals.json");
    const first = await startBoth(["--file", file]);
    first.dev.type("install 4\nquit\n");
    assert.equal(await waitFor("the end", first.dev.exited), 0);
    assert.equal(statSync(file).mode & 0o777, 0o600);

    const second = start("tests/integration/cli/dev_cli.ts", {
      args: ["dev", `${first.appUrl}/`, "--port", new URL(first.url).port, "--file", file, "--json"],
      hasInput: true,
    });
    second.type("update\n");
    await waitFor("the update", second.printed(/"name":"ONAPPUPDATE"/));
    second.type("quit\n");
    assert.equal(await waitFor("the end", second.exited), 0);
    const lines = second.output().trim().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(lines[0].environment.ONAPPUPDATE_DEV, first.url);
    const update = lines.find(({ name }) => name === "ONAPPUPDATE");
    assert.deepEqual([update.detail, update.status, update.fields["auth[access_token]"]], ["5", 200, "acce55…"]);
    assert.doesNotMatch(second.output(), /acce55[0-9a-f]/);
  });

  test("beyond this machine, its path begins with a random token, which the app's address has too", async () => {
    const { dev, url } = await startBoth(["--host", "0.0.0.0"]);
    const [, address = "", token] =
      /ONAPPUPDATE_DEV=(http:\/\/127\.0\.0\.1:\d+\/([0-9a-f]{32})\/)/.exec(dev.output()) ?? [];
    assert.ok(address.startsWith(url), dev.output());
    assert.equal((await ask(`${url}/`)).status, 404);
    assert.equal((await ask(address, { headers: { host: "devbox.example.org" } })).status, 200);
    await waitFor("the address", dev.printed(new RegExp(`Web page: http://.+/${token}/`)));
    dev.type("quit\n");
    assert.equal(await waitFor("the end", dev.exited), 0);
  });

  const other = join(folder, "other.json");
  const text = join(folder, "text.json");
  const mistakes: readonly (readonly [args: readonly string[], error: RegExp])[] = [
    [
      ["https://app.example.com/"],
      /cannot send events to "https:\/\/app\.example\.com\/", wanted an address .* this machine/,
    ],
    [["--page", "http://10.0.0.1/"], /cannot send events to "http:\/\/10\.0\.0\.1\/"/],
    [["--file", other], /is not a file that onappupdate dev has written/],
    [["--answers", join(folder, "none.json")], /cannot read .*none\.json/],
    [["--answers", text], /cannot use .*text\.json, which is not JSON: /],
    [["--answers", other], /cannot use .*other\.json, wanted a JSON object/],
    [["--port", "x"], /a whole number, 0 to 65535/],
    [["--port", "0", "--host", "none.invalid"], /cannot listen on none\.invalid:0: .*; name another one with --host/],
  ];
  for (const [args, error] of mistakes) {
    test(`exits with 2 for ${args.map((arg) => arg.replace(folder, "…")).join(" ")}`, async () => {
      writeFileSync(other, "[]");
      writeFileSync(text, "no JSON");
      const dev = start("tests/integration/cli/dev_cli.ts", { args: ["dev", ...args] });
      assert.equal(await waitFor("the end", dev.exited), 2);
      assert.match(dev.output(), error);
      assert.equal(readFileSync(other, "utf8"), "[]");
    });
  }

  test("ends with 0 at SIGTERM, and with 2 if its port is taken", async () => {
    const port = String(await freePort());
    const dev = start("tests/integration/cli/dev_cli.ts", { args: ["dev", "--port", port], hasInput: true });
    await waitFor("the stand-in", dev.printed(/^CLIENT_SECRET=/m));
    const second = start("tests/integration/cli/dev_cli.ts", { args: ["dev", "--port", port] });
    assert.equal(await waitFor("the second", second.exited), 2);
    assert.match(second.output(), /another program has this port; name another one with --port/);
    dev.stop();
    assert.equal(await waitFor("the end", dev.exited), 0);
  });
});
