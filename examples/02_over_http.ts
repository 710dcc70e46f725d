/**
 * The life of a portal over real HTTP: it installs, updates and removes the app. Run it with `deno task demo`. With
 * `--serve`, it serves the app until it is stopped: `deno task start`.
 *
 * The app stores its portals in a file in a temporary folder. A fake Bitrix24 answers its questions.
 */
// deno-lint-ignore-file no-console
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { Plugin } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { serve } from "@b24/onappupdate/node-server";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { buildApp } from "./_demo_app.ts";

const CLIENT_ID = "app.5f3a2b1c";
const MEMBER_ID = "a223c6b3710f85df22e9377d6c4f7553";
const serving = process.argv.includes("--serve");
const colors = !process.env["NO_COLOR"] && process.stdout.isTTY;
const paint = (code: number) => (text: string): string => colors ? `\x1b[${code}m${text}\x1b[0m` : text;
const [bold, red, green, yellow, grey] = [paint(1), paint(31), paint(32), paint(33), paint(90)];

// The fake Bitrix24: its OAuth host and its portal answer the app, and its portal creates the events.
const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
const portal = bitrix24.portal({ memberId: MEMBER_ID });

let version = 2;

// Lines of observers and handlers since the last request.
let lines: string[] = [];
const print = (line: string): void => {
  lines.push(line);
  if (serving) console.log(line);
};
const timeline: Plugin = {
  name: "timeline",
  observe: {
    eventReceived: ({ event }) => print(`${green("accepted")} ${event.name}`),
    duplicateReceived: ({ event }) => print(`${yellow("repeated")} ${event.name}: no handler runs`),
    eventRejected: ({ status, error }) => print(`${red("refused ")} ${status}: ${error.message}`),
    upgradeApplied: ({ upgradeId, from, to }) =>
      print(`${green("applied ")} upgrade "${upgradeId}" on the way ${from} -> ${to}`),
    portalUpgraded: ({ to }) => print(`${green("upgraded")} to ${to}`),
    upgradeRetryScheduled: ({ error }) => print(`${red("failed  ")} ${error.message}`),
    portalParked: ({ error }) => print(`${red("parked  ")} ${error.message}`),
    eventHandled: () => {
      if (serving) printCommand(`Update it to ${++version}:`, portal.update(version));
    },
  },
};

const folder = mkdtempSync(join(tmpdir(), "onappupdate-"));
const quiet = (): void => {};
const app = buildApp({
  storage: fileStorage({ path: join(folder, "portals.db") }),
  clientId: CLIENT_ID,
  fetch: bitrix24.fetch,
  acknowledge: "handled",
  logger: { debug: quiet, info: quiet, warn: quiet, error: quiet },
}, (line) => print(`${grey("handler ")} ${line}`)).use(timeline);

await app.start();

// It closes the app at SIGINT and SIGTERM, too.
const server = await serve({
  fetch: app.fetch,
  close: () => app.close().finally(() => rmSync(folder, { recursive: true, force: true })),
}, { port: serving ? Number(process.env["PORT"] ?? 8000) : 0 });
const url = `${server.url}/`;

/** Returns what an attacker who knows a `member_id` can post. */
function forged(): string {
  return new URLSearchParams({
    event: "ONAPPUPDATE",
    "data[VERSION]": "9",
    "data[PREVIOUS_VERSION]": "3",
    ts: "1785316000",
    "auth[member_id]": MEMBER_ID,
    "auth[domain]": "attacker.example",
    "auth[client_endpoint]": "https://attacker.example/rest/",
    "auth[server_endpoint]": "https://attacker.example/rest/",
    "auth[access_token]": "f".repeat(70),
    "auth[refresh_token]": "f".repeat(70),
    "auth[application_token]": "f".repeat(32),
  }).toString();
}

function printCommand(title: string, body: string): void {
  console.log(`\n${bold(title)}\n  curl -i -d '${body}' ${url}`);
}

async function demo(): Promise<boolean> {
  let isExpected = true;
  const post = async (title: string, body: string, status: number, expected: readonly RegExp[]): Promise<void> => {
    lines = [];
    const response = await fetch(url, { method: "POST", body, headers: { "content-type": FORM } });
    await response.body?.cancel();
    const seen = lines.join("\n");
    const asExpected = response.status === status && expected.every((pattern) => pattern.test(seen)) &&
      lines.length === expected.length;
    isExpected &&= asExpected;
    console.log(`\n${bold(title)} ${grey(`POST ${response.status}`)}${asExpected ? "" : red("  NOT EXPECTED")}`);
    for (const line of lines) console.log(`  ${line}`);
  };

  await post("Installed at 2", portal.install(2), 200, [/accepted/]);
  const update = portal.update(3);
  await post("Updated to 3", update, 200, [/accepted/, /handler/, /applied.*"3.0.0"/, /upgraded.*3\.0\.0/]);
  await post("The same event again", update, 200, [/repeated/]);
  await post("A stolen member_id and made-up tokens", forged(), 403, [/refused.*refuses the access token/]);
  await post("Updated to 4, with another application_token", portal.update(4, { rotateToken: true }), 200, [
    /accepted/,
    /handler/,
    /applied.*"4.0.0"/,
    /upgraded.*4\.0\.0/,
  ]);
  const record = await app.portal(MEMBER_ID);
  isExpected &&= record?.version === "4.0.0" && record.clientEndpoint === "https://example.bitrix24.de/rest/";
  console.log(`\n${bold("The portal's record")}\n${JSON.stringify(record, null, 2)}`);
  await post("Removed", portal.uninstall(), 200, [/accepted/, /handler/]);
  const removed = await app.portal(MEMBER_ID);
  isExpected &&= removed?.status === "uninstalled";
  console.log(`\n${bold("The portal's record")}\n${JSON.stringify(removed, null, 2)}`);
  console.log(isExpected ? green("\nAll results are as expected.") : red("\nSome results are not as expected."));
  return isExpected;
}

const FORM = "application/x-www-form-urlencoded";

if (serving) {
  console.log(`Listening on ${url}`);
  printCommand("Forge an update:", forged());
  printCommand("Install the app on a portal:", portal.install(2));
} else {
  process.exitCode = await demo() ? 0 : 1;
  await server.close();
}
