import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { InputError } from "@b24/onappupdate/errors";
import { fuzz } from "../../../scripts/fuzz/decoder.ts";
import { decodeJson } from "../../../src/bitrix24/json.ts";
import { DECODE_LIMITS, type DecodeLimits } from "../../../src/bitrix24/tree.ts";
import { describe, it, test } from "../../support/test.ts";

test("decodeJson() reads the documented event", () => {
  const body = readFileSync(new URL("../../fixtures/update-documented.json", import.meta.url), "utf8");
  const tree = decodeJson(body);
  assert.deepEqual(JSON.parse(JSON.stringify(tree)), {
    event: "ONAPPUPDATE",
    data: { VERSION: "2.1.0", PREVIOUS_VERSION: "2.0.3", LANGUAGE_ID: "de" },
    ts: "1696527000",
    auth: {
      domain: "some-domain.bitrix24.com",
      scope: "imbot",
      access_token: "lh8ze36o8ulgrljbyscr36c7ay5sinva",
      refresh_token: "5f1ih5tsnsb11sc5heg3kp4ywqnjhd09",
      expires_in: 3600,
      member_id: "d41d8cd98f00b204e9800998ecf8427e",
      application_token: "c917d38f6bdb84e9d9e0bfe9d585be73",
    },
  });
});

describe("decodeJson() keeps the values of JSON", () => {
  const bodies = [
    `{}`,
    `{"a":null,"b":true,"c":false,"d":-1.5e-7,"e":"","f":[],"g":{}}`,
    `{"a":[1,["2",[null]],{"b":[{}]}]}`,
    `{"":{"":"x"},"a b":1,"a.b":2,"a[b]":3,"ключ":"Привет"}`,
    `{"b":1,"a":2,"-1":3}`,
  ];
  for (const body of bodies) it(body, () => assert.equal(JSON.stringify(decodeJson(body)), body));

  it("the last of repeated keys", () => {
    assert.equal(JSON.stringify(decodeJson(`{"a":1,"b":2,"a":{"c":3,"c":4}}`)), `{"a":{"c":4},"b":2}`);
  });
  it("space around it", () => assert.equal(JSON.stringify(decodeJson(` \n{"a" :\t1}\r\n`)), `{"a":1}`));
});

test("decodeJson() returns trees without a prototype", () => {
  const tree = decodeJson(`{"a":{"b":{}},"c":[{}]}`) as unknown as { a: { b: object }; c: object[] };
  for (const made of [tree, tree.a, tree.a.b, tree.c[0]]) assert.equal(Object.getPrototypeOf(made), null);
  assert.equal(Object.getPrototypeOf(tree.c), Array.prototype);
});

describe("decodeJson() does not pollute prototypes", () => {
  for (const name of ["__proto__", "constructor", "prototype", "hasOwnProperty", "toString"]) {
    for (const body of [`{"${name}":{"polluted":"x"}}`, `{"a":[{"${name}":{"prototype":{"polluted":"x"}}}]}`]) {
      it(body, () => {
        const before = [Object, Array].map((made) => Object.getOwnPropertyDescriptors(made.prototype));
        assert.equal(JSON.stringify(decodeJson(body)), body);
        const after = [Object, Array].map((made) => Object.getOwnPropertyDescriptors(made.prototype));
        assert.deepEqual(after, before);
      });
    }
  }
});

/** The only issue of the InputError for `body`. */
function refusal(body: string, limits?: Partial<DecodeLimits>): { path: string; saw: string; wanted: string } {
  try {
    decodeJson(body, limits);
  } catch (error) {
    assert(error instanceof InputError);
    assert.equal(error.cause, undefined);
    assert.equal(error.issues.length, 1);
    return { ...error.issues[0]! };
  }
  assert.fail(`decoded ${body.slice(0, 80)}`);
}

describe("decodeJson() refuses what is not an object, and quotes none of it", () => {
  const bodies: readonly (readonly [body: string, saw: string])[] = [
    ["null", "null"],
    ["[]", "an array"],
    [`[{"event":"ONAPPUPDATE"}]`, "an array"],
    [`"51856fefc120"`, "a string of 12 characters"],
    ["51856", "a number"],
    ["true", "a boolean"],
  ];
  for (const [body, saw] of bodies) {
    it(body, () => assert.deepEqual(refusal(body), { path: "", saw, wanted: "an object" }));
  }
});

describe("decodeJson() refuses what is not JSON, and quotes none of it", () => {
  const bodies = [
    " ",
    "{",
    "undefined",
    "event=ONAPPUPDATE",
    `{"auth":{"access_token":"51856fefc120afa4"`,
    `{"a":1}{"b":2}`,
    `{'a':1}`,
    `{"a":01}`,
    `{"a":NaN}`,
    `{"a":"\n"}`,
    `{"a":1,}`,
    `\ufeff{"a":1}`,
  ];
  for (const body of bodies) {
    it(JSON.stringify(body), () => {
      const saw = `${body.length} characters that are not JSON`;
      assert.deepEqual(refusal(body), { path: "", saw, wanted: "a JSON object" });
    });
  }

  it("an empty body", () => assert.deepEqual(refusal(""), { path: "", saw: "nothing", wanted: "a JSON object" }));
});

test("decodeJson() refuses numbers that are too large for JavaScript", () => {
  const issue = { saw: "a number that is too large", wanted: "a number below 1e308" };
  assert.deepEqual(refusal(`{"a":[1,1e999]}`), { path: "a.1", ...issue });
  assert.deepEqual(refusal(`{"a":{"b":-1e999}}`), { path: "a.b", ...issue });
});

const LIMITS: readonly (readonly [
  keyof DecodeLimits,
  body: (n: number) => string,
  issue: { path: string; saw: string; wanted: string },
])[] = [
  ["fields", (n) => JSON.stringify(Object.fromEntries(Array.from({ length: n }, (_, i) => [`k${i}`, i]))), {
    path: "",
    saw: "more than 5000 fields",
    wanted: "at most 5000 (limits.fields)",
  }],
  ["fields", (n) => JSON.stringify({ a: Array(n - 1).fill(0) }), {
    path: "",
    saw: "more than 5000 fields",
    wanted: "at most 5000 (limits.fields)",
  }],
  ["fields", (n) => `{"a":[1${",[]".repeat(n - 2)}]}`, {
    path: "",
    saw: "more than 5000 fields",
    wanted: "at most 5000 (limits.fields)",
  }],
  ["depth", (n) => `${'{"a":'.repeat(n)}1${"}".repeat(n)}`, {
    path: `a${".a".repeat(15)}`,
    saw: "more than 16 levels",
    wanted: "at most 16 (limits.depth)",
  }],
  ["depth", (n) => `{"a":${"[".repeat(n - 1)}${"]".repeat(n - 1)}}`, {
    path: `a${".0".repeat(15)}`,
    saw: "more than 16 levels",
    wanted: "at most 16 (limits.depth)",
  }],
  ["keyLength", (n) => `{"a":{"${"k".repeat(n)}":1}}`, {
    path: `a.${"k".repeat(8)}…`,
    saw: "a key of 257 characters",
    wanted: "at most 256 (limits.keyLength)",
  }],
  ["valueLength", (n) => `{"a":["${"v".repeat(n)}"]}`, {
    path: "a.0",
    saw: "a string of 1048577 characters",
    wanted: "at most 1048576 (limits.valueLength)",
  }],
];

describe("decodeJson() accepts what is at a limit and refuses one more", () => {
  for (const [name, body, issue] of LIMITS) {
    it(`${name}, ${body(3)}`, () => {
      const limit = DECODE_LIMITS[name];
      decodeJson(body(limit));
      assert.deepEqual(refusal(body(limit + 1)), issue);
    });
    it(`${name}, ${body(3)}, with a configured limit`, () => {
      decodeJson(body(3), { [name]: 3 });
      assert.equal(refusal(body(4), { [name]: 3 }).wanted, `at most 3 (limits.${name})`);
    });
  }
});

test("decodeJson() does not exhaust the stack on deep nesting", () => {
  for (const [deep, saw] of [[4000, "more than 16 levels"], [1_000_000, "more than 5000 fields"]] as const) {
    assert.equal(refusal(`{"a":${"[".repeat(deep)}${"]".repeat(deep)}}`).saw, saw);
    assert.equal(refusal(`${'{"a":'.repeat(deep)}1${"}".repeat(deep)}`).saw, saw);
  }
  assert.equal(refusal(`{"a":${"[".repeat(4000)}`).wanted, "a JSON object");
});

test("decodeJson() does not parse a body with more containers than fields are allowed", () => {
  const { parse } = JSON;
  let parsed = 0;
  try {
    JSON.parse = (...args) => (parsed++, parse(...args));
    assert.equal(refusal(`{"a":[${"[],".repeat(300_000)}0]}`).saw, "more than 5000 fields");
    assert.equal(parsed, 0);
    decodeJson(`{"a":"${"[".repeat(300_000)}"}`);
    assert.equal(parsed, 1);
  } finally {
    JSON.parse = parse;
  }
});

test("decodeJson() escapes the keys that it quotes", () => {
  assert.equal(refusal(String.raw`{"a\n\u001b[31m\"":1e999}`).path, String.raw`a\n\u001b[31m\"`);
  assert.equal(refusal(`{"":{"\u202eb":1e999}}`).path, String.raw`"".\u202eb`);
});

test("decodeJson() survives 10,000 generated bodies", () => {
  const { decoded, refused } = fuzz(1, 10_000, ["json"]);
  assert(decoded > 2000 && refused > 200, `${decoded} decoded, ${refused} refused`);
});
