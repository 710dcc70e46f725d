import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { exampleOf, EXAMPLES } from "../../scripts/example.ts";
import { CLIENT_ID, FORM, MEMBER_ID } from "../support/app.ts";
import { root, run } from "../support/process.ts";
import { after, before, describe, test } from "../support/test.ts";
import { type NodeProject, nodeProject } from "./_npm_project.ts";

const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
let oauthServer: Server;
let folder: string;
/** Node, and the folder with the package and the examples. */
let node: { readonly command: string; readonly cwd: string };
let project: NodeProject;

before(async () => {
  project = await nodeProject();
  cpSync(join(root, "examples"), join(project.folder, "examples"), { recursive: true });
  node = { command: project.node, cwd: project.folder };
  folder = mkdtempSync(join(tmpdir(), "onappupdate-examples-"));
  oauthServer = createServer(async (incoming, outgoing) => {
    let body = "";
    for await (const chunk of incoming) body += chunk;
    const response = await bitrix24.fetch(`http://localhost${incoming.url}`, { method: "POST", body });
    outgoing.writeHead(response.status, { "content-type": "application/json" }).end(await response.text());
  });
  await new Promise<void>((resolve) => oauthServer.listen(0, "127.0.0.1", resolve));
});

after(() => {
  oauthServer.close();
  rmSync(folder, { recursive: true, force: true });
  project.remove();
});

test("every example is run by these tests", () => {
  assert.deepEqual(EXAMPLES, [
    "01_first.ts",
    "02_over_http.ts",
    "03_server.ts",
    "04_hono.ts",
    "05_opening.ts",
    "06_plugin.ts",
    "07_notification_channel.ts",
    "08_crash_everywhere.ts",
    "09_adopt.ts", // run by adoption_examples_test.ts
    "10_own_storage.ts", // its storage is tested by libsql_storage_test.ts, too
  ]);
  // All other files are parts of these.
  assert.ok(readdirSync(join(root, "examples")).every((file) => EXAMPLES.includes(file) || file.startsWith("_")));
});

test("exampleOf() finds an example by its number", () => {
  assert.equal(exampleOf("1"), "01_first.ts");
  assert.equal(exampleOf("01"), "01_first.ts");
  assert.throws(() => exampleOf("99"), { message: `no example "99", wanted 1 to ${EXAMPLES.length}` });
});

test("`deno task example` lists the examples, and runs one", async () => {
  const { output, exited } = run("scripts/example.ts");
  assert.equal(await exited, 0, output());
  assert.equal(output().trim().split("\n").length, EXAMPLES.length);
  assert.match(output(), /^2 {2}over_http\.ts: The life of a portal over real HTTP$/m);
  const first = run("scripts/example.ts", { args: ["1"] });
  assert.equal(await first.exited, 0, first.output());
  assert.match(first.output(), /^version of the portal: 3\.0\.0$/m);
});

for (
  const { file, onNode, path } of [
    { file: "03_server.ts", onNode: false, path: "/" },
    { file: "03_server.ts", onNode: true, path: "/" },
    { file: "04_hono.ts", onNode: false, path: "/b24/events" },
    { file: "04_hono.ts", onNode: true, path: "/b24/events" },
  ] as const
) {
  test(`examples/${file} on ${onNode ? "Node" : "Deno"} receives events over HTTP, refuses a forged one, and exits cleanly`, async () => {
    const portal = bitrix24.portal({ memberId: MEMBER_ID });
    const { stop, output, printed, exited } = run(`examples/${file}`, {
      ...(onNode ? { on: node } : {}),
      env: {
        PORT: "0",
        CLIENT_ID,
        DATABASE: join(folder, `${file}-${onNode}.db`),
        OAUTH_HOST: `http://127.0.0.1:${(oauthServer.address() as AddressInfo).port}`,
      },
    });
    try {
      const [, origin] = await printed(/Listening on (http:\/\/[^\s/]+)/);
      const send = async (body: string): Promise<number> => {
        const response = await fetch(`${origin}${path}`, { method: "POST", body, headers: { "content-type": FORM } });
        await response.body?.cancel();
        return response.status;
      };
      assert.equal(await send(portal.install(2)), 200);
      const update = portal.update(3);
      assert.equal(
        await send(
          update.replace(/application_token%5D=[^&]+/, "application_token%5D=0000")
            .replace(/access_token%5D=[^&]+/, "access_token%5D=0000"),
        ),
        200,
      );
      await printed(/event refused.*"status":403/);
      assert.equal(await send(update), 200);
      await printed(/portal upgraded.*"to":"3\.0\.0"/);
      assert.match(output(), /adding the new report/);
      assert.doesNotMatch(output(), /acce55|fe5fe5/);
    } finally {
      stop();
    }
    assert.equal(await exited, 0, output());
  });
}

for (const runtime of ["Deno", "Node"]) {
  const options = (): { on?: typeof node } => runtime === "Node" ? { on: node } : {};

  test(`examples/01_first.ts prints what the README shows on ${runtime}`, async () => {
    const { output, exited } = run("examples/01_first.ts", options());
    assert.equal(await exited, 0, output());
    const readme = readFileSync(join(root, "README.md"), "utf8");
    assert.ok(readme.includes(`\`\`\`\n${output().trim()}\n\`\`\``), output());
    const code = readFileSync(join(root, "examples/01_first.ts"), "utf8").replace(
      /^(?:\/\*\*|\/\/ deno-lint).*\n/gm,
      "",
    );
    assert.ok(readme.includes(`\`\`\`ts\n${code}\`\`\``));
  });

  test(`examples/10_own_storage.ts runs an app on it on ${runtime}`, async () => {
    const { output, exited } = run("examples/10_own_storage.ts", options());
    assert.equal(await exited, 0, output());
    assert.deepEqual(output().trim().split("\n"), [
      "installed: 200",
      "upgrade to 2.0.0",
      "updated: 200",
      "version: 2.0.0",
      "the table has entries: true",
    ]);
  });

  test(`examples/06_plugin.ts notifies of the upgrade on ${runtime}`, async () => {
    const { output, exited } = run("examples/06_plugin.ts", options());
    assert.equal(await exited, 0, output());
    assert.match(output(), /^example\.bitrix24\.de: the new report is ready$/m);
    assert.match(output(), /^a223c6b3710f85df22e9377d6c4f7553 was upgraded from 2\.0\.0 to 3\.0\.0$/m);
  });

  test(`examples/07_notification_channel.ts sends a notification, again after the time that the service asks for on ${runtime}`, async () => {
    const { output, exited } = run("examples/07_notification_channel.ts", options());
    assert.equal(await exited, 0, output());
    assert.match(output(), /^429 to\nCRITICAL: 40 portals are parked\n[^]*\nagain after 7000 ms\n200 to\nCRITICAL: /);
    const [first, second] = output().split(/^(?:429|200) to$/m).slice(1).map((text) =>
      text.split("\n\n", 1)[0]!.trim()
    );
    assert.equal(first, second);
    assert.match(first!, /\nand \d+ more\nhttps:\/\/ops\.example\.com\/parked\nID: portal_parked-7f3a$/);
    assert.ok(first!.length <= 500);
  });

  test(`examples/05_opening.ts installs and updates an app with a wizard on ${runtime}`, async () => {
    const { output, exited } = run("examples/05_opening.ts", options());
    assert.equal(await exited, 0, output());
    // The work may be done before the page says that it is under way.
    const lines = output().replace("user 1 sees: Done. The app opens now…", "user 1 sees: The app is being installed…")
      .split("\n");
    assert.deepEqual(lines.filter((line) => line.startsWith("user")), [
      "user 7 sees: The installation is not finished. An administrator of your Bitrix24 has to open the app.",
      "user 1 sees: The app is being installed…",
      "user 1 sees: the app at 2.0.0, for admins: true",
      "user 1 sees: The app is being installed…",
      "user 1 sees: the app at 3.0.0, for admins: true",
      "user 7 sees: the app at 3.0.0, for admins: false",
    ]);
    assert.deepEqual(lines.filter((line) => line.startsWith("handler")), [
      "handler: installed at 2",
      "handler: upgrade to 3",
    ]);
    assert.doesNotMatch(output(), /acce55|fe5fe5|5e55/);
  });

  test(`examples/08_crash_everywhere.ts reports no unsafe call on ${runtime}`, async () => {
    const { output, exited } = run("examples/08_crash_everywhere.ts", options());
    assert.equal(await exited, 0, output());
    assert.match(output(), /^\d{3} executions of \d+ operations, all with the same result: portal \w+ on 3\.0\.0$/m);
    assert.match(output(), /^Repeated without harm:$/m);
    assert.match(output(), /^- POST https:\/\/deals\.example\/mails, in step "notify the administrator"$/m);
    assert.doesNotMatch(output(), /cannot recognize/);
  });

  test(`examples/02_over_http.ts installs, updates and removes the app, and exits with 0 on ${runtime}`, async () => {
    const { output, exited } = run("examples/02_over_http.ts", options());
    assert.equal(await exited, 0, output());
    const lines = [
      /^Installed at 2 POST 200$/,
      /^ {2}accepted ONAPPINSTALL$/,
      /^Updated to 3 POST 200$/,
      /^ {2}applied {2}upgrade "3\.0\.0" on the way 2\.0\.0 -> 3\.0\.0$/,
      /^ {2}upgraded to 3\.0\.0$/,
      /^The same event again POST 200$/,
      /^ {2}repeated ONAPPUPDATE: no handler runs$/,
      /^A stolen member_id and made-up tokens POST 403$/,
      /^ {2}refused {2}403: /,
      /^Updated to 4, with another application_token POST 200$/,
      /^ {2}upgraded to 4\.0\.0$/,
      /"clientEndpoint": "https:/,
      /^Removed POST 200$/,
      /"status": "uninstalled"/,
      /^All results are as expected\.$/,
    ];
    let rest = output().split("\n");
    for (const line of lines) {
      const at = rest.findIndex((text) => line.test(text));
      assert.notEqual(at, -1, `${line} is missing, or out of order, in\n${output()}`);
      rest = rest.slice(at + 1);
    }
    assert.doesNotMatch(output(), /acce55|fe5fe5|a99/);
  });
}

describe("examples/02_over_http.ts", () => {
  test("--serve serves the app until it is stopped, and prints commands that post events", async () => {
    const { stop, output, printed, exited } = run("examples/02_over_http.ts", {
      args: ["--serve"],
      env: { PORT: "0" },
    });
    try {
      for (
        const [title, status] of [["Forge an update", 403], ["Install the app", 200], ["Update it to 3", 200]] as const
      ) {
        const [, body, url] = await printed(new RegExp(`${title}.*\n +curl -i -d '([^']+)' (\\S+)\n`));
        const response = await fetch(url!, { method: "POST", body: body!, headers: { "content-type": FORM } });
        await response.body?.cancel();
        assert.equal(response.status, status, title);
      }
      await printed(/upgraded to 3\.0\.0/);
      await printed(/Update it to 4/);
    } finally {
      stop();
    }
    assert.equal(await exited, 0, output());
  });
});
