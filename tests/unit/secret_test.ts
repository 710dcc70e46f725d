import assert from "node:assert/strict";
import { format, inspect } from "node:util";
import { NotAuthenticError, Secret } from "@b24/onappupdate";
import { describe, it } from "../support/test.ts";

const VALUE = "3a0f7d66007e2a1c0056b0f100000001";

describe("Secret", () => {
  const secret = new Secret(VALUE);
  const nested = { a: [{ b: new Map([["c", new Set([secret])]]) }], secret };

  const printed: Readonly<Record<string, () => string>> = {
    "inspect()": () => inspect(secret),
    "inspect() of a structure": () => inspect(nested, { depth: Infinity }),
    "inspect() with showHidden": () => inspect(nested, { showHidden: true, depth: Infinity }),
    "inspect() with getters": () => inspect(secret, { getters: true, showHidden: true, showProxy: true }),
    "inspect() in colours": () => inspect(secret, { colors: true }),
    "console formats": () => format("%s %o %O %j", secret, secret, secret, secret),
    "console arguments": () => format(secret, [secret], "token", secret),
    "String()": () => String(secret),
    "a template": () => `${secret}`,
    "an array in a template": () => `${[secret]}`,
    "concatenation": () => "token " + secret,
    "toLocaleString()": () => secret.toLocaleString(),
    "JSON": () => JSON.stringify(nested),
    "JSON with a replacer": () => JSON.stringify({ secret }, (_, value) => value),
    "an error's message": () => new NotAuthenticError(`refused ${secret}`).message,
    "an error's stack and cause": () => inspect(new Error(`refused ${secret}`, { cause: secret })),
    "an AggregateError": () => inspect(new AggregateError([new Error("x", { cause: { secret } })], String(secret))),
    "URLSearchParams": () =>
      new URLSearchParams({ auth: secret as unknown as string }).toString().replaceAll("%5B", "[")
        .replaceAll("%5D", "]"),
  };
  for (const [where, print] of Object.entries(printed)) {
    it(`prints as [redacted] in ${where}`, () => {
      const text = print();
      assert.match(text, /\[redacted\]/);
      assert.doesNotMatch(text, new RegExp(VALUE));
    });
  }

  const hidden: Readonly<Record<string, () => unknown>> = {
    "inspect() without custom inspection": () => inspect(secret, { customInspect: false, showHidden: true }),
    "inspect() beyond its depth": () => inspect({ a: { b: { secret } } }, { depth: 0 }),
    "Object.keys()": () => Object.keys(secret),
    "Object.entries()": () => Object.entries(secret),
    "own property names and symbols": () => Reflect.ownKeys(secret).map(String),
    "for in": () => {
      const keys = [];
      for (const key in secret) keys.push(key);
      return keys;
    },
    "spread": () => ({ ...secret }),
    "Object.assign()": () => Object.assign({}, secret),
    "structuredClone()": () => structuredClone({ secret }),
    "a failed assertion": () => assertionMessage(() => assert.deepEqual({ secret } as unknown, { secret: "other" })),
    "valueOf() as a number": () => Number(secret),
  };
  for (const [where, show] of Object.entries(hidden)) {
    it(`reveals nothing to ${where}`, () => {
      const shown = show();
      assert.doesNotMatch(inspect(shown, { showHidden: true, depth: Infinity }), new RegExp(VALUE));
      if (Array.isArray(shown)) assert.deepEqual(shown, []);
    });
  }

  for (const inspector of ["nodejs.util.inspect.custom", "Deno.customInspect"]) {
    it(`implements ${inspector} on any runtime`, () => {
      const answer = Reflect.get(secret, Symbol.for(inspector)) as () => unknown;
      assert.equal(answer.call(secret), "[redacted]");
    });
  }

  it("reveal() returns the value", () => {
    for (const value of [VALUE, "", "Ключ", "\0"]) assert.equal(new Secret(value).reveal(), value);
  });

  const equality: readonly (readonly [a: string, b: string, equal: boolean])[] = [
    [VALUE, VALUE, true],
    [VALUE, VALUE.toUpperCase(), false],
    [VALUE, `${VALUE.slice(0, -1)}2`, false],
    [VALUE, `4${VALUE.slice(1)}`, false],
    [VALUE, VALUE.slice(0, -1), false],
    [VALUE, VALUE + VALUE, false],
    [VALUE, `${VALUE} `, false],
    ["", "", true],
    ["", "a", false],
    ["a", "", false],
    ["\0", "", false],
    ["", "\0", false],
    ["ab", "abab", false],
    ["abab", "ab", false],
    ["aa", "a", false],
    ["a", "aa", false],
    ["Ключ", "Ключ", true],
    ["Ключ", "Клюш", false],
    ["🔑", "🔑", true],
    ["🔑", "🔒", false],
    // One letter written in two ways is two tokens.
    ["\u00e9", "e\u0301", false],
  ];
  for (const [a, b, equal] of equality) {
    it(`equals() ${JSON.stringify(a)} and ${JSON.stringify(b)}: ${equal}`, () => {
      assert.equal(new Secret(a).equals(b), equal);
      assert.equal(new Secret(a).equals(new Secret(b)), equal);
      assert.equal(new Secret(b).equals(a), equal);
    });
  }
});

function assertionMessage(fails: () => void): string {
  try {
    fails();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error("it did not fail");
}
