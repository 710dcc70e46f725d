/** Looks at the process of an app and at its machine: configuration, storage, hosts, clock, permissions, ticks. */
import { withTimeout } from "../async/with_timeout.ts";
import { defined } from "../defined.ts";
import { isInert, type Permission, type RuntimeEnvironment, runtimeEnvironment } from "../net/runtime.ts";
import type { Diagnosis, Finding } from "../plugin/diagnosis.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { APP } from "../portal/keys.ts";
import { messageWithCause } from "../redact.ts";
import type { Ticker } from "../worker/tick.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { Settings } from "./settings.ts";
import { hostAndPort, type StartupWarning, startupWarnings } from "./startup_warnings.ts";

/** Dependencies of {@linkcode createDiagnose}. */
export interface DiagnoseOptions {
  readonly runtime: AppRuntime;
  /** Calls OAuth hosts, or the stand-in for Bitrix24. */
  readonly fetch: typeof fetch;
  /** Origins of the OAuth hosts. */
  readonly oauthHosts: readonly string[];
  /** Address of the stand-in for Bitrix24, if the app has one. */
  readonly dev: string | undefined;
  /** The warnings of the app's start. */
  readonly warnings: () => readonly StartupWarning[];
  readonly isRunning: () => boolean;
  readonly isInert: () => boolean;
  readonly tickEveryMs: number | false;
  /** When the last tick of this process that did not fail ended; `undefined` before the first. */
  readonly tickedAt: () => number | undefined;
  /** `@default` that of the process */
  readonly environment?: RuntimeEnvironment;
}

/** Time (ms) that a diagnosis is returned again: operators must not make the app flood hosts. */
const REUSED_MS = 30_000;

/** Timeout (ms) of each host and of the storage. */
const TIMEOUT_MS = 5000;

/** Difference (ms) of clocks that matters: tokens expire by them. */
const MAX_CLOCK_DIFFERENCE_MS = 60_000;

/** Returns `admin.diagnose` of an app. */
export function diagnoseApp({ settings, runtime, lifecycle, ticker }: {
  readonly settings: Pick<Settings, "bitrix24Fetch" | "oauthHosts" | "dev" | "tickEveryMs">;
  readonly runtime: AppRuntime;
  readonly lifecycle: Pick<Lifecycle, "isRunning">;
  readonly ticker: Pick<Ticker, "tickedAt">;
}): () => Promise<Diagnosis> {
  const { bitrix24Fetch: fetch, oauthHosts, dev, tickEveryMs } = settings;
  return createDiagnose({
    ...{ runtime, fetch, oauthHosts, dev, tickEveryMs, isInert },
    ...{ isRunning: lifecycle.isRunning, tickedAt: ticker.tickedAt },
    // Hosts and stand-in are looked at.
    warnings: () => startupWarnings({ ...runtime, oauthHosts: [], dev: undefined }),
  });
}

/** Returns the function that looks; see `Admin.diagnose`. */
export function createDiagnose(options: DiagnoseOptions): () => Promise<Diagnosis> {
  const { runtime: { clock } } = options;
  let last: { readonly at: number; readonly diagnosis: Promise<Diagnosis> } | undefined;
  return () => {
    const at = clock();
    if (last !== undefined && Math.abs(at - last.at) < REUSED_MS) return last.diagnosis;
    const diagnosis = findingsOf(options).then((findings): Diagnosis => ({ at, findings }));
    last = { at, diagnosis };
    return diagnosis;
  };
}

async function findingsOf(options: DiagnoseOptions): Promise<readonly Finding[]> {
  const { dev, oauthHosts, environment = runtimeEnvironment() } = options;
  const [storage, hosts] = await Promise.all([
    storageFinding(options),
    Promise.all(
      dev === undefined ? oauthHosts.map((host) => askHost(host, options, environment)) : [askDev(dev, options)],
    ),
  ]);
  const differences = hosts.flatMap(({ difference }) => difference === undefined ? [] : [difference]);
  return [
    ...configurationFindings(options),
    storage,
    ...hosts.map(({ finding }) => finding),
    ...differences.slice(0, 1).map(clockFinding),
    permissionFinding(environment.permissions()),
    ...tickFindings(options),
  ];
}

function configurationFindings({ runtime: { versions, plugins }, warnings }: DiagnoseOptions): Finding[] {
  const about = "configuration";
  const names = plugins.map(({ name }) => name).join(", ");
  return [
    { level: "ok", about, message: `the app is set up: versions ${versions.name}, plugins ${names}` },
    ...warnings().map(({ message, fields: { hint } }): Finding => ({
      ...{ level: "warning", about, message },
      ...defined({ todo: hint === undefined ? undefined : String(hint) }),
    })),
  ];
}

async function storageFinding({ runtime: { storage, time, signal } }: DiagnoseOptions): Promise<Finding> {
  const about = `storage ${storage.name}`;
  const begin = time.monotonic();
  try {
    await withTimeout(time, signal, TIMEOUT_MS, () => storage.get(APP));
    return { level: "ok", about, message: `answers in ${Math.ceil(time.monotonic() - begin)} ms` };
  } catch (error) {
    const todo = "no event can be stored: see whether the storage runs, and whether it can be reached from here";
    return { level: "problem", about, message: `does not answer: ${messageWithCause(error)}`, todo };
  }
}

interface AskedHost {
  readonly finding: Finding;
  /** Milliseconds by which this clock is ahead. */
  readonly difference?: number;
}

async function askHost(origin: string, options: DiagnoseOptions, environment: RuntimeEnvironment): Promise<AskedHost> {
  const { runtime: { clock } } = options;
  const host = hostAndPort(origin);
  const about = `host ${new URL(origin).host}`;
  if (!environment.mayConnect(host)) {
    const todo =
      `run Deno with --allow-net=${options.oauthHosts.map(hostAndPort).join()} and the hosts of the portals, ` +
      "or with --allow-net for all hosts";
    return { finding: { level: "problem", about, message: "Deno may not connect to it", todo } };
  }
  try {
    const response = await ask(`${origin}/rest/`, options);
    const date = Date.parse(response.headers.get("date") ?? "");
    const finding: Finding = { level: "ok", about, message: "answers" };
    return Number.isNaN(date) ? { finding } : { finding, difference: clock() - date };
  } catch (error) {
    const todo = "let outgoing https through a firewall or proxy: without it, no event can be verified";
    return { finding: { level: "problem", about, message: `does not answer: ${messageWithCause(error)}`, todo } };
  }
}

/** During development, the app asks no host of Bitrix24. */
async function askDev(url: string, options: DiagnoseOptions): Promise<AskedHost> {
  const about = "stand-in for Bitrix24";
  try {
    await ask(url, options);
    const message = `${url} answers in place of Bitrix24, whose hosts and clock are not looked at`;
    return { finding: { level: "warning", about, message, todo: "leave the option dev out in production" } };
  } catch (error) {
    const message = `${url} does not answer in place of Bitrix24: ${messageWithCause(error)}`;
    const todo = "start it with onappupdate dev; in production, leave the option dev out";
    return { finding: { level: "problem", about, message, todo } };
  }
}

async function ask(url: string, { runtime: { time, signal }, fetch }: DiagnoseOptions): Promise<Response> {
  return await withTimeout(time, signal, TIMEOUT_MS, async (signal) => {
    const response = await fetch(url, { signal, redirect: "manual" });
    await response.body?.cancel();
    return response;
  });
}

function clockFinding(difference: number): Finding {
  const about = "clock";
  if (Math.abs(difference) <= MAX_CLOCK_DIFFERENCE_MS) return { level: "ok", about, message: "as that of Bitrix24" };
  const seconds = Math.round(Math.abs(difference) / 1000);
  const message = `${seconds} s ${difference > 0 ? "ahead of" : "behind"} that of Bitrix24`;
  return { level: "problem", about, message, todo: "synchronize it (NTP): tokens expire by it" };
}

function permissionFinding(permissions: readonly Permission[] | undefined): Finding {
  const about = "permissions";
  if (permissions === undefined) return { level: "ok", about, message: "this runtime withholds none" };
  const named = (wanted: Permission["state"]): string =>
    permissions.filter(({ state }) => state === wanted).map(({ name }) => name).join(", ");
  const parts = [
    named("granted") && `granted: ${named("granted")}`,
    named("partial") && `granted but for some: ${named("partial")}`,
    named("withheld") && `not granted, or only for some: ${named("withheld")}`,
  ];
  return { level: "ok", about, message: parts.filter((part) => part !== "").join("; ") };
}

function tickFindings({ runtime, isRunning, isInert, tickEveryMs, tickedAt }: DiagnoseOptions): Finding[] {
  const about = "ticks";
  // The command line has loaded the app: others tick.
  if (isInert()) return [];
  if (!isRunning()) {
    const todo = "call app.start() or app.tick(), or send it an event";
    return [{ level: "warning", about, message: "this process has not started the app", todo }];
  }
  const last = tickedAt();
  const when = last === undefined
    ? "none yet"
    : `the last one ended ${Math.round((runtime.clock() - last) / 1000)} s ago`;
  const every = tickEveryMs === false ? "only when app.tick() is called" : `every ${tickEveryMs / 1000} s`;
  return [{ level: "ok", about, message: `this process ticks ${every}: ${when}` }];
}
