/** An app for tests of operating commands: portals in every state, as a started process has left them. */
import { createHash } from "node:crypto";
import { type App, createApp, memoryStorage, NonRetriableError } from "@b24/onappupdate";
import { operatorApi } from "@b24/onappupdate/operator";
import type { Storage } from "@b24/onappupdate/storage";
import type { Terminal } from "../../src/cli/terminal.ts";
import { post, quietLogger, trustAll } from "./app.ts";
import type { CliOptions } from "./cli.ts";

/** The present time of the commands and of the app. */
const NOW = 1_700_000_000_000;

/** The portals, by what becomes of them. */
export const PORTALS = {
  current: { memberId: "a".repeat(32), domain: "current.bitrix24.de" },
  parked: { memberId: "b".repeat(32), domain: "parked.bitrix24.de" },
  /** Has the same failure. */
  alsoParked: { memberId: "c".repeat(32), domain: "shared.bitrix24.de" },
  uninstalled: { memberId: "d".repeat(32), domain: "shared.bitrix24.de" },
  blocked: { memberId: "e".repeat(32), domain: "blocked.bitrix24.de" },
} as const;

/** The token of the operator API. */
export const TOKEN = "operator-token".padEnd(43, "x");

/** The input of a test. */
export interface CliApp {
  readonly storage: Storage;
  /** Returns another app on the storage, which is not started. */
  readonly load: () => App;
  /** `--app app.ts`. */
  readonly local: CliOptions;
  /** `--url https://ops.example`, with the token in the environment. */
  readonly remote: CliOptions;
  readonly close: () => Promise<void>;
}

/** The differences from an app without a network. */
export interface CliAppOptions {
  readonly fetch?: typeof fetch;
  /** Address of the stand-in for Bitrix24 of apps that `--app` loads. */
  readonly dev?: string;
  /** Clock of the apps. */
  readonly clock?: () => number;
}

const noNetwork: typeof fetch = () => Promise.reject(new TypeError("no route to host"));

/** Creates the app, its portals and an operator API. */
export async function cliApp(
  { fetch: bitrix24 = noNetwork, dev, clock = () => NOW }: CliAppOptions = {},
): Promise<CliApp> {
  const inner = memoryStorage({ clock: () => NOW });
  const storage: Storage = { ...inner, capabilities: { ...inner.capabilities, scope: "host" } };
  // The apps share the storage: none of them closes it.
  const create = (isLoaded = true): App =>
    createApp({
      ...{
        storage: { ...storage, close: () => Promise.resolve() },
        logger: quietLogger,
        tickEveryMs: false,
        checks: false,
      },
      ...{ clock, acknowledge: "handled" },
      ...(isLoaded && dev !== undefined ? { dev } : { fetch: bitrix24 }),
    }).use(trustAll)
      .upgrade("2", async ({ step }) => void await step("settings", () => 1))
      .upgrade("3", async ({ portal, step }) => {
        await step("prices", () => 1);
        if (portal.domain !== PORTALS.current.domain) {
          throw new NonRetriableError(`price list of ${portal.domain} is \u001b[31mempty\u001b[0m`);
        }
      }, { id: "prices" });
  const app = create(false);
  const send = async (event: string, portal: { memberId: string; domain: string }, data: object): Promise<void> => {
    const auth = { member_id: portal.memberId, domain: portal.domain, application_token: "t".repeat(32) };
    const body = JSON.stringify({ event, ts: String(NOW / 1000), data: { LANGUAGE_ID: "en", ...data }, auth });
    const { status } = await app.fetch(post(body, "application/json"));
    if (status !== 200) throw new Error(`${event} of ${portal.domain} was answered ${status}`);
  };
  const { current, parked, alsoParked, uninstalled, blocked } = PORTALS;
  for (const portal of [current, parked, alsoParked, uninstalled]) await send("ONAPPINSTALL", portal, { VERSION: "1" });
  for (const portal of [current, parked, alsoParked]) {
    await send("ONAPPUPDATE", portal, { VERSION: "3", PREVIOUS_VERSION: "1" });
  }
  await send("ONAPPUNINSTALL", uninstalled, { CLEAN: "0" });
  // Nothing says on which version its data is.
  await send("ONAPPUPDATE", blocked, { VERSION: "3" });
  await app.settled();
  const api = operatorApi({
    ...{ app, logger: quietLogger, clock: () => NOW },
    tokens: [
      { name: "ada", role: "operate", sha256: digestOf(TOKEN) },
      { name: "dashboard", role: "read", sha256: digestOf(`${TOKEN}-read`) },
    ],
  });
  const fetch: Terminal["fetch"] = (url, init) => api.fetch(new Request(url, init));
  return {
    storage,
    load: create,
    local: { now: () => NOW, load: () => Promise.resolve(create()) },
    remote: { now: () => NOW, fetch, env: { ONAPPUPDATE_TOKEN: TOKEN } },
    close: app.close,
  };
}

function digestOf(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}
