/** The options of `crashEverywhere()`. */
import type { App, Logger, Storage } from "../../../mod.ts";
import { option, type OptionRules } from "../../check_options.ts";

/** The options that an app needs so that it can crash anywhere. Pass all of them to `createApp`. */
export interface CrashEnvironment {
  /** Survives crashes. */
  readonly storage: Storage;
  /** For the calls of the app and its handlers. The process can crash before and after each. */
  readonly fetch: typeof fetch;
  /** Milliseconds since 1970. It moves ahead when the process is restarted, so that leases and delays are over. */
  readonly clock: () => number;
  /** Returns the same strings in every execution. */
  readonly random: () => string;
  /** Logs nothing. */
  readonly logger: Logger;
  /** The app does not tick by itself. */
  readonly tickEveryMs: false;
  /** The app does not check portals by itself: that would never end. */
  readonly checks: false;
}

/** Options of {@linkcode crashEverywhere}. */
export interface CrashEverywhereOptions {
  /** Creates the app without starting it. Called for each process. */
  readonly app: (environment: CrashEnvironment) => App<never> | App;
  /**
   * Bodies of events as Bitrix24 sends them, in order, or functions that create them when they are sent. An event that is
   * not answered with 200 is sent again.
   */
  readonly events: readonly (string | (() => string))[];
  /**
   * Answers the calls of the app, for example a fake portal's `fetch`.
   *
   * @default 200 without a body
   */
  readonly fetch?: (request: Request) => Response | Promise<Response>;
  /**
   * Returns whether a repeat of a call of the app does no harm, so that the report does not list it as unsafe: for services
   * that recognize repeats in ways of their own. Called for each call, with a copy of its request.
   *
   * @default calls that change nothing, or nothing more the second time; see {@linkcode CrashReport.unsafe}
   */
  readonly safe?: (request: Request) => boolean | Promise<boolean>;
  /** Called before each execution, to reset everything outside of the app. */
  readonly reset?: () => void;
  /** Called at the end of each execution, once no work is left. Throws if something is wrong. */
  readonly check?: (app: App) => void | Promise<void>;
  /**
   * Whether the storage of the environment applies an ordered write (`write`) atomically. If so, a process can crash before
   * and after it. If not, the storage has no `write`, so `writeInOrder` uses `put` and `delete`, and a process can crash
   * between its operations. An app must survive both, so test it with both.
   *
   * @default true
   */
  readonly atomicWrites?: boolean;
  /**
   * Maximum number of executions with two crashes, spread evenly over all pairs of crash points. Minimum: 0.
   *
   * @default 1000
   */
  readonly pairs?: number;
}

/** The rules of {@linkcode CrashEverywhereOptions}. */
export const OPTION_RULES: OptionRules<CrashEverywhereOptions> = {
  app: option.required(option.function("a function that creates the app")),
  events: option.required(option.list(
    "the bodies of events",
    option.value("a body, or a function that creates it", (body) => /^(string|function)$/.test(typeof body)),
  )),
  fetch: option.function(),
  reset: option.function(),
  check: option.function(),
  safe: option.function(),
  atomicWrites: option.flag(),
  pairs: option.number({ min: 0, max: Infinity }),
};
