// deno-lint-ignore-file no-console -- consoleLogger() writes to it
import assert from "node:assert/strict";
import {
  B24Error,
  consoleLogger,
  createApp,
  type LogFields,
  type Logger,
  memoryStorage,
  NonRetriableError,
  pinoLogger,
  Secret,
} from "@b24/onappupdate";
import { type Level, pino } from "pino";
import { coreLogger, withFields } from "../../src/logger.ts";
import { quietLogger } from "../support/app.ts";
import { describe, it } from "../support/test.ts";

const LEVELS = ["debug", "info", "warn", "error"] as const;
type Line = readonly [level: string, message: string, fields?: LogFields];

function recording(): { readonly logger: Logger; readonly lines: Line[] } {
  const lines: Line[] = [];
  const entries = LEVELS.map((level) => [level, (...line: [string, LogFields?]) => void lines.push([level, ...line])]);
  return { logger: Object.fromEntries(entries), lines };
}

/** Returns what `write` writes to the console, by method. */
function onConsole(write: () => void): [method: string, line: string][] {
  const written: [string, string][] = [];
  const methods = LEVELS.map((level) => [level, console[level]] as const);
  for (const [level] of methods) console[level] = (line: string): void => void written.push([level, line]);
  try {
    write();
  } finally {
    for (const [level, method] of methods) console[level] = method;
  }
  return written;
}

describe("consoleLogger()", () => {
  it("writes one line of JSON with time, level, message and fields", () => {
    const [[method, line]] = onConsole(() => consoleLogger().info("portal upgraded", { to: "3.0.0", size: 1n })) as [
      [string, string],
    ];
    const { time, ...rest } = JSON.parse(line);
    assert.equal(method, "info");
    assert.equal(new Date(time).toISOString(), time);
    assert.deepEqual(rest, { level: "info", message: "portal upgraded", to: "3.0.0", size: "1" });
    assert.doesNotMatch(line, /\n/);
  });

  it("writes lines of its level and above", () => {
    const all = (logger: Logger): string[] =>
      onConsole(() => LEVELS.forEach((level) => logger[level]("x"))).map(([method]) => method);
    assert.deepEqual(all(consoleLogger()), ["info", "warn", "error"]);
    assert.deepEqual(all(consoleLogger({ level: "debug" })), ["debug", "info", "warn", "error"]);
    assert.deepEqual(all(consoleLogger({ level: "warn" })), ["warn", "error"]);
    assert.deepEqual(all(consoleLogger({ level: "error" })), ["error"]);
  });

  it("writes errors as objects, and secrets as [redacted]", () => {
    const err = new TypeError("no", { cause: new NonRetriableError("never", { cause: "a string" }) });
    const [[, line]] = onConsole(() => consoleLogger().warn("x", { err, token: new Secret("abcdefgh") })) as [
      [string, string],
    ];
    const { err: plain, token } = JSON.parse(line);
    assert.deepEqual(plain, {
      name: "TypeError",
      message: "no",
      cause: { name: "NonRetriableError", code: "non_retriable", message: "never", cause: "a string" },
    });
    assert.equal(token, "[redacted]");
  });
});

describe("pinoLogger()", () => {
  it("refuses what is no logger", () => {
    assert.throws(() => pinoLogger(undefined as never), {
      name: "TypeError",
      message: "cannot log with logger undefined, wanted a logger of pino or bunyan",
    });
  });

  const pinoAt = (level: Level): { readonly logger: ReturnType<typeof pino>; readonly lines: LogFields[] } => {
    const lines: LogFields[] = [];
    return { lines, logger: pino({ level }, { write: (line: string) => void lines.push(JSON.parse(line)) }) };
  };

  it("passes message and fields to a logger of pino, with errors and without secrets", () => {
    const { logger, lines } = pinoAt("info");
    const core = withFields(coreLogger(pinoLogger(logger)), { memberId: "m" });
    assert.equal(core.isDebugEnabled, false);
    const err = new NonRetriableError("never", { cause: new TypeError("no") });
    for (const level of LEVELS) core[level]("upgrade failed", { event: "upgrade.failed", err, auth: new Secret("a1") });
    const seen = lines.map(({ level, msg, memberId, event, err, auth }) => {
      const { name, code, message } = err as LogFields;
      return [level, msg, memberId, event, auth, name, code, message];
    });
    const wanted = ["upgrade failed", "m", "upgrade.failed", "[redacted]", "NonRetriableError", "non_retriable"];
    // pino adds the message of the cause.
    assert.deepEqual(seen, [30, 40, 50].map((level) => [level, ...wanted, "never: no"]));
    for (const { err } of lines) {
      const { type, stack } = err as LogFields;
      assert.equal(type, "NonRetriableError");
      assert.match(String(stack), /never\n +at .*logger_test[^]*caused by: TypeError: no\n +at /);
    }
    core.warn("no fields");
    assert.equal(lines.at(-1)!["msg"], "no fields");
    assert.equal(pinoLogger(pinoAt("debug").logger).isDebugEnabled, true);
  });

  it("passes no other members of errors, which may hold secrets; a logger without serializers writes the rest too", () => {
    const lines: string[] = [];
    const line = (fields: object): void => void lines.push(JSON.stringify(fields));
    const core = coreLogger(pinoLogger({ debug: line, info: line, warn: line, error: line }));
    const cause = Object.assign(new Error("no"), { config: { auth: "acce55" } });
    core.warn("failed", { err: Object.assign(new TypeError("never", { cause }), { code: "E1", config: "acce55" }) });
    const { err: { name, message, code, cause: inner } } = JSON.parse(lines[0]!);
    assert.deepEqual([name, message, code, inner.message], ["TypeError", "never", "E1", "no"]);
    assert.doesNotMatch(lines[0]!, /acce55|config/);
  });

  it("logs what an app does, and its debug lines at that level only", async () => {
    for (const level of ["info", "debug"] as const) {
      const { logger, lines } = pinoAt(level);
      const app = createApp({ storage: memoryStorage(), logger: pinoLogger(logger) });
      assert.equal((await app.fetch(new Request("http://localhost/"))).status, 503);
      const { msg, event, err } = lines.find(({ level }) => level === 50)!;
      assert.deepEqual([msg, event], ["app cannot start", "app.start_failed"]);
      assert.match((err as Error).message, /no plugin|verif/);
      await app.close();
    }
  });

  it("is needed: createApp() refuses loggers of pino and bunyan, whose lines would have no fields, and says what to do", () => {
    const bunyan = { ...quietLogger, addStream: () => {}, addSerializers: () => {} };
    for (const logger of [pinoAt("info").logger, pinoAt("info").logger.child({ a: 1 }), bunyan]) {
      assert.throws(
        () => createApp({ storage: memoryStorage(), logger }),
        { name: "TypeError", message: /logger that takes fields before the message, wanted pinoLogger\(logger\)$/ },
      );
    }
    // As winston's, which takes the message first.
    const winston = { ...quietLogger, isLevelEnabled: () => true, child: () => {} };
    createApp({ storage: memoryStorage(), logger: winston });
  });
});

describe("consoleLogger() refuses", () => {
  it("a level that it does not have", () => {
    assert.throws(() => consoleLogger({ level: "loud" as never }), {
      name: "TypeError",
      message: 'cannot log to the console with level "loud", wanted "debug" or "info" or "warn" or "error"',
    });
  });
});

describe("coreLogger()", () => {
  it("does not call debug of a logger that drops it, also with more fields", () => {
    const { logger, lines } = recording();
    for (const isDebugEnabled of [false, true]) {
      const core = coreLogger({ ...logger, isDebugEnabled });
      for (const one of [core, withFields(core, { portal: 1 }), withFields(withFields(core, {}), {})]) {
        one.debug("x");
        one.info("y");
      }
    }
    const levels = lines.map(([level]) => level);
    assert.deepEqual(levels, [...Array(3).fill("info"), ...Array(3).fill(["debug", "info"]).flat()]);
    // A method, as winston has it.
    for (const level of ["info", "debug"]) {
      const own = {
        ...logger,
        level,
        isDebugEnabled(): boolean {
          return this.level === "debug";
        },
      };
      assert.equal(coreLogger(own).isDebugEnabled, level === "debug");
      assert.equal(withFields(own, {}).isDebugEnabled, level === "debug");
    }
    assert.deepEqual([consoleLogger(), consoleLogger({ level: "debug" })].map((one) => one.isDebugEnabled), [
      false,
      true,
    ]);
  });

  it("passes errors on as plain objects with their codes", () => {
    const { logger, lines } = recording();
    const err = new B24Error({ code: "EXPIRED_TOKEN", description: "", status: 401, method: "profile" });
    coreLogger(logger).error("x", { event: "x.failed", err });
    assert.deepEqual(lines, [["error", "x", {
      event: "x.failed",
      err: {
        name: "B24Error",
        code: "bitrix24",
        b24Code: "EXPIRED_TOKEN",
        message: "profile answered 401 EXPIRED_TOKEN",
      },
    }]]);
  });

  it("passes a DOMException on, whose accessors work on the original only", () => {
    const { logger, lines } = recording();
    coreLogger(logger).error("x", { event: "x.failed", err: new DOMException("it took too long", "TimeoutError") });
    const err = { name: "TimeoutError", code: 23, message: "it took too long" };
    assert.deepEqual(lines, [["error", "x", { event: "x.failed", err }]]);
  });

  it("ends a circle of causes", () => {
    const { logger, lines } = recording();
    const err = new Error("round");
    err.cause = err;
    coreLogger(logger).error("x", { err });
    let depth = 0;
    for (let at = lines[0]![2]!["err"] as LogFields | undefined; at !== undefined; depth++) {
      at = at["cause"] as LogFields | undefined;
    }
    assert.equal(depth, 11);
  });

  it("redacts strings under the names of secrets, also in maps and lists", () => {
    const { logger, lines } = recording();
    const circle: Record<string, unknown> = { AUTH_ID: "a1" };
    circle.self = [circle];
    const at = new Date(0);
    coreLogger(logger).info("x", {
      ...{ auth: "a1", refresh_token: "b2", fencingToken: 3, hasTokens: true, memberId: "m", at },
      body: { auth: { access_token: "c3", member_id: "m", err: new TypeError("no") }, client_secret: ["d4"] },
      circle,
    });
    assert.deepEqual(lines, [["info", "x", {
      ...{ auth: "[redacted]", refresh_token: "[redacted]", fencingToken: 3, hasTokens: true, memberId: "m", at },
      body: {
        auth: { access_token: "[redacted]", member_id: "m", err: { name: "TypeError", message: "no" } },
        client_secret: ["[redacted]"],
      },
      circle: { AUTH_ID: "[redacted]", self: ["[circular]"] },
    }]]);
  });

  it("ignores a logger that throws", () => {
    const boom = (): never => {
      throw new Error("disk full");
    };
    coreLogger({ debug: boom, info: boom, warn: boom, error: boom }).error("x");
  });
});

describe("withFields()", () => {
  it("adds its fields to every line; fields of the line win", () => {
    const { logger, lines } = recording();
    const child = withFields(logger, { memberId: "a", plugin: "rest" });
    for (const level of LEVELS) child[level]("x", { plugin: "mine" });
    assert.deepEqual(lines, LEVELS.map((level) => [level, "x", { memberId: "a", plugin: "mine" }]));
  });
});
