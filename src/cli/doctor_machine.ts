/** What `onappupdate doctor --app` finds on this machine: hosts, permissions, clock. */
import { runtimeEnvironment } from "../net/runtime.ts";
import type { Finding } from "./finding.ts";
import type { Terminal } from "./terminal.ts";
import { duration } from "./text.ts";

/** The OAuth hosts of Bitrix24, which apps ask by default. */
const OAUTH_HOSTS = ["oauth.bitrix24.tech", "oauth.bitrix.info"];

const TIMEOUT_MS = 5000;

/** Difference (ms) of clocks that matters: tokens expire by them. */
const MAX_CLOCK_DIFFERENCE_MS = 60_000;

const CONFIGURATION: Finding = {
  level: "ok",
  about: "configuration",
  message: "the app loads, and its plugins are set up",
};

/** Looks at this machine, which may not be the server. */
export async function machineFindings(terminal: Terminal): Promise<readonly Finding[]> {
  const standIn = terminal.variable("ONAPPUPDATE_DEV");
  if (standIn) return [CONFIGURATION, await standInFinding(standIn, terminal)];
  const found = await Promise.all(OAUTH_HOSTS.map((host) => askHost(host, terminal)));
  const dates = found.flatMap(({ difference }) => difference === undefined ? [] : [difference]);
  return [
    CONFIGURATION,
    ...found.map(({ finding }) => finding),
    ...dates.slice(0, 1).map(clockFinding),
  ];
}

/** During development, the app asks no host of Bitrix24. */
async function standInFinding(url: string, { fetch }: Terminal): Promise<Finding> {
  const about = "stand-in for Bitrix24";
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: "manual" });
    await response.body?.cancel();
    const message = `ONAPPUPDATE_DEV is set, and ${url} answers: hosts and clock of Bitrix24 are not looked at`;
    return { level: "warning", about, message, todo: "leave ONAPPUPDATE_DEV out in production" };
  } catch (error) {
    const message = `ONAPPUPDATE_DEV is set, and ${url} does not answer: ${
      error instanceof Error ? error.message : error
    }`;
    const todo = "start it with onappupdate dev; in production, leave ONAPPUPDATE_DEV out";
    return { level: "problem", about, message, todo };
  }
}

interface Asked {
  readonly finding: Finding;
  /** Milliseconds by which this clock is ahead. */
  readonly difference?: number;
}

async function askHost(host: string, { fetch, now }: Terminal): Promise<Asked> {
  const about = `host ${host}, from this machine`;
  if (!runtimeEnvironment().mayConnect(host)) {
    const todo = `run with --allow-net=${OAUTH_HOSTS.join()} or without a list; the server needs the same`;
    return { finding: { level: "problem", about, message: "Deno may not connect to it", todo } };
  }
  try {
    const response = await fetch(`https://${host}/rest/`, {
      signal: AbortSignal.timeout(TIMEOUT_MS),
      redirect: "manual",
    });
    await response.body?.cancel();
    const date = Date.parse(response.headers.get("date") ?? "");
    const finding: Finding = { level: "ok", about, message: "answers" };
    return Number.isNaN(date) ? { finding } : { finding, difference: now() - date };
  } catch (error) {
    const message = `does not answer: ${error instanceof Error ? error.message : error}`;
    const todo = "let outgoing https through a firewall or proxy; without it, the server can verify no event";
    return { finding: { level: "problem", about, message, todo } };
  }
}

function clockFinding(difference: number): Finding {
  const about = "clock of this machine";
  if (Math.abs(difference) <= MAX_CLOCK_DIFFERENCE_MS) return { level: "ok", about, message: "as that of Bitrix24" };
  const message = `${duration(Math.abs(difference))} ${difference > 0 ? "ahead of" : "behind"} that of Bitrix24`;
  return {
    level: "problem",
    about,
    message,
    todo: "synchronize it (NTP), and look at the server's: tokens expire by it",
  };
}
