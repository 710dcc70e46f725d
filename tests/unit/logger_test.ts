// deno-lint-ignore-file no-console -- consoleLogger() writes to it
import assert from "node:assert/strict";
import { B24Error, consoleLogger, type LogFields, type Logger, NonRetriableError, Secret } from "@b24/onappupdate";
import { coreLogger, withFields } from "../../src/logger.ts";
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

  it("writes debug lines only if its level is debug", () => {
    const all = (logger: Logger): string[] =>
      onConsole(() => LEVELS.forEach((level) => logger[level]("x"))).map(([method]) => method);
    assert.deepEqual(all(consoleLogger()), ["info", "warn", "error"]);
    assert.deepEqual(all(consoleLogger({ level: "debug" })), ["debug", "info", "warn", "error"]);
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

describe("consoleLogger() refuses", () => {
  it("a level that it does not have", () => {
    assert.throws(() => consoleLogger({ level: "warn" as never }), {
      name: "TypeError",
      message: 'cannot log to the console with level "warn", wanted "debug" or "info"',
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
