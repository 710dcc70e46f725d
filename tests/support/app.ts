/** What tests of whole apps share. */
import {
  type App,
  type AppOptions,
  createApp,
  type Logger,
  memoryStorage,
  type Observers,
  type Plugin,
} from "@b24/onappupdate";
import { applicationToken, type ApplicationTokenOptions } from "@b24/onappupdate/application-token";
import { type FakeBitrix24, fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";

export const CLIENT_ID = "app.5f3a2b1c";
export const MEMBER_ID = "a223c6b3710f85df22e9377d6c4f7553";
export const OTHER_MEMBER_ID = "74ef8a46a75104de55d5d4a61b98ab6d";
export const FORM = "application/x-www-form-urlencoded";

/** A request as Bitrix24 sends it. */
export function post(body: BodyInit, contentType: string | null = FORM): Request {
  return new Request("http://localhost/b24/events?secret=1", {
    method: "POST",
    body,
    headers: contentType === null ? {} : { "content-type": contentType },
  });
}

/** Lines that an app logged, as text. */
export function recordingLogger(): { readonly logger: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  const line = (level: string) => (message: string, fields?: object): void => {
    lines.push(
      JSON.stringify(
        { level, message, ...fields },
        (_, value) =>
          value instanceof Error ? { ...value, name: value.name, message: value.message, cause: value.cause } : value,
      ),
    );
  };
  return { lines, logger: { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") } };
}

type Report = {
  readonly [Name in keyof Observers]: { readonly name: Name } & Parameters<Observers[Name]>[0];
}[keyof Observers];

/** A plugin that keeps what observers are told. */
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
  ];
  return {
    plugin: { name: "recorder", observe: Object.fromEntries(names.map((name) => [name, observer(name)])) },
    reports,
    names: () => reports.map(({ name }) => name),
  };
}

/** Lets everything through: for tests of what comes after. */
export const trusting: Plugin = { name: "trusting", phase: "verify", around: (_ctx, next) => next() };

export interface Rig {
  readonly app: App;
  readonly bitrix24: FakeBitrix24;
  readonly portal: FakePortal;
  readonly lines: string[];
  readonly reports: Report[];
  readonly names: () => string[];
  /** Posts a body and gives the status. */
  readonly send: (body: string) => Promise<number>;
  /** Resolves when all work that the requests so far have started is done. */
  readonly settled: () => Promise<void>;
  /** Of the app. */
  readonly clock: () => number;
  /** Moves the clock of the app past every wait. */
  readonly later: () => void;
}

/** A clock that goes with the system's, and can be moved. */
export function movableClock(): { readonly clock: () => number; readonly later: () => void } {
  let ahead = 0;
  return { clock: () => Date.now() + ahead, later: () => void (ahead += 2 * 60 * 60 * 1000) };
}

/** The work that an app goes on with after its answers. */
export interface BackgroundWork {
  /** Passed to `app.fetch` after the request. */
  readonly platform: { readonly waitUntil: (work: Promise<unknown>) => void };
  /** Resolves when all work that was reported so far is done. */
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

/** An app with the token plugin over a fake Bitrix24 with one portal. */
export function rig(options: Partial<AppOptions> = {}, token: ApplicationTokenOptions = {}): Rig {
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
  const { logger, lines } = recordingLogger();
  const { plugin, reports, names } = recorder();
  const { clock, later } = movableClock();
  const { platform, settled } = backgroundWork();
  const app = createApp({
    storage: memoryStorage(),
    clock,
    clientId: CLIENT_ID,
    acknowledge: "handled",
    logger,
    fetch: bitrix24.fetch,
    // What asks Bitrix24 unasked has tests of its own.
    checks: false,
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
