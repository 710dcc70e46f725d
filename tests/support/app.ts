/** Shared by the tests of whole apps. */
import {
  type App,
  type AppliedUpgrade,
  type AppOptions,
  createApp,
  type Logger,
  memoryStorage,
  type Observers,
  type Plugin,
} from "@b24/onappupdate";
import { applicationToken, type ApplicationTokenOptions } from "@b24/onappupdate/application-token";
import { type FakeBitrix24, fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import process from "node:process";
import { keepOutput } from "./kept_output.ts";

export const CLIENT_ID = "app.5f3a2b1c";
export const MEMBER_ID = "a223c6b3710f85df22e9377d6c4f7553";
export const OTHER_MEMBER_ID = "74ef8a46a75104de55d5d4a61b98ab6d";
export const FORM = "application/x-www-form-urlencoded";

/** Returns a request as Bitrix24 sends it. */
export function post(body: BodyInit, contentType: string | null = FORM): Request {
  return new Request("http://localhost/b24/events?secret=1", {
    method: "POST",
    body,
    headers: contentType === null ? {} : { "content-type": contentType },
  });
}

/** Returns a line of a log, as JSON. */
function lineOf(level: string, message: string, fields?: object): string {
  return JSON.stringify(
    { level, message, ...fields },
    (_, value) =>
      value instanceof Error ? { ...value, name: value.name, message: value.message, cause: value.cause } : value,
  );
}

const keptOnly = (level: string) => (message: string, fields?: object): void => {
  if (process.env["TEST_OUTPUTS"] !== undefined) keepOutput("log", `${lineOf(level, message, fields)}\n`);
};

/** Prints nothing. Where the output of a test run is kept, its lines are. */
export const quietLogger: Logger = {
  isDebugEnabled: false,
  debug: () => {},
  info: keptOnly("info"),
  warn: keptOnly("warn"),
  error: keptOnly("error"),
};

/** Returns a logger that appends each line to `lines`, as JSON. */
export function recordingLogger(): { readonly logger: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  const line = (level: string) => (message: string, fields?: object): void => {
    const text = lineOf(level, message, fields);
    lines.push(text);
    keepOutput("log", `${text}\n`);
  };
  return { lines, logger: { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") } };
}

type Report = {
  readonly [Name in keyof Observers]: { readonly name: Name } & Parameters<Observers[Name]>[0];
}[keyof Observers];

/** Returns a plugin that records the reports that observers receive. */
export function recorder(): { readonly plugin: Plugin; readonly reports: Report[]; readonly names: () => string[] } {
  const reports: Report[] = [];
  const observer = (name: string) => (report: object): void => {
    reports.push({ name, ...report } as Report);
  };
  const names = [
    "eventReceived",
    "eventRejected",
    "duplicateReceived",
    "runPlanned",
    "upgradeApplied",
    "portalUpgraded",
    "downgradeIgnored",
    "eventFailed",
    "eventHandled",
    "stepStarted",
    "stepFinished",
    "stepFailed",
    "upgradeRetryScheduled",
    "portalParked",
    "claimDropped",
  ];
  return {
    plugin: { name: "recorder", observe: Object.fromEntries(names.map((name) => [name, observer(name)])) },
    reports,
    names: () => reports.map(({ name }) => name),
  };
}

/** A verification that accepts everything, for tests of what comes after. */
export const trustAll: Plugin = { name: "trustAll", phase: "verify", around: (_ctx, next) => next() };

export interface Rig {
  readonly app: App;
  readonly bitrix24: FakeBitrix24;
  readonly portal: FakePortal;
  readonly lines: string[];
  readonly reports: Report[];
  readonly names: () => string[];
  /** Posts a body and resolves to the status. */
  readonly send: (body: string) => Promise<number>;
  /** Resolves when the background work of all requests so far is done. */
  readonly settled: () => Promise<void>;
  /** Clock of the app. */
  readonly clock: () => number;
  /** Moves the clock of the app past every delay. */
  readonly later: () => void;
}

/** Returns the system's clock, and a function that moves it ahead. */
export function movableClock(): { readonly clock: () => number; readonly later: () => void } {
  let ahead = 0;
  return { clock: () => Date.now() + ahead, later: () => void (ahead += 2 * 60 * 60 * 1000) };
}

/** Work that an app does after it has answered. */
export interface BackgroundWork {
  /** Passed to `app.fetch` after the request. */
  readonly platform: { readonly waitUntil: (work: Promise<unknown>) => void };
  /** Resolves when all work so far is done. */
  readonly settled: () => Promise<void>;
}

export function backgroundWork(): BackgroundWork {
  const works = new Set<Promise<unknown>>();
  return {
    platform: {
      waitUntil: (work) => {
        works.add(work);
        const done = (): boolean => works.delete(work);
        work.then(done, done);
      },
    },
    settled: async () => {
      while (works.size > 0) await Promise.allSettled(works);
    },
  };
}

/** Returns the upgrades that the app has applied to the current installation of a portal, in order. */
export async function appliedUpgrades(app: App, memberId: string = MEMBER_ID): Promise<readonly AppliedUpgrade[]> {
  const portal = await app.portal(memberId);
  const runs = (await app.admin.runs(memberId)).filter(({ generation }) => generation === portal?.generation);
  return [...runs.toReversed().flatMap(({ applied }) => applied), ...portal?.applied ?? []];
}

/** Returns an app with applicationToken(), and a fake Bitrix24 with one portal. */
export function rig(options: Partial<AppOptions> = {}, token: ApplicationTokenOptions = {}): Rig {
  const { logger, lines } = recordingLogger();
  const { plugin, reports, names } = recorder();
  const { clock, later } = movableClock();
  const bitrix24 = fakeBitrix24({
    clientId: CLIENT_ID,
    // The fake does not see `later()`: tokens of its own clock must outlive it.
    ...(options.clock === undefined ? { accessTokenSeconds: 86_400 } : { clock: options.clock }),
  });
  const { platform, settled } = backgroundWork();
  const app = createApp({
    storage: memoryStorage(),
    clock,
    clientId: CLIENT_ID,
    acknowledge: "handled",
    logger,
    fetch: bitrix24.fetch,
    // Checks call Bitrix24 on their own and have tests of their own.
    checks: false,
    // Tests tick by themselves.
    tickEveryMs: false,
    ...options,
  }).use(applicationToken(token)).use(plugin);
  return {
    app,
    bitrix24,
    portal: bitrix24.portal({ memberId: MEMBER_ID }),
    lines,
    reports,
    names,
    clock,
    later,
    settled,
    send: async (body) => {
      const response = await app.fetch(post(body), platform);
      await response.body?.cancel();
      return response.status;
    },
  };
}
