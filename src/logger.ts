/** The logger interface, and the logger that writes to the console. */
import { checkOptions, hasFunctions, option, type OptionRules } from "./check_options.ts";
import { defined } from "./defined.ts";
import { isSecretName, redactError } from "./redact.ts";
import { REDACTED } from "./secret.ts";

/**
 * Fields of a log line. A `Secret` among them prints as `[redacted]`, and so does a string under the name of a secret, such
 * as `access_token` or `client_secret`.
 */
export type LogFields = Readonly<Record<string, unknown>>;

/**
 * The logger of an app. Any logger with these four methods fits that takes the message first, such as one of winston. For pino
 * and bunyan, which take the fields first, see {@linkcode pinoLogger}.
 *
 * Messages are short and stable; values are in the fields. Every line of this package has an `event` field with a stable
 * name such as `upgrade.failed`. Errors are under `err` as plain objects `{ name, code, message, cause }`, without tokens.
 */
export interface Logger {
  /**
   * False, or a function that returns it, if `debug` drops all lines: it is not called then, and each event costs less. Read
   * once, by `createApp()`. Loggers of winston have such a function.
   *
   * @default true
   */
  readonly isDebugEnabled?: boolean | (() => boolean);
  /** Details for debugging: events accepted, duplicates, verifications, leases, schedule entries. */
  readonly debug: (message: string, fields?: LogFields) => void;
  /** Normal events: the app started, an event was accepted, a portal was upgraded. */
  readonly info: (message: string, fields?: LogFields) => void;
  /** A problem that the app handles itself, such as an upgrade that is retried. */
  readonly warn: (message: string, fields?: LogFields) => void;
  /** A problem that needs an operator. */
  readonly error: (message: string, fields?: LogFields) => void;
}

/** Options of {@linkcode consoleLogger}. */
export interface ConsoleLoggerOptions {
  /**
   * The lowest level that is written.
   *
   * @default "info"
   */
  readonly level?: "debug" | "info" | "warn" | "error";
}

const LEVELS = ["debug", "info", "warn", "error"] as const;

const OPTION_RULES: OptionRules<ConsoleLoggerOptions> = { level: option.oneOf(...LEVELS) };

/**
 * Returns a logger that writes one line of JSON per log line to the console, with `time` (ISO 8601), `level`, `message`
 * and the fields.
 *
 * @throws {TypeError} if `level` is unknown, or another option
 *
 * @example
 * ```ts
 * import { consoleLogger } from "@b24/onappupdate";
 *
 * consoleLogger().info("portal upgraded", { event: "portal.upgraded", to: "3.0.0" });
 * ```
 */
export function consoleLogger(options: ConsoleLoggerOptions = {}): Logger {
  checkOptions("cannot log to the console", options, OPTION_RULES);
  const lowest = LEVELS.indexOf(options.level ?? "info");
  const line = (level: typeof LEVELS[number]): Logger["info"] => {
    if (LEVELS.indexOf(level) < lowest) return ignore;
    return (message, fields = {}) => {
      const time = new Date().toISOString();
      // deno-lint-ignore no-console -- this is the one place that writes to it
      console[level](JSON.stringify({ time, level, message, ...fields }, plainValue));
    };
  };
  return {
    isDebugEnabled: options.level === "debug",
    debug: line("debug"),
    info: line("info"),
    warn: line("warn"),
    error: line("error"),
  };
}

/** A logger that takes the fields of a line before its message, such as one of pino or bunyan. */
export interface FieldsFirstLogger {
  /** Writes a line of level `debug`. */
  readonly debug: (fields: object, message: string) => unknown;
  /** Writes a line of level `info`. */
  readonly info: (fields: object, message: string) => unknown;
  /** Writes a line of level `warn`. */
  readonly warn: (fields: object, message: string) => unknown;
  /** Writes a line of level `error`. */
  readonly error: (fields: object, message: string) => unknown;
  /** Returns whether lines of a level are written. Without it, the debug lines are always passed. */
  readonly isLevelEnabled?: (level: "debug") => boolean;
}

/**
 * Returns the logger of an app that writes to a logger of pino or bunyan. Its level is read once. The `err` of a line arrives
 * as an `Error` of its class with its stack and causes, and without other members than `code` and `b24Code`.
 *
 * @throws {TypeError} if `logger` is not such a logger
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage, pinoLogger } from "@b24/onappupdate";
 * import { pino } from "pino";
 *
 * const app = createApp({ storage: memoryStorage(), logger: pinoLogger(pino({ level: "debug" })) });
 * await app.close();
 * ```
 */
export function pinoLogger(logger: FieldsFirstLogger): Logger {
  checkOptions("cannot log", { logger }, { logger: option.required(FIELDS_FIRST) });
  return {
    isDebugEnabled: logger.isLevelEnabled?.("debug") ?? true,
    debug: (message, fields = {}) => void logger.debug(withErrors(fields), message),
    info: (message, fields = {}) => void logger.info(withErrors(fields), message),
    warn: (message, fields = {}) => void logger.warn(withErrors(fields), message),
    error: (message, fields = {}) => void logger.error(withErrors(fields), message),
  };
}

const FIELDS_FIRST = option.value("a logger of pino or bunyan", hasFunctions("debug", "info", "warn", "error"));

/** Returns whether a logger is one of pino or bunyan: without {@linkcode pinoLogger}, they would drop the fields of each line. */
export function isFieldsFirst(logger: object): boolean {
  const has = (name: string): boolean => typeof (logger as Record<string, unknown>)[name] === "function";
  return (has("bindings") && has("isLevelEnabled")) || (has("addStream") && has("addSerializers"));
}

function ignore(): void {}

/** Returns what `JSON.stringify` writes for a value that has no JSON of its own. */
function plainValue(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  return value instanceof Error ? plainError(value) : value;
}

/** The maximum number of nested causes that are logged. */
const MAX_CAUSES = 10;

/** The errors behind plain objects, for loggers that take errors: they print the class and the stack. */
const errorBehind = new WeakMap<object, Error>();

/** Returns an error as a plain object. The stack is left out: it repeats the message of every cause. */
function plainError(error: Error, depth: number = 0): LogFields {
  const { name, message, cause } = error;
  const { code, b24Code } = error as { readonly code?: unknown; readonly b24Code?: unknown };
  return {
    name,
    ...(code === undefined ? {} : { code }),
    ...(b24Code === undefined ? {} : { b24Code }),
    message,
    ...(cause === undefined || depth >= MAX_CAUSES
      ? {}
      : { cause: cause instanceof Error ? plainError(cause, depth + 1) : String(cause) }),
  };
}

/** Returns the fields with errors in place of the plain objects that stand for them. */
function withErrors(fields: LogFields): LogFields {
  const logged: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields)) {
    const error = typeof value === "object" && value !== null ? errorBehind.get(value) : undefined;
    logged[key] = error === undefined ? value : bareError(error);
  }
  return logged;
}

/** Returns a copy of an error with what {@linkcode plainError} shows of it, and the stack. Other members may hold secrets. */
function bareError(error: Error, depth: number = 0): Error {
  const { name, message, stack, cause } = error;
  const { code, b24Code } = error as { readonly code?: unknown; readonly b24Code?: unknown };
  const shown = defined({ name, message, stack, code, b24Code });
  const copy = Object.create(Object.getPrototypeOf(error)) as Error;
  const define = (key: string, value: unknown): void =>
    // Own and enumerable: also loggers without a serializer for errors write them.
    void Object.defineProperty(copy, key, { value, enumerable: true, configurable: true });
  for (const [key, value] of Object.entries(shown)) define(key, value);
  if (cause !== undefined && depth < MAX_CAUSES) {
    define("cause", cause instanceof Error ? bareError(cause, depth + 1) : String(cause));
  }
  return copy;
}

/** Returns the fields of a map without secrets. `path`: the maps and lists around it, for circular ones. */
function loggedFields(fields: LogFields, path: readonly unknown[]): LogFields {
  const logged: Record<string, unknown> = {};
  for (const key of Object.keys(fields)) logged[key] = loggedValue(key, fields[key], path);
  return logged;
}

function loggedValue(key: string, value: unknown, path: readonly unknown[]): unknown {
  if (typeof value === "string") return isSecretName(key) ? REDACTED : value;
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Error) {
    // A storage or a plugin may quote the address of a server with its password.
    const safe = redactError(value, []);
    const plain = plainError(safe);
    errorBehind.set(plain, safe);
    return plain;
  }
  if (path.includes(value)) return "[circular]";
  if (Array.isArray(value)) return value.map((item) => loggedValue(key, item, [...path, value]));
  const prototype: unknown = Object.getPrototypeOf(value);
  // Objects of a class print themselves, as `Secret` and `Date` do.
  if (prototype !== Object.prototype && prototype !== null) return value;
  return loggedFields(value as LogFields, [...path, value]);
}

function logsDebug(logger: Logger): boolean {
  // Called on the logger: a method may need it.
  return typeof logger.isDebugEnabled === "function" ? logger.isDebugEnabled() : logger.isDebugEnabled ?? true;
}

/** Returns `logger` with `fields` added to each of its lines; fields of a line win. */
export function withFields(logger: Logger, fields: LogFields): Logger {
  const isDebugEnabled = logsDebug(logger);
  return {
    isDebugEnabled,
    debug: isDebugEnabled ? (message, more) => logger.debug(message, { ...fields, ...more }) : ignore,
    info: (message, more) => logger.info(message, { ...fields, ...more }),
    warn: (message, more) => logger.warn(message, { ...fields, ...more }),
    error: (message, more) => logger.error(message, { ...fields, ...more }),
  };
}

/**
 * Returns `logger` as the core and handlers call it: errors in fields become plain objects, strings under names of secrets
 * are redacted, and a logger that throws is ignored, for an event must not be refused because it could not be logged.
 */
export function coreLogger(logger: Logger): Logger {
  const safe = (level: Exclude<keyof Logger, "isDebugEnabled">) => (message: string, fields: LogFields = {}): void => {
    try {
      logger[level](message, loggedFields(fields, []));
    } catch {
      // A logger that fails cannot report that.
    }
  };
  const isDebugEnabled = logsDebug(logger);
  const debug = isDebugEnabled ? safe("debug") : ignore;
  return { isDebugEnabled, debug, info: safe("info"), warn: safe("warn"), error: safe("error") };
}
