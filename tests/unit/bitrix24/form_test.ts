import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { InputError } from "@b24/onappupdate/errors";
import { fuzz } from "../../../scripts/fuzz/decoder.ts";
import { decodeForm } from "../../../src/bitrix24/form.ts";
import { DECODE_LIMITS, type DecodeLimits, type WireTree } from "../../../src/bitrix24/tree.ts";
import { describe, it, test } from "../../support/test.ts";

const folder = new URL("../../fixtures/", import.meta.url);
const fixture = (file: string): string => readFileSync(new URL(file, folder), "utf8");

/** With the prototypes of literals, so that it can be compared with them. */
const plain = (tree: WireTree): unknown => JSON.parse(JSON.stringify(tree));

const ENDPOINTS = {
  domain: "example.bitrix24.de",
  client_endpoint: "https://example.bitrix24.de/rest/",
  server_endpoint: "https://oauth.bitrix24.tech/rest/",
  member_id: "a223c6b3710f85df22e9377d6c4f7553",
  application_token: "51856fefc120afa4b628cc82d3935cce",
};
const USER = {
  access_token: "3a0f7d66007e2a1c0056b0f1000000010000071f4a9e2b7c5d8130aa64cf1e97b2d05e8c",
  refresh_token: "2a8ea466007e2a1c0056b0f10000000100000755b0c1d2e3f405162738495a6b7c8d9e0f",
  expires: "1785315600",
  expires_in: "3600",
  scope: "crm,placement,user_brief",
  user_id: "1",
};
const DOCUMENTED_USER = {
  access_token: "lh8ze36o8ulgrljbyscr36c7ay5sinva",
  refresh_token: "5f1ih5tsnsb11sc5heg3kp4ywqnjhd09",
  expires_in: "3600",
  scope: "imbot",
  member_id: "d41d8cd98f00b204e9800998ecf8427e",
  application_token: "c917d38f6bdb84e9d9e0bfe9d585be73",
};
const FIXTURES: Readonly<Record<string, unknown>> = {
  "install.form": {
    event: "ONAPPINSTALL",
    data: { VERSION: "2", ACTIVE: "Y", INSTALLED: "Y", LANGUAGE_ID: "ru" },
    ts: "1785300000",
    auth: { ...ENDPOINTS, ...USER, status: "S" },
  },
  "method-confirm.form": {
    event: "ONAPPMETHODCONFIRM",
    event_handler_id: "11",
    data: {
      TOKEN: "fkp963yuv1ggkfbs5z3f5hy8lilm0iw6",
      METHOD: "voximplant.user.get",
      CONFIRMED: "1",
      LANGUAGE_ID: "ru",
    },
    ts: "1478790852",
    auth: ENDPOINTS,
  },
  "payment.form": {
    event: "ONAPPPAYMENT",
    event_handler_id: "10",
    data: { CODE: "bitrix.gds_company", VERSION: "1", STATUS: "S", PAYMENT_EXPIRED: "N", DAYS: "28" },
    ts: "1466439714",
    auth: ENDPOINTS,
  },
  "test.form": {
    event: "ONAPPTEST",
    event_handler_id: "1",
    data: { QUERY: { any: "data", nested: { deep: "Привет" } }, LANGUAGE_ID: "en" },
    ts: "1573120286",
    auth: { ...ENDPOINTS, ...USER, status: "L" },
  },
  "uninstall.form": {
    event: "ONAPPUNINSTALL",
    event_handler_id: "9",
    data: { LANGUAGE_ID: "ru", CLEAN: "1" },
    ts: "1785399000",
    auth: ENDPOINTS,
  },
  "update-cloud.form": {
    event: "ONAPPUPDATE",
    event_handler_id: "196",
    data: { VERSION: "3", PREVIOUS_VERSION: "2", LANGUAGE_ID: "de" },
    ts: "1785312000",
    auth: { ...ENDPOINTS, ...USER, status: "S" },
  },
  "update-documented.form": {
    event: "ONAPPUPDATE",
    data: { VERSION: "2.1.0", PREVIOUS_VERSION: "2.0.3", LANGUAGE_ID: "de" },
    ts: "1696527000",
    auth: { ...DOCUMENTED_USER, domain: "some-domain.bitrix24.com" },
  },
  "update-first-docs.form": {
    event: "ONAPPUPDATE",
    data: { VERSION: "2", PREVIOUS_VERSION: "1", LANGUAGE_ID: "de" },
    ts: "1466439714",
    auth: { ...DOCUMENTED_USER, domain: "b24.hazz" },
  },
  "update-tokenless.form": {
    event: "ONAPPUPDATE",
    event_handler_id: "12",
    data: { VERSION: "3", PREVIOUS_VERSION: "2", LANGUAGE_ID: "ru" },
    ts: "1785312000",
    auth: {
      domain: "b24.company.example:8443",
      client_endpoint: "https://b24.company.example:8443/rest/",
      server_endpoint: "https://oauth.bitrix24.tech/rest/",
      member_id: "74ef8a46a75104de55d5d4a61b98ab6d",
      application_token: "c917d38f6bdb84e9d9e0bfe9d585be73",
    },
  },
};

describe("decodeForm() reads what Bitrix24 sends", () => {
  for (const file of readdirSync(folder).filter((file) => file.endsWith(".form"))) {
    it(file, () => assert.deepEqual(plain(decodeForm(fixture(file))), FIXTURES[file]));
  }

  it("the form of the documented event equals its JSON with numbers as strings", () => {
    const json = JSON.parse(
      fixture("update-documented.json"),
      (_, value) => typeof value === "number" ? String(value) : value,
    );
    assert.deepEqual(plain(decodeForm(fixture("update-documented.form"))), json);
  });
});

/** On the right, what `parse_str` and `json_encode` of PHP 8.2 make of it. */
const AS_PHP: readonly (readonly [body: string, json: string])[] = [
  // Nesting
  ["a=1", `{"a":"1"}`],
  ["a[b]=1", `{"a":{"b":"1"}}`],
  ["a[b][c][d]=1&a[b][e]=2", `{"a":{"b":{"c":{"d":"1"},"e":"2"}}}`],
  ["a%5Bb%5D=1&a%5bc%5d=2", `{"a":{"b":"1","c":"2"}}`],
  ["a[b%5D=1", `{"a":{"b":"1"}}`],
  ["a[b%255D]=1", `{"a":{"b%5D":"1"}}`],
  // Arrays
  ["a[]=1&a[]=2", `{"a":["1","2"]}`],
  ["a[0]=x&a[1]=y", `{"a":["x","y"]}`],
  ["a[]=x&a[1]=y&a[0]=z", `{"a":["z","y"]}`],
  ["a[1]=x&a[0]=y", `{"a":{"1":"x","0":"y"}}`],
  ["a[5]=x&a[]=y", `{"a":{"5":"x","6":"y"}}`],
  ["a[-5]=x&a[]=y", `{"a":{"-5":"x","-4":"y"}}`],
  ["a[-1]=x&a[]=y", `{"a":{"-1":"x","0":"y"}}`],
  ["a[]=1&a[-2]=2&a[]=3", `{"a":{"0":"1","-2":"2","1":"3"}}`],
  ["a[]=1&a[x]=2&a[]=3", `{"a":{"0":"1","x":"2","1":"3"}}`],
  ["a[01]=x&a[]=y", `{"a":{"01":"x","0":"y"}}`],
  ["a[-0]=x&a[]=y", `{"a":{"-0":"x","0":"y"}}`],
  ["a[1.5]=x&a[1e3]=y&a[]=z", `{"a":{"1.5":"x","1e3":"y","0":"z"}}`],
  ["a[2147483648]=1&a[]=2", `{"a":{"2147483648":"1","2147483649":"2"}}`],
  ["a[999999999999999]=1&a[]=2&a[]=3", `{"a":{"999999999999999":"1","1000000000000000":"2","1000000000000001":"3"}}`],
  ["a[9223372036854775808]=x&a[]=y", `{"a":{"9223372036854775808":"x","0":"y"}}`],
  ["a[][]=1&a[][]=2", `{"a":[["1"],["2"]]}`],
  ["a[][b]=1&a[][c]=2", `{"a":[{"b":"1"},{"c":"2"}]}`],
  ["a[0][x]=1&a[0][y]=2", `{"a":[{"x":"1","y":"2"}]}`],
  ["0=a&1=b&x=c", `{"0":"a","1":"b","x":"c"}`],
  // The last wins
  ["a=1&a=2", `{"a":"2"}`],
  ["a[b]=1&a[b]=2", `{"a":{"b":"2"}}`],
  ["a=1&a[b]=2", `{"a":{"b":"2"}}`],
  ["a[b]=1&a=2", `{"a":"2"}`],
  ["a[b]=1&a[b][c]=2", `{"a":{"b":{"c":"2"}}}`],
  ["a[b][c]=1&a[b]=2", `{"a":{"b":"2"}}`],
  ["a[]=1&a=2&a[]=3", `{"a":["3"]}`],
  // Brackets in odd places
  ["a[b]c=1", `{"a":{"b":"1"}}`],
  ["a[b]c[d]=1", `{"a":{"b":"1"}}`],
  ["a[b]][c]=1", `{"a":{"b":"1"}}`],
  ["a[b][c=1", `{"a":{"b":"1"}}`],
  ["a[b[c]=1", `{"a":{"b[c":"1"}}`],
  ["a[[b]=1", `{"a":{"[b":"1"}}`],
  ["a]=1&b]c[d]=2", `{"a]":"1","b]c":{"d":"2"}}`],
  ["[a]=1&[]=2&[b=3&=4&c=5", `{"c":"5"}`],
  // Pairs
  ["&&a=1&&", `{"a":"1"}`],
  ["a&b&c=1&d", `{"a":"","b":"","c":"1","d":""}`],
  ["a=&b[]", `{"a":"","b":[""]}`],
  ["a==b&c=d=e", `{"a":"=b","c":"d=e"}`],
  ["a=1;b=2&?c=3", `{"a":"1;b=2","?c":"3"}`],
  // Escapes
  ["a=b+c%20d%2Be", `{"a":"b c d+e"}`],
  ["a[b+c]=1", `{"a":{"b c":"1"}}`],
  ["a%2Bb=1&a%3Db=2&a%26b=3", `{"a+b":"1","a=b":"2","a&b":"3"}`],
  ["%zz=%zz&a=%&b=%4&c=%4g&d=%+%41", `{"%zz":"%zz","a":"%","b":"%4","c":"%4g","d":"% A"}`],
  ["a=100%25&b=%2541&c=%%41", `{"a":"100%","b":"%41","c":"%A"}`],
  ["%C3%A9=%c3%bc&é=ü%C3%BC", `{"é":"üü"}`],
  ["a=%F0%9F%98%80%zz", `{"a":"😀%zz"}`],
  ["a=%00", `{"a":"\\u0000"}`],
];

describe("decodeForm() reads as PHP does", () => {
  for (const [body, json] of AS_PHP) {
    it(body, () => assert.deepEqual(plain(decodeForm(body)), JSON.parse(json)));
  }
});

test("decodeForm() keeps dots, spaces and brackets in names, where PHP writes underscores", () => {
  const body = "a.b=1&c+d=2&+e=3&f.g[h.i]=4&j[k=5&l[+]=6&m%00n=7";
  assert.deepEqual(plain(decodeForm(body)), {
    "a.b": "1",
    "c d": "2",
    " e": "3",
    "f.g": { "h.i": "4" },
    "j[k": "5",
    l: { " ": "6" },
    "m\0n": "7",
  });
});

test("decodeForm() returns an empty tree for an empty body", () => {
  for (const body of ["", "&", "&&&"]) assert.deepEqual(Object.keys(decodeForm(body)), []);
});

test("decodeForm() returns trees without a prototype", () => {
  const tree = decodeForm("a[b][c]=1&d[][e]=2") as unknown as { a: { b: object }; d: object[] };
  for (const made of [tree, tree.a, tree.a.b, tree.d[0]]) assert.equal(Object.getPrototypeOf(made), null);
  assert.equal(Object.getPrototypeOf(tree.d), Array.prototype);
});

describe("decodeForm() does not pollute prototypes", () => {
  for (const name of ["__proto__", "constructor", "prototype", "hasOwnProperty", "toString"]) {
    const forms = [
      [`${name}=x`, `{"${name}":"x"}`],
      [`${name}[polluted]=x`, `{"${name}":{"polluted":"x"}}`],
      [`a[${name}][polluted]=x`, `{"a":{"${name}":{"polluted":"x"}}}`],
      [`a[][${name}][prototype][polluted]=x`, `{"a":[{"${name}":{"prototype":{"polluted":"x"}}}]}`],
      [`a=1&a[${name}]=x&${name}[]=y`, `{"a":{"${name}":"x"},"${name}":["y"]}`],
    ] as const;
    for (const [form, json] of forms) {
      it(form, () => {
        const before = [Object, Array].map((made) => Object.getOwnPropertyDescriptors(made.prototype));
        assert.equal(JSON.stringify(decodeForm(form)), json);
        const after = [Object, Array].map((made) => Object.getOwnPropertyDescriptors(made.prototype));
        assert.deepEqual(after, before);
      });
    }
  }
});

/** The only issue of the InputError for `body`. */
function refusal(body: string, limits?: Partial<DecodeLimits>): { path: string; saw: string; wanted: string } {
  try {
    decodeForm(body, limits);
  } catch (error) {
    assert(error instanceof InputError);
    assert.equal(error.issues.length, 1);
    return { ...error.issues[0]! };
  }
  assert.fail(`decoded ${body.slice(0, 80)}`);
}

const LIMITS: readonly (readonly [
  keyof DecodeLimits,
  body: (n: number) => string,
  issue: { path: string; saw: string; wanted: string },
])[] = [
  ["fields", (n) => "&a[]=1".repeat(n - 1), {
    path: "",
    saw: "more than 5000 fields",
    wanted: "at most 5000 (limits.fields)",
  }],
  ["fields", (n) => "a&".repeat(n), { path: "", saw: "more than 5000 fields", wanted: "at most 5000 (limits.fields)" }],
  ["fields", (n) => Array.from({ length: n / 2 }, (_, i) => `&a${i}[b]=1`).join("") + (n % 2 ? "&c" : ""), {
    path: "",
    saw: "more than 5000 fields",
    wanted: "at most 5000 (limits.fields)",
  }],
  ["fields", (n) => "=dropped&".repeat(n), {
    path: "",
    saw: "more than 5000 fields",
    wanted: "at most 5000 (limits.fields)",
  }],
  ["depth", (n) => `a${"[b]".repeat(n - 1)}=1`, {
    path: `a${".b".repeat(15)}`,
    saw: "more than 16 levels",
    wanted: "at most 16 (limits.depth)",
  }],
  ["depth", (n) => `a${"%5B%5D".repeat(n - 1)}`, {
    path: `a.${Array(15).fill('""').join(".")}`,
    saw: "more than 16 levels",
    wanted: "at most 16 (limits.depth)",
  }],
  ["keyLength", (n) => "k".repeat(n), {
    path: `${"k".repeat(8)}…`,
    saw: "a key of 257 characters",
    wanted: "at most 256 (limits.keyLength)",
  }],
  ["keyLength", (n) => `a[${"%D0%B9".repeat(n)}][c]=1`, {
    path: `a.${"\\u0439".repeat(8)}….c`,
    saw: "a key of 257 characters",
    wanted: "at most 256 (limits.keyLength)",
  }],
  ["valueLength", (n) => `a[b]=${"v".repeat(n)}`, {
    path: "a.b",
    saw: "a string of 1048577 characters",
    wanted: "at most 1048576 (limits.valueLength)",
  }],
  ["valueLength", (n) => `a=${"%D0%B9".repeat(n)}`, {
    path: "a",
    saw: "a string of 1048577 characters",
    wanted: "at most 1048576 (limits.valueLength)",
  }],
];

describe("decodeForm() accepts what is at a limit and refuses one more", () => {
  for (const [name, body, issue] of LIMITS) {
    it(`${name}, ${body(2)}`, () => {
      const limit = DECODE_LIMITS[name];
      decodeForm(body(limit));
      assert.deepEqual(refusal(body(limit + 1)), issue);
    });
    it(`${name}, ${body(2)}, with a configured limit`, () => {
      decodeForm(body(3), { [name]: 3 });
      assert.equal(refusal(body(4), { [name]: 3 }).wanted, `at most 3 (limits.${name})`);
    });
  }
});

test("decodeForm() applies the limits also to a cached name", () => {
  const cases = [["one[two][three]=1", { depth: 2 }], ["a[longer][b]=1", { keyLength: 5 }]] as const;
  for (const [body, narrow] of cases) {
    for (let times = 0; times < 2; times++) {
      decodeForm(body);
      assert.match(refusal(body, narrow).wanted, /^at most [25] \(limits\.(depth|keyLength)\)$/);
    }
  }
});

test("decodeForm() reads many different names correctly", () => {
  const names = Array.from({ length: 1000 }, (_, i) => `a${i}[b%5B${i}]`);
  for (let times = 0; times < 2; times++) {
    for (const [i, name] of names.entries()) {
      assert.deepEqual(plain(decodeForm(`${name}=${i}`)), { [`a${i}`]: { [`b[${i}`]: `${i}` } });
    }
  }
});

test("decodeForm() reads nothing after the field that exceeds a limit", () => {
  const notUtf8 = "&z=%FF";
  assert.equal(refusal("a=1&".repeat(10_000) + notUtf8).saw, "more than 5000 fields");
  assert.equal(refusal(`a${"[b]".repeat(1000)}=%FF`).saw, "more than 16 levels");
  assert.equal(refusal(`${"k".repeat(10_000)}=%FF`).saw, "a key of 10000 characters");
  assert.equal(refusal(`a=${"v".repeat(2_000_000)}${notUtf8}`).saw, "a string of 2000000 characters");
});

describe("decodeForm() refuses bytes that are not UTF-8", () => {
  const bytes = ["%FF", "%C3", "%C3%28", "%80", "%C0%80", "%ED%A0%80", "%F4%90%80%80", "%zz%FF", "x%FF%", "%E2%82zz"];
  for (const bad of bytes) {
    it(bad, () => {
      const issue = { saw: "bytes that are not UTF-8", wanted: "UTF-8" };
      assert.deepEqual(refusal(`a[b]=1&a[c]=${bad}`), { path: "a.c", ...issue });
      assert.deepEqual(refusal(`a[${bad}]=1`), { path: `a[${bad}]`, ...issue });
    });
  }
});

test("decodeForm() quotes no value, and escapes the keys that it quotes", () => {
  const token = "51856fefc120afa4b628cc82d3935cce";
  const bodies = [`auth[application_token]=${token}%FF`, `auth[application_token]=${token.repeat(40_000)}`];
  for (const body of bodies) {
    const issue = refusal(body);
    assert.equal(issue.path, "auth.application_token");
    assert.doesNotMatch(JSON.stringify(issue), /51856f/);
  }
  assert.equal(refusal('a%0A%1B[31m"]=%FF').path, String.raw`a\n\u001b.31m\"`);
  assert.equal(refusal("%E2%80%AEb%5C=%FF").path, String.raw`\u202eb\\`);
});

test("decodeForm() accepts a long message to a bot with many nested attachments", () => {
  const file = (i: number): string =>
    ["id", "name", "type", "size", "urlDownload"].map((key) => `&data[PARAMS][FILES][${i}][${key}]=x${i}`).join("");
  const nested = "&data[PARAMS][ATTACH][0][BLOCKS][0][GRID][0][VALUE][0][LINK][0][NAME]=deep";
  const body = `event=ONIMBOTMESSAGEADD&data[PARAMS][MESSAGE]=${"%D1%8B".repeat(20_000)}${nested}` +
    Array.from({ length: 500 }, (_, i) => file(i)).join("");
  assert(body.length > 120_000);
  const { data } = plain(decodeForm(body)) as { data: { PARAMS: { MESSAGE: string; FILES: unknown[] } } };
  assert.deepEqual([data.PARAMS.MESSAGE.length, data.PARAMS.FILES.length], [20_000, 500]);
});

test("decodeForm() keeps no body in memory whose tokens are kept", () => {
  const others = "x".repeat(1_000_000);
  const before = process.memoryUsage().heapUsed;
  const kept = Array.from({ length: 500 }, (_, i) => {
    const token = `${i}`.padStart(40, "a");
    return decodeForm(`auth[access_token]=${token}&data=${others}${i}`)["auth"];
  });
  const growth = process.memoryUsage().heapUsed - before;
  assert.equal(kept.length, 500);
  assert(growth < 250_000_000, `${growth} bytes more than before`);
});

test("decodeForm() survives 10,000 generated bodies", () => {
  const { decoded, refused } = fuzz(1, 10_000, ["form"]);
  assert(decoded > 2000 && refused > 200, `${decoded} decoded, ${refused} refused`);
});
