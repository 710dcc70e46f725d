/** Where the app writes what its operator should know. */

/** Details of a log line. `Secret`s among them print as `[redacted]`. */
export type LogFields = Readonly<Record<string, unknown>>;

/** What the app needs of a logger; `console`-like loggers fit after naming their methods so. */
export interface Logger {
  /** Steps on the way, for debugging. */
  readonly debug: (message: string, fields?: LogFields) => void;
  /** What happened. */
  readonly info: (message: string, fields?: LogFields) => void;
  /** What is wrong outside, and was dealt with. */
  readonly warn: (message: string, fields?: LogFields) => void;
  /** What needs somebody. */
  readonly error: (message: string, fields?: LogFields) => void;
}

/**
 * Writes one line of JSON an event to the console: `info` and above, or all with `level: "debug"`.
 *
 * @example
 * ```ts
 * import { consoleLogger } from "@b24/onappupdate";
 *
 * consoleLogger().info("portal upgraded", { memberId: "a223c6b3710f85df22e9377d6c4f7553", to: "3.0.0" });
 * ```
 */
export function consoleLogger(options: { readonly level?: "debug" | "info" } = {}): Logger {
  const line = (level: "debug" | "info" | "warn" | "error") => (message: string, fields: LogFields = {}): void => {
    // deno-lint-ignore no-console -- this is the one place that writes to it
    console[level](JSON.stringify({ level, message, ...fields }, plain));
  };
  const debug = options.level === "debug" ? line("debug") : (): void => {};
  return { debug, info: line("info"), warn: line("warn"), error: line("error") };
}

/** Errors have no JSON of their own. Their stack is left out: it repeats the message of every cause. */
function plain(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  if (!(value instanceof Error)) return value;
  const { name, message, cause } = value;
  return { name, message, ...("code" in value ? { code: value.code } : {}), ...(cause === undefined ? {} : { cause }) };
}

/** `logger` with `fields` added to each of its lines. */
export function withFields(logger: Logger, fields: LogFields): Logger {
  return {
    debug: (message, more) => logger.debug(message, { ...fields, ...more }),
    info: (message, more) => logger.info(message, { ...fields, ...more }),
    warn: (message, more) => logger.warn(message, { ...fields, ...more }),
    error: (message, more) => logger.error(message, { ...fields, ...more }),
  };
}

/** `logger`, with its own failures kept to itself: an event must not be refused because it could not be logged. */
export function withoutThrows(logger: Logger): Logger {
  const safe = (level: keyof Logger) => (message: string, fields?: LogFields): void => {
    try {
      logger[level](message, fields);
    } catch {
      // There is nobody left to tell.
    }
  };
  return { debug: safe("debug"), info: safe("info"), warn: safe("warn"), error: safe("error") };
}
