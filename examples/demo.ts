/**
 * The life of one portal over real HTTP, in one command: `deno task demo`. With `--serve`, the same app until it is
 * stopped: `deno task start`.
 *
 * The app keeps its portals in a file in a temporary folder. A stand-in for Bitrix24's OAuth host runs beside it.
 */
// deno-lint-ignore-file no-console
import type { Plugin } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { buildApp } from "./demo_app.ts";

const CLIENT_ID = "app.5f3a2b1c";
const MEMBER_ID = "a223c6b3710f85df22e9377d6c4f7553";
const serving = Deno.args.includes("--serve");
const colours = !Deno.noColor && Deno.stdout.isTerminal();
const paint = (code: number) => (text: string): string => colours ? `\x1b[${code}m${text}\x1b[0m` : text;
const [bold, red, green, yellow, grey] = [paint(1), paint(31), paint(32), paint(33), paint(90)];

// The stand-in for Bitrix24: its OAuth host listens, its portal sends what we tell it to.
const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, oauthHost: "https://oauth.bitrix24.tech" });
const listen = { port: 0, hostname: "127.0.0.1", onListen: (): void => {} };
const oauthServer = Deno.serve(listen, (request) => bitrix24.fetch(request));
const oauthHost = `http://127.0.0.1:${oauthServer.addr.port}`;
const portal = bitrix24.portal({ memberId: MEMBER_ID });

let version = 2;

// What happened since the last request, as observers tell it.
let happened: string[] = [];
const tell = (line: string): void => {
  happened.push(line);
  if (serving) console.log(line);
};
const timeline: Plugin = {
  name: "timeline",
  observe: {
    eventReceived: ({ event }) => tell(`${green("accepted")} ${event.name}`),
    duplicateReceived: ({ event }) => tell(`${yellow("repeated")} ${event.name}: nothing is run`),
    eventRejected: ({ status, error }) => tell(`${red("refused ")} ${status}: ${error.message}`),
    upgradeApplied: ({ upgradeId, from, to }) =>
      tell(`${green("upgraded")} by "${upgradeId}" on the way ${from} -> ${to}`),
    portalUpgraded: ({ to }) => tell(`${green("arrived ")} at ${to}`),
    eventFailed: ({ error }) => tell(`${red("failed  ")} ${error.message}`),
    eventHandled: () => {
      if (serving) invite(`Update it to ${++version}:`, portal.update(version));
    },
  },
};

const folder = await Deno.makeTempDir({ prefix: "onappupdate-" });
const quiet = (): void => {};
const app = buildApp({
  storage: fileStorage({ path: `${folder}/portals.db` }),
  clientId: CLIENT_ID,
  oauthHosts: [oauthHost],
  acknowledge: "handled",
  logger: { debug: quiet, info: quiet, warn: quiet, error: quiet },
}, (line) => tell(`${grey("handler ")} ${line}`)).use(timeline);

await app.start();

const server = Deno.serve({ ...listen, port: serving ? Number(Deno.env.get("PORT") ?? 8000) : 0 }, app.fetch);
const url = `http://127.0.0.1:${server.addr.port}/`;

async function stop(): Promise<void> {
  await server.shutdown();
  await app.close();
  await oauthServer.shutdown();
  await Deno.remove(folder, { recursive: true });
}

/** What anybody can post who has read a `member_id` somewhere. */
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

function invite(title: string, body: string): void {
  console.log(`\n${bold(title)}\n  curl -i -d '${body}' ${url}`);
}

async function demo(): Promise<boolean> {
  let good = true;
  const act = async (title: string, body: string, status: number, expected: readonly RegExp[]): Promise<void> => {
    happened = [];
    const response = await fetch(url, { method: "POST", body, headers: { "content-type": FORM } });
    await response.body?.cancel();
    const seen = happened.join("\n");
    const asExpected = response.status === status && expected.every((pattern) => pattern.test(seen)) &&
      happened.length === expected.length;
    good &&= asExpected;
    console.log(`\n${bold(title)} ${grey(`POST ${response.status}`)}${asExpected ? "" : red("  NOT AS EXPECTED")}`);
    for (const line of happened) console.log(`  ${line}`);
  };

  await act("Installed at 2", portal.install(2), 200, [/accepted/]);
  const update = portal.update(3);
  await act("Updated to 3", update, 200, [/accepted/, /handler/, /upgraded.*by "3.0.0"/, /arrived.*3\.0\.0/]);
  await act("The same event again", update, 200, [/repeated/]);
  await act("A stolen member_id and made-up tokens", forged(), 403, [/refused.*refuses the access token/]);
  await act("Updated to 4, with another application_token", portal.update(4, { rotateToken: true }), 200, [
    /accepted/,
    /handler/,
    /upgraded.*by "4.0.0"/,
    /arrived.*4\.0\.0/,
  ]);
  const record = await app.portal(MEMBER_ID);
  good &&= record?.version === "4.0.0" && record.clientEndpoint === "https://example.bitrix24.de/rest/";
  console.log(`\n${bold("The portal's record")}\n${JSON.stringify(record, null, 2)}`);
  await act("Removed", portal.uninstall(), 200, [/accepted/, /handler/]);
  const removed = await app.portal(MEMBER_ID);
  good &&= removed?.status === "uninstalled";
  console.log(`\n${bold("The portal's record")}\n${JSON.stringify(removed, null, 2)}`);
  console.log(good ? green("\nEvery outcome was the expected one.") : red("\nSomething was not as expected."));
  return good;
}

const FORM = "application/x-www-form-urlencoded";

if (serving) {
  console.log(`Listening on ${url}`);
  invite("Forge an update:", forged());
  invite("Install the app on a portal:", portal.install(2));
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => void stop().then(() => Deno.exit(0)));
  }
} else {
  const good = await demo();
  await stop();
  Deno.exit(good ? 0 : 1);
}
