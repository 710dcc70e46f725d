import assert from "node:assert/strict";
import {
  checkOptions,
  coerced,
  consoleLogger,
  createApp,
  memoryStorage,
  option,
  type OptionRules,
} from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { b24jssdk } from "@b24/onappupdate/b24jssdk";
import { denoKvStorage } from "@b24/onappupdate/deno-kv-storage";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { health } from "@b24/onappupdate/health";
import { serve } from "@b24/onappupdate/node-server";
import { openingPage } from "@b24/onappupdate/opening-page";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { registrations } from "@b24/onappupdate/registrations";
import { rest } from "@b24/onappupdate/rest";
import { copyStorage, encrypted, writeInOrder } from "@b24/onappupdate/storage";
import { misspelled } from "../../src/check_options.ts";
import { quietLogger, trustAll } from "../support/app.ts";
import { describe, it } from "../support/test.ts";

interface Options {
  readonly name: string;
  readonly count?: number;
  readonly mode?: "fast" | "slow";
  readonly isDry?: boolean;
  readonly hosts?: readonly string[];
  readonly limits?: { readonly bytes?: number };
  readonly key?: string;
  readonly onDone?: () => void;
}

const RULES: OptionRules<Options> = {
  name: option.required(option.text("a name")),
  count: option.number({ min: 1, max: 9, isWhole: true }),
  mode: option.oneOf("fast", "slow"),
  isDry: option.flag(),
  hosts: option.list("a list of hosts", option.text("a host")),
  limits: option.object<NonNullable<Options["limits"]>>({ bytes: option.number({ min: 0 }) }),
  key: option.value("a key of 8 characters", (key) => typeof key === "string" && key.length === 8, { isSecret: true }),
  onDone: option.function(),
};

describe("checkOptions()", () => {
  it("accepts valid options, and undefined for those that are not required", () => {
    checkOptions("cannot work", { name: "a" }, RULES);
    checkOptions("cannot work", { name: "a", count: undefined, limits: { bytes: undefined } } as never, RULES);
    const all = { count: 9, mode: "slow", isDry: false, hosts: ["a"], limits: { bytes: 0 }, key: "12345678" } as const;
    checkOptions("cannot work", { name: "a", ...all, onDone: () => {} }, RULES);
  });

  const mistakes: readonly (readonly [options: unknown, message: string])[] = [
    [undefined, "options undefined, wanted an object with name, count, mode, isDry, hosts, limits, …"],
    // Such as the token of a bot.
    ["x", "options a string, wanted an object with name, count, mode, isDry, hosts, limits, …"],
    [[], "options a list, wanted an object with name, count, mode, isDry, hosts, limits, …"],
    [{}, "name undefined, wanted a name"],
    [{ name: " " }, 'name " ", wanted a name'],
    [{ name: null }, "name null, wanted a name"],
    [{ name: "a", count: 0 }, "count 0, wanted a whole number from 1 to 9"],
    [{ name: "a", count: 1.5 }, "count 1.5, wanted a whole number from 1 to 9"],
    [{ name: "a", count: "1" }, 'count "1", wanted a whole number from 1 to 9'],
    [{ name: "a", count: NaN }, "count NaN, wanted a whole number from 1 to 9"],
    [{ name: "a", mode: "quick" }, 'mode "quick", wanted "fast" or "slow"'],
    [{ name: "a", isDry: 1 }, "isDry 1, wanted true or false"],
    [{ name: "a", hosts: "b" }, 'hosts "b", wanted a list of hosts'],
    [{ name: "a", hosts: ["b", ""] }, 'hosts.1 "", wanted a host'],
    [{ name: "a", hosts: [undefined] }, "hosts.0 undefined, wanted a host"],
    [{ name: "a", limits: 1 }, "limits 1, wanted an object with bytes"],
    [{ name: "a", limits: { bytes: Infinity } }, "limits.bytes Infinity, wanted a number from 0"],
    [{ name: "a", onDone: {} }, "onDone an object, wanted a function"],
    [{ name: "x".repeat(99), mode: "y".repeat(99) }, `mode "${"y".repeat(60)}…", wanted "fast" or "slow"`],
    // Not even a part of a secret is shown.
    [{ name: "a", key: "3f9c" }, "key a string, wanted a key of 8 characters"],
    [{ name: "a", key: "" }, "key an empty string, wanted a key of 8 characters"],
    // Names.
    [{ name: "a", cuont: 1 }, "the option cuont that does not exist, wanted count"],
    [{ name: "a", IsDry: true }, "the option IsDry that does not exist, wanted isDry"],
    [{ name: "a", limits: { byte: 1 } }, "the option limits.byte that does not exist, wanted bytes"],
    [{ name: "a", limits: { timeoutMs: 1 } }, "the option limits.timeoutMs that does not exist, wanted bytes"],
    [{ name: "a", toString: 1 }, `the option toString that does not exist, wanted ${Object.keys(RULES).join(" or ")}`],
  ];
  for (const [options, message] of mistakes) {
    it(`refuses ${JSON.stringify(options)?.slice(0, 60)}: ${message.slice(0, 60)}`, () => {
      assert.throws(() => checkOptions("cannot work", options as Options, RULES), {
        name: "TypeError",
        message: `cannot work with ${message}`,
      });
    });
  }
});

describe("option.signal() and option.number()", () => {
  const rules = { signal: option.signal(), limit: option.number({ min: 1, max: Infinity, isWhole: true }) };

  it("accept signals, also those of other realms, and an infinite whole number", () => {
    const { signal } = new AbortController();
    checkOptions("cannot wait", { signal, limit: Infinity }, rules);
    const foreign = { aborted: false, throwIfAborted: () => {}, addEventListener: () => {} };
    checkOptions("cannot wait", { signal: foreign, limit: 3 }, rules);
  });

  it("refuse the controller of a signal, and fractions", () => {
    const controller: object = new AbortController();
    assert.throws(() => checkOptions("cannot wait", { signal: controller, limit: 1 }, rules), {
      message: "cannot wait with signal an object, wanted an AbortSignal",
    });
    assert.throws(
      () => checkOptions("cannot wait", { signal: undefined, limit: 1.5 }, rules),
      /limit 1\.5, wanted a whole/,
    );
  });
});

describe("misspelled()", () => {
  const KNOWN = ["close", "ONAPPINSTALL", "ONAPPUNINSTALL", "ONAPPUPDATE"];
  const names: readonly (readonly [name: string, meant: string | undefined])[] = [
    ["close", undefined],
    ["Close", "close"],
    ["clsoe", "close"],
    ["clock", undefined],
    ["ONAPPUDPATE", "ONAPPUPDATE"],
    ["APPUPDATE", "ONAPPUPDATE"],
    ["ONAPPUNINSTAL", "ONAPPUNINSTALL"],
    ["ONTASKUPDATE", undefined],
    ["ONCRMDEALUPDATE", undefined],
    ["", undefined],
  ];
  for (const [name, meant] of names) {
    it(`takes ${JSON.stringify(name)} for ${meant ?? "a name of its own"}`, () => {
      assert.equal(misspelled(name, KNOWN), meant);
    });
  }
});

describe("every function of this package with options", () => {
  const unknown = { unknwon: 1 } as never;
  const client = { isOpen: true, sendCommand: () => {} } as never;
  const app = () => createApp({ storage: memoryStorage(), logger: quietLogger, tickEveryMs: false }).use(trustAll);
  const calls: Readonly<Record<string, (options: never) => unknown>> = {
    applicationToken,
    b24jssdk,
    rest,
    openingPage,
    fileStorage,
    memoryStorage,
    "encrypted()": (options) => encrypted(memoryStorage(), options),
    "denoKvStorage()": (options) => denoKvStorage({} as never, options),
    "redisStorage()": (options) => redisStorage(client, options),
    "registrations()": (options) => registrations({}, options),
    "serve()": (options) => serve({} as never, options),
    "health()": (options) => health(app(), options),
    coerced,
    consoleLogger,
    "copyStorage()": (options) => copyStorage(memoryStorage(), memoryStorage(), options),
    "writeInOrder()": (options) => writeInOrder(memoryStorage(), [], options),
    "app.on()": (options) => app().on("ONAPPTEST", () => {}, options),
    "app.upgrade()": (options) => app().upgrade("2", () => {}, options),
    "app.plan()": (query) => app().plan(query),
    "app.plan() with versions": (query) => app().plan({ from: "1", to: "2", ...query as object }),
    "app.tick()": (options) => app().tick(options),
    "app.opening()": (options) => app().opening("ticket", options),
    "admin.portals()": (filter) => app().admin.portals(filter),
    "admin.unverified()": (filter) => app().admin.unverified(filter),
    "admin.setTarget()": (change) => app().admin.setTarget("a", "2", change),
    "credentials.get()": (options) => app().credentials.get("a", options),
    "credentials.refresh()": (options) => app().credentials.refresh("a", {} as never, options),
    "credentials.call()": (options) => app().credentials.call("a", async () => {}, options),
  };
  for (const [name, call] of Object.entries(calls)) {
    it(`refuses unknown ones: ${name}`, async () => {
      await assert.rejects(async () => await call(unknown), {
        name: "TypeError",
        message: /^cannot .* with the option unknwon that does not exist, wanted /,
      });
    });
  }
});
