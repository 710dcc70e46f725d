import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import {
  type B24Event,
  type EventNamed,
  type Extra,
  type ExtraValue,
  type KnownEvent,
  parseEvent,
  Secret,
  type UnknownEvent,
} from "@b24/onappupdate";
import { InputError } from "@b24/onappupdate/errors";
import { bodyKind, withoutSecrets } from "../../../src/bitrix24/parse.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { describe, it, mock } from "../../support/test.ts";

const RECEIVED_AT = 1_785_312_005_000;

/** Events with their tokens readable and every object plain, to be compared as a whole. */
function plain(value: unknown): unknown {
  if (value instanceof Secret) return { secret: value.reveal() };
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

const secret = (value: string): object => ({ secret: value });

const ACCESS = "3a0f7d66007e2a1c0056b0f1000000010000071f4a9e2b7c5d8130aa64cf1e97b2d05e8c";
const REFRESH = "2a8ea466007e2a1c0056b0f10000000100000755b0c1d2e3f405162738495a6b7c8d9e0f";
const APPLICATION = "51856fefc120afa4b628cc82d3935cce";
const DOCUMENTED_AUTH = {
  memberId: "d41d8cd98f00b204e9800998ecf8427e",
  domain: "some-domain.bitrix24.com",
  applicationToken: secret("c917d38f6bdb84e9d9e0bfe9d585be73"),
  accessToken: secret("lh8ze36o8ulgrljbyscr36c7ay5sinva"),
  refreshToken: secret("5f1ih5tsnsb11sc5heg3kp4ywqnjhd09"),
  expiresAt: RECEIVED_AT + 3_600_000,
  scope: ["imbot"],
  extra: {},
};
const TOKENLESS_AUTH = {
  memberId: "a223c6b3710f85df22e9377d6c4f7553",
  domain: "example.bitrix24.de",
  applicationToken: secret(APPLICATION),
  scope: [],
  clientEndpoint: "https://example.bitrix24.de/rest/",
  serverEndpoint: "https://oauth.bitrix24.tech/rest/",
  extra: {},
};
const CLOUD_AUTH = {
  ...TOKENLESS_AUTH,
  accessToken: secret(ACCESS),
  refreshToken: secret(REFRESH),
  expiresAt: 1_785_315_600_000,
  scope: ["crm", "placement", "user_brief"],
  status: "S",
  userId: 1,
};
const DOCUMENTED = {
  name: "ONAPPUPDATE",
  data: { version: "2.1.0", previousVersion: "2.0.3", languageId: "de", extra: {} },
  auth: DOCUMENTED_AUTH,
  ts: 1_696_527_000,
  extra: {},
};

const FIXTURES: Readonly<Record<string, object>> = {
  "update-documented.form": DOCUMENTED,
  "update-documented.json": DOCUMENTED,
  "update-first-docs.form": {
    name: "ONAPPUPDATE",
    data: { version: "2", previousVersion: "1", languageId: "de", extra: {} },
    auth: { ...DOCUMENTED_AUTH, domain: "b24.hazz" },
    ts: 1_466_439_714,
    extra: {},
  },
  "update-cloud.form": {
    name: "ONAPPUPDATE",
    data: { version: "3", previousVersion: "2", languageId: "de", extra: {} },
    auth: CLOUD_AUTH,
    ts: 1_785_312_000,
    handlerId: "196",
    extra: {},
  },
  "update-tokenless.form": {
    name: "ONAPPUPDATE",
    data: { version: "3", previousVersion: "2", languageId: "ru", extra: {} },
    auth: {
      ...TOKENLESS_AUTH,
      memberId: "74ef8a46a75104de55d5d4a61b98ab6d",
      domain: "b24.company.example:8443",
      applicationToken: secret("c917d38f6bdb84e9d9e0bfe9d585be73"),
      clientEndpoint: "https://b24.company.example:8443/rest/",
    },
    ts: 1_785_312_000,
    handlerId: "12",
    extra: {},
  },
  "install.form": {
    name: "ONAPPINSTALL",
    data: { version: "2", active: true, installed: true, languageId: "ru", extra: {} },
    auth: CLOUD_AUTH,
    ts: 1_785_300_000,
    extra: {},
  },
  "uninstall.form": {
    name: "ONAPPUNINSTALL",
    data: { clean: true, languageId: "ru", extra: {} },
    auth: TOKENLESS_AUTH,
    ts: 1_785_399_000,
    handlerId: "9",
    extra: {},
  },
  "payment.form": {
    name: "ONAPPPAYMENT",
    data: {
      code: "bitrix.gds_company",
      version: "1",
      status: "S",
      paymentExpired: false,
      days: 28,
      extra: {},
    },
    auth: TOKENLESS_AUTH,
    ts: 1_466_439_714,
    handlerId: "10",
    extra: {},
  },
  "method-confirm.form": {
    name: "ONAPPMETHODCONFIRM",
    data: {
      token: secret("fkp963yuv1ggkfbs5z3f5hy8lilm0iw6"),
      method: "voximplant.user.get",
      confirmed: true,
      languageId: "ru",
      extra: {},
    },
    auth: TOKENLESS_AUTH,
    ts: 1_478_790_852,
    handlerId: "11",
    extra: {},
  },
  "test.form": {
    name: "ONAPPTEST",
    data: { query: { any: "data", nested: { deep: "Привет" } }, languageId: "en", extra: {} },
    auth: { ...CLOUD_AUTH, status: "L" },
    ts: 1_573_120_286,
    handlerId: "1",
    extra: {},
  },
};

function fixture(name: string): string {
  return readFileSync(new URL(`../../fixtures/${name}`, import.meta.url), "utf8");
}

type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
type JsonMap = { readonly [key: string]: Json };

/** A form as PHP's `http_build_query` writes it: empty maps, and what is absent, are left out. */
function toForm(value: Json, name = ""): string {
  if (typeof value !== "object" || value === null) return `${name}=${encodeURIComponent(String(value))}`;
  return Object.entries(value)
    .map(([key, inner]) => toForm(inner, name === "" ? encodeURIComponent(key) : `${name}[${encodeURIComponent(key)}]`))
    .join("&");
}

/** A copy of `tree` with `value` at the path; without it when `value` is `undefined`. */
function edit(tree: JsonMap, [key = "", ...rest]: readonly string[], value: Json | undefined): JsonMap {
  const inner = rest.length === 0 ? value : edit((tree[key] ?? {}) as JsonMap, rest, value);
  const copy: Record<string, Json> = { ...tree };
  delete copy[key];
  return inner === undefined ? copy : { ...copy, [key]: inner };
}

const AUTH = {
  member_id: "a223c6b3710f85df22e9377d6c4f7553",
  domain: "example.bitrix24.de",
  application_token: APPLICATION,
  access_token: ACCESS,
  refresh_token: REFRESH,
  expires: 1_785_315_600,
  expires_in: 3600,
  scope: "crm,placement",
  status: "S",
  user_id: 1,
  client_endpoint: "https://example.bitrix24.de/rest/",
  server_endpoint: "https://oauth.bitrix24.tech/rest/",
};
const DATA: Readonly<Record<KnownEvent["name"] | "ONCRMDEALADD", JsonMap>> = {
  ONAPPUPDATE: { VERSION: 3, PREVIOUS_VERSION: 2, LANGUAGE_ID: "de" },
  ONAPPINSTALL: { VERSION: 3, ACTIVE: "Y", INSTALLED: "N", LANGUAGE_ID: "de" },
  ONAPPUNINSTALL: { CLEAN: 1, LANGUAGE_ID: "de" },
  ONAPPPAYMENT: { CODE: "vendor.app", VERSION: 3, STATUS: "S", PAYMENT_EXPIRED: "Y", DAYS: 28, LANGUAGE_ID: "de" },
  ONAPPMETHODCONFIRM: { TOKEN: REFRESH, METHOD: "user.get", CONFIRMED: 0, LANGUAGE_ID: "de" },
  ONAPPTEST: { QUERY: { any: "data" }, LANGUAGE_ID: "de" },
  ONAPPUSERREADY: {
    access_token: ACCESS,
    refresh_token: REFRESH,
    expires: 1_785_315_600,
    expires_in: 3600,
    scope: "crm",
    user_id: 7,
  },
  ONCRMDEALADD: { FIELDS: { ID: "42" } },
};

function body(name: keyof typeof DATA): JsonMap {
  return { event: name, event_handler_id: 196, ts: 1_785_312_000, data: DATA[name], auth: AUTH };
}

function parseJson(tree: Json): B24Event {
  return parseEvent(JSON.stringify(tree), "json", RECEIVED_AT);
}

function failure(parse: () => unknown): InputError {
  try {
    parse();
  } catch (error) {
    assert(error instanceof InputError);
    return error;
  }
  throw new Error("it was parsed");
}

/** A value for a field, and its description in an issue. */
type Bad = readonly [value: Json, saw: string];

const NO_TEXT: readonly Bad[] = [
  [[], "an array"],
  [["3"], "an array"],
  [{}, "an object"],
  [{ a: 1 }, "an object"],
  [null, "null"],
  [true, "true"],
];
const EMPTY: Bad = ["", "an empty string"];
const LONG = (length: number): Bad => ["x".repeat(length), `a string of ${length} characters`];

interface Field {
  readonly wanted: string;
  readonly bad: readonly Bad[];
}

const TOKEN: Field = {
  wanted: "a token of 1 to 255 characters",
  // No part of a token is shown, even of a wrong one.
  bad: [
    [[], "an array"],
    [{}, "an object"],
    [null, "null"],
    [true, "a boolean"],
    [1.5, "a number"],
    LONG(256),
  ],
};
const REQUIRED_TOKEN: Field = { ...TOKEN, bad: [...TOKEN.bad, EMPTY] };
const VERSION: Field = {
  wanted: 'a version as a string or an integer, such as "3" or "2.1.0"',
  bad: [...NO_TEXT, LONG(25), [1.5, "1.5"]],
};
const INTEGER = (wanted: string): Field => ({
  wanted,
  bad: [
    ...NO_TEXT,
    EMPTY,
    ["soon", '"soon"'],
    ["-1", '"-1"'],
    ["1.5", '"1.5"'],
    [" 1", '" 1"'],
    ["1e3", '"1e3"'],
    [
      "１",
      '"１"',
    ],
    [-1, '"-1"'],
    [1.5, "1.5"],
    ["1".repeat(16), `"${"1".repeat(16)}"`],
  ],
});
/** An optional field that counts as missing if it is empty, so that the event is not refused. */
const OR_EMPTY = ({ wanted, bad }: Field): Field => ({ wanted, bad: bad.filter((one) => one !== EMPTY) });
const FLAG = (wanted: string): Field => ({
  wanted,
  bad: [
    ...NO_TEXT,
    EMPTY,
    ["y", '"y"'],
    ["yes", '"yes"'],
    ["2", '"2"'],
    [2, '"2"'],
    ["true", '"true"'],
  ],
});
const TEXT = (max: number): Field => ({
  wanted: `a string of 1 to ${max} characters`,
  bad: [...NO_TEXT, EMPTY, max < 24 ? ["x".repeat(max + 1), `"${"x".repeat(max + 1)}"`] : LONG(max + 1)],
});
const LANGUAGE: Field = {
  wanted: 'a language such as "de"',
  bad: [...NO_TEXT, [1.5, "1.5"], ["x".repeat(17), `"${"x".repeat(17)}"`]],
};
const ADDRESS: Field = { wanted: "an address", bad: [...NO_TEXT, [1.5, "1.5"], LONG(2049)] };
const SCOPE: Field = { wanted: "scopes separated by commas", bad: [...NO_TEXT, [1.5, "1.5"]] };

/** Every field; a path with a star is missing without being missed. */
const TOP_FIELDS: Readonly<Record<string, Field>> = {
  "event": {
    wanted: "the name of an event in upper case",
    bad: [
      ...NO_TEXT,
      EMPTY,
      [["ONAPPUPDATE"], "an array"],
      [1, "1"],
      ["onappupdate", '"onappupdate"'],
      ["OnAppUpdate", '"OnAppUpdate"'],
      ["ON APP", '"ON APP"'],
      ["ONAPPUPDATE\n", '"ONAPPUPDATE\\n"'],
      ["123", '"123"'],
      ["__proto__", '"__proto__"'],
      ["constructor", '"constructor"'],
      LONG(101),
    ],
  },
  "ts": INTEGER("unix time in seconds"),
  "*event_handler_id": OR_EMPTY(TEXT(64)),
  "auth": {
    wanted: "an object",
    // A string may be the token that handlers of old events have there.
    bad: [
      [[], "an array"],
      [["x"], "an array"],
      [null, "null"],
      EMPTY,
      ["x", "a string of 1 characters"],
      [1.5, "a number"],
      [true, "a boolean"],
    ],
  },
  "auth.member_id": {
    wanted: "32 hexadecimal digits",
    bad: [
      ...NO_TEXT,
      EMPTY,
      [1, '"1"'],
      ["a223", '"a223"'],
      [`${AUTH.member_id}0`, "a string of 33 characters"],
      [` ${AUTH.member_id}`, "a string of 33 characters"],
      [`${AUTH.member_id}\n`, "a string of 33 characters"],
      ["g".repeat(32), "a string of 32 characters"],
      ["../../portal", '"../../portal"'],
    ],
  },
  "auth.domain": {
    wanted: "a host name",
    bad: [
      ...NO_TEXT,
      EMPTY,
      [1.5, "1.5"],
      ["https://x.de", '"https://x.de"'],
      ["x.de/rest", '"x.de/rest"'],
      ["a b", '"a b"'],
      ["user@x.de", '"user@x.de"'],
      ["x.de?a", '"x.de?a"'],
      ["x.de#a", '"x.de#a"'],
      ["x\\y", '"x\\\\y"'],
      ["x.de\n", '"x.de\\n"'],
      LONG(261),
    ],
  },
  "auth.application_token": REQUIRED_TOKEN,
  "*auth.access_token": TOKEN,
  "*auth.refresh_token": TOKEN,
  "*auth.expires": OR_EMPTY(INTEGER("unix time in seconds")),
  "*auth.expires_in": OR_EMPTY(INTEGER("seconds")),
  "*auth.scope": SCOPE,
  "*auth.status": OR_EMPTY(TEXT(16)),
  "*auth.user_id": OR_EMPTY(INTEGER("the number of a user")),
  "*auth.client_endpoint": ADDRESS,
  "*auth.server_endpoint": ADDRESS,
};
const OPTIONAL_APPLICATION_TOKEN = { "auth.application_token": undefined, "*auth.application_token": REQUIRED_TOKEN };
const DATA_FIELD: Field = {
  wanted: "an object",
  bad: [[["x"], "an array"], [null, "null"], ["x", '"x"'], [1.5, "1.5"], [true, "true"]],
};
const NO_MAP: readonly Bad[] = [["x", '"x"'], [1.5, "1.5"], [null, "null"], [true, "true"]];
const FIELDS: Readonly<Record<keyof typeof DATA, Readonly<Record<string, Field | undefined>>>> = {
  ONAPPUPDATE: {
    "data.VERSION": { ...VERSION, bad: [...VERSION.bad, EMPTY] },
    "*data.PREVIOUS_VERSION": VERSION,
    "*data.LANGUAGE_ID": LANGUAGE,
  },
  ONAPPINSTALL: {
    "data.VERSION": { ...VERSION, bad: [...VERSION.bad, EMPTY] },
    "*data.ACTIVE": FLAG('"Y" or "N"'),
    "*data.INSTALLED": FLAG('"Y" or "N"'),
    "*data.LANGUAGE_ID": LANGUAGE,
  },
  ONAPPUNINSTALL: { "data.CLEAN": FLAG("0 or 1"), "*data.LANGUAGE_ID": LANGUAGE },
  ONAPPPAYMENT: {
    ...OPTIONAL_APPLICATION_TOKEN,
    "data.CODE": TEXT(255),
    "data.VERSION": { ...VERSION, bad: [...VERSION.bad, EMPTY] },
    "data.STATUS": TEXT(16),
    "data.PAYMENT_EXPIRED": FLAG('"Y" or "N"'),
    "*data.DAYS": {
      wanted: "a number of days",
      bad: [...NO_TEXT, EMPTY, ["soon", '"soon"'], [1.5, "1.5"], ["1.5", '"1.5"'], ["1234567", '"1234567"']],
    },
    "*data.LANGUAGE_ID": LANGUAGE,
  },
  ONAPPMETHODCONFIRM: {
    "data.TOKEN": REQUIRED_TOKEN,
    "data.METHOD": TEXT(255),
    "data.CONFIRMED": FLAG("0 or 1"),
    "*data.LANGUAGE_ID": LANGUAGE,
  },
  ONAPPTEST: { "*data.QUERY": { wanted: "an object", bad: NO_MAP }, "*data.LANGUAGE_ID": LANGUAGE },
  ONAPPUSERREADY: {
    ...OPTIONAL_APPLICATION_TOKEN,
    "data.access_token": REQUIRED_TOKEN,
    "*data.refresh_token": TOKEN,
    "*data.expires": OR_EMPTY(INTEGER("unix time in seconds")),
    "*data.expires_in": OR_EMPTY(INTEGER("seconds")),
    "*data.scope": SCOPE,
    "*data.user_id": OR_EMPTY(INTEGER("the number of a user")),
  },
  ONCRMDEALADD: OPTIONAL_APPLICATION_TOKEN,
};

const EVENT_NAMES = Object.keys(DATA) as (keyof typeof DATA)[];

describe("parseEvent() of the fixtures", () => {
  for (const [name, expected] of Object.entries(FIXTURES)) {
    it(name, () => {
      const event = parseEvent(fixture(name), name.endsWith(".json") ? "json" : "form", RECEIVED_AT);
      assert.deepEqual(plain(event), expected);
    });
  }
});

describe("parseEvent() of every event", () => {
  const auth = { ...CLOUD_AUTH, scope: ["crm", "placement"] };
  const rest = { auth, ts: 1_785_312_000, handlerId: "196", extra: {} };
  const expected: Readonly<Record<keyof typeof DATA, object>> = {
    ONAPPUPDATE: { version: "3", previousVersion: "2", languageId: "de", extra: {} },
    ONAPPINSTALL: { version: "3", active: true, installed: false, languageId: "de", extra: {} },
    ONAPPUNINSTALL: { clean: true, languageId: "de", extra: {} },
    ONAPPPAYMENT: {
      code: "vendor.app",
      version: "3",
      status: "S",
      paymentExpired: true,
      days: 28,
      languageId: "de",
      extra: {},
    },
    ONAPPMETHODCONFIRM: {
      token: secret(REFRESH),
      method: "user.get",
      confirmed: false,
      languageId: "de",
      extra: {},
    },
    ONAPPTEST: { query: { any: "data" }, languageId: "de", extra: {} },
    ONAPPUSERREADY: {
      accessToken: secret(ACCESS),
      refreshToken: secret(REFRESH),
      expiresAt: 1_785_315_600_000,
      scope: ["crm"],
      userId: 7,
      extra: {},
    },
    ONCRMDEALADD: { extra: { FIELDS: { ID: "42" } } },
  };
  for (const name of EVENT_NAMES) {
    const event = name === "ONCRMDEALADD" ? { name: "UNKNOWN", wireName: name } : { name };
    it(`${name} in JSON, with numbers as numbers`, () => {
      assert.deepEqual(plain(parseJson(body(name))), { ...rest, ...event, data: expected[name] });
    });
    it(`${name} as a form, with numbers as strings`, () => {
      const parsed = parseEvent(toForm(body(name)), "form", RECEIVED_AT);
      assert.deepEqual(plain(parsed), { ...rest, ...event, data: expected[name] });
    });
  }
});

for (const name of EVENT_NAMES) {
  describe(`parseEvent() of a malformed ${name}`, () => {
    const fields = { ...TOP_FIELDS, ...FIELDS[name], "*data": DATA_FIELD };
    for (const [star, field] of Object.entries(fields)) {
      if (field === undefined) continue;
      const path = star.replace("*", "");
      const keys = path.split(".");
      const whole = body(name);
      if (star === path) {
        it(`without ${path}`, () => {
          const { issues, message } = failure(() => parseJson(edit(whole, keys, undefined)));
          assert.deepEqual(issues, [{ path, saw: "nothing", wanted: field.wanted }]);
          assert.equal(message, `${path}: saw nothing, wanted ${field.wanted}`);
        });
      } else if (path !== "data") {
        it(`not: ${path} may be missing`, () => void parseJson(edit(whole, keys, undefined)));
      }
      for (const [value, saw] of field.bad) {
        it(`with ${path} of ${shorten(JSON.stringify(value))}`, () => {
          const { issues, message, code } = failure(() => parseJson(edit(whole, keys, value)));
          assert.deepEqual(issues, [{ path, saw, wanted: field.wanted }]);
          assert.equal(message, `${path}: saw ${saw}, wanted ${field.wanted}`);
          assert.equal(code, "input");
        });
      }
    }

    it("names all wrong fields in their order, and no token", () => {
      let tree = edit(body(name), ["ts"], "x");
      tree = edit(tree, ["auth", "member_id"], "x");
      tree = edit(tree, ["auth", "user_id"], "x");
      const { issues, message } = failure(() => parseJson(tree));
      assert.deepEqual(issues.map(({ path }) => path), ["ts", "auth.member_id", "auth.user_id"]);
      assert.equal(message, issues.map(({ path, saw, wanted }) => `${path}: saw ${saw}, wanted ${wanted}`).join("; "));
    });

    it("never quotes a token in any field", () => {
      const paths = ["*data", "data.ANYTHING", ...Object.keys(fields)].map((star) => star.replace("*", "").split("."));
      const shapes: readonly ((token: string) => Json)[] = [
        (token) => token,
        (token) => [token],
        (token) => ({ token }),
        (token) => ({ [token]: token }),
        (token) => token.toUpperCase(),
      ];
      let refused = 0;
      for (const token of [ACCESS, REFRESH, APPLICATION]) {
        for (const path of paths) {
          for (const shape of shapes) {
            // With a second mistake, so that every body is refused.
            const tree = edit(edit(body(name), path, shape(token)), ["ts"], path[0] === "ts" ? shape(token) : "x");
            const { message, issues } = failure(() => parseJson(tree));
            assert.doesNotMatch(JSON.stringify([message, issues]), new RegExp(token, "i"), path.join("."));
            refused++;
          }
        }
      }
      assert.equal(refused, 3 * paths.length * shapes.length);
    });
  });
}

function shorten(text: string): string {
  return text.length > 30 ? `${text.slice(0, 10)}… (${text.length} characters)` : text;
}

describe("parseEvent() of malformed forms", () => {
  const form = toForm(body("ONAPPUPDATE"));
  const cases: Readonly<Record<string, readonly [body: string, path: string, saw: string]>> = {
    "an event name as an array": [form.replace("event=", "event[]="), "event", "an array"],
    "an event name as a map": [form.replace("event=", "event[x]="), "event", "an object"],
    "auth as a string": [`${form}&auth=x`, "auth", "a string of 1 characters"],
    "data as a string": [`${form}&data=x`, "data", '"x"'],
    "data as a list": [`${form.replaceAll(/data\[[A-Z_]+\]=[^&]*&/g, "")}&data[]=3`, "data", "an array"],
    "VERSION as an array": [`${form}&data[VERSION][]=3`, "data.VERSION", "an array"],
    "VERSION as a map": [`${form}&data[VERSION][x]=3`, "data.VERSION", "an object"],
    "application_token as an array": [
      `${form}&auth[application_token][]=${ACCESS}`,
      "auth.application_token",
      "an array",
    ],
    "member_id as a map": [`${form}&auth[member_id][x]=3`, "auth.member_id", "an object"],
    "an empty body": ["", "event", "nothing"],
    "a body that is not a form": ["<xml/>", "event", "nothing"],
  };
  for (const [name, [text, path, saw]] of Object.entries(cases)) {
    it(name, () => {
      const [issue, ...others] = failure(() => parseEvent(text)).issues;
      assert.deepEqual(others, []);
      assert.deepEqual({ path: issue?.path, saw: issue?.saw }, { path, saw });
    });
  }
});

describe("parseEvent() of JSON that is not an event", () => {
  const cases: Readonly<Record<string, readonly [body: string, path: string]>> = {
    "null": ["null", ""],
    "an array": ["[]", ""],
    "a string": [`"${ACCESS}"`, ""],
    "a number": ["1", ""],
    "nothing": ["", ""],
    "half an object": [`{"event":"ONAPPUPDATE","auth":{"access_token":"${ACCESS}`, ""],
    "an empty object": ["{}", "event"],
  };
  for (const [name, [text, path]] of Object.entries(cases)) {
    it(name, () => {
      const error = failure(() => parseEvent(text, "json"));
      assert.equal(error.issues[0]?.path, path);
      assert.doesNotMatch(error.message, new RegExp(ACCESS));
    });
  }
});

describe("parseEvent() reads PHP's empty maps:", () => {
  for (const empty of [undefined, "", []] as const) {
    const spelt = empty === undefined ? "nothing" : JSON.stringify(empty);
    it(`data of ${spelt} if no field is required`, () => {
      for (const name of ["ONAPPTEST", "ONCRMDEALADD"] as const) {
        const { data } = parseJson(edit(body(name), ["data"], empty));
        assert.deepEqual(plain(data), name === "ONAPPTEST" ? { query: {}, extra: {} } : { extra: {} });
      }
    });
    it(`data of ${spelt} is a map without its fields`, () => {
      const { issues } = failure(() => parseJson(edit(body("ONAPPUNINSTALL"), ["data"], empty)));
      assert.deepEqual(issues, [{ path: "data.CLEAN", saw: "nothing", wanted: "0 or 1" }]);
    });
    it(`QUERY of ${spelt}`, () => {
      const event = parseJson(edit(body("ONAPPTEST"), ["data", "QUERY"], empty));
      assert(event.name === "ONAPPTEST");
      // An empty list is either; it stays what it is.
      assert.deepEqual(plain(event.data.query), empty === undefined || empty === "" ? {} : []);
    });
  }

  it("QUERY stays a list", () => {
    const event = parseEvent(`${toForm(edit(body("ONAPPTEST"), ["data"], undefined))}&data[QUERY][]=a&data[QUERY][]=b`);
    assert(event.name === "ONAPPTEST");
    assert.deepEqual(event.data.query, ["a", "b"]);
  });
});

describe("parseEvent() distinguishes empty strings from missing keys:", () => {
  const parsed = (path: string, value: Json): unknown =>
    plain(parseJson(edit(body("ONAPPUPDATE"), path.split("."), value)));
  const auth = (path: string, value: Json): Record<string, unknown> =>
    (parsed(path, value) as { auth: Record<string, unknown> }).auth;

  it("tokens without a value are absent", () => {
    const { accessToken, refreshToken, expiresAt } = auth("auth.access_token", "");
    assert.deepEqual([accessToken, refreshToken, expiresAt], [undefined, secret(REFRESH), undefined]);
    assert.equal("refreshToken" in auth("auth.refresh_token", ""), false);
  });
  it("PREVIOUS_VERSION without a value is absent", () => {
    const event = parseJson(edit(body("ONAPPUPDATE"), ["data", "PREVIOUS_VERSION"], ""));
    assert.equal("previousVersion" in event.data, false);
  });
  it("optional fields without a value are absent", () => {
    const event = parsed("event_handler_id", "") as Record<string, unknown>;
    assert.equal("handlerId" in event, false);
    for (const [path, key] of [["status", "status"], ["user_id", "userId"]] as const) {
      assert.equal(key in auth(`auth.${path}`, ""), false, path);
    }
    for (const path of ["auth.expires", "auth.expires_in"]) assert.equal(typeof auth(path, "")["expiresAt"], "number");
  });
  it("scope without a value is empty", () => assert.deepEqual(auth("auth.scope", "")["scope"], []));
  it("endpoints and LANGUAGE_ID stay as they are", () => {
    assert.equal(auth("auth.client_endpoint", "")["clientEndpoint"], "");
    const event = parseJson(edit(body("ONAPPUPDATE"), ["data", "LANGUAGE_ID"], ""));
    assert(event.name === "ONAPPUPDATE");
    assert.equal(event.data.languageId, "");
  });
  it("missing keys are absent, not undefined", () => {
    const { auth, data, ...rest } = parseJson({
      event: "ONAPPUPDATE",
      ts: 1,
      data: { VERSION: "3" },
      auth: { member_id: AUTH.member_id, domain: AUTH.domain, application_token: APPLICATION },
    });
    assert.deepEqual(Object.keys(rest).sort(), ["extra", "name", "ts"]);
    assert.deepEqual(Object.keys(data).sort(), ["extra", "version"]);
    assert.deepEqual(Object.keys(auth).sort(), ["applicationToken", "domain", "extra", "memberId", "scope"]);
  });
});

describe("parseEvent() reads", () => {
  const read = (path: string, value: Json | undefined, name: keyof typeof DATA = "ONAPPUPDATE"): B24Event =>
    parseJson(edit(body(name), path.split("."), value));

  const scopes: readonly (readonly [text: string, scope: string[]])[] = [
    ["crm", ["crm"]],
    ["crm,placement,user_brief", ["crm", "placement", "user_brief"]],
    ["crm placement", ["crm", "placement"]],
    ["crm, placement", ["crm", "placement"]],
    [" ,crm,, placement ,", ["crm", "placement"]],
    ["crm\tplacement\nim", ["crm", "placement", "im"]],
    [",", []],
  ];
  for (const [text, scope] of scopes) {
    it(`scope ${JSON.stringify(text)}`, () => assert.deepEqual(read("auth.scope", text).auth.scope, scope));
  }

  const expiries: readonly (readonly [criterion: string, auth: JsonMap, expiresAt: number | undefined])[] = [
    ["expires before expires_in", { access_token: "t", expires: 10, expires_in: 20 }, 10_000],
    ["expires as a string", { access_token: "t", expires: "10" }, 10_000],
    ["expires_in from the time of receipt", { access_token: "t", expires_in: 20 }, RECEIVED_AT + 20_000],
    ["expires_in as a string", { access_token: "t", expires_in: "20" }, RECEIVED_AT + 20_000],
    ["expires_in of 0", { access_token: "t", expires_in: 0 }, RECEIVED_AT],
    ["an hour without both", { access_token: "t" }, RECEIVED_AT + 3_600_000],
    ["no end without an access token", { expires: 10, expires_in: 20 }, undefined],
  ];
  for (const [criterion, sent, expiresAt] of expiries) {
    it(`expiresAt: ${criterion}`, () => {
      const { member_id, domain, application_token } = AUTH;
      const { auth } = read("auth", { member_id, domain, application_token, ...sent });
      assert.equal(auth.expiresAt, expiresAt);
      const ready = read("data", { access_token: "t", ...sent }, "ONAPPUSERREADY");
      assert(ready.name === "ONAPPUSERREADY");
      assert.equal(ready.data.expiresAt, expiresAt ?? 10_000);
    });
  }

  const flags: readonly (readonly [value: Json, flag: boolean])[] = [
    ...(["Y", "1", 1] as const).map((value) => [value, true] as const),
    ...(["N", "0", 0] as const).map((value) => [value, false] as const),
  ];
  for (const [value, flag] of flags) {
    it(`a flag of ${JSON.stringify(value)} as ${flag}`, () => {
      const removed = read("data.CLEAN", value, "ONAPPUNINSTALL");
      assert(removed.name === "ONAPPUNINSTALL");
      assert.equal(removed.data.clean, flag);
      const installed = read("data.ACTIVE", value, "ONAPPINSTALL");
      assert(installed.name === "ONAPPINSTALL");
      assert.equal(installed.data.active, flag);
    });
  }

  const versions: readonly (readonly [value: Json, version: string])[] = [
    [3, "3"],
    ["3", "3"],
    [0, "0"],
    ["2.1.0", "2.1.0"],
    [" v2 ", " v2 "],
    ["2.0.0-beta.1", "2.0.0-beta.1"],
    ["latest", "latest"],
  ];
  for (const [value, version] of versions) {
    it(`VERSION ${JSON.stringify(value)} unchanged`, () => {
      for (const name of ["ONAPPUPDATE", "ONAPPINSTALL", "ONAPPPAYMENT"] as const) {
        const event = read("data.VERSION", value, name);
        assert("version" in event.data);
        assert.equal(event.data.version, version);
      }
      const event = read("data.PREVIOUS_VERSION", value);
      assert(event.name === "ONAPPUPDATE");
      assert.equal(event.data.previousVersion, version);
    });
  }

  it("member_id in lower case", () => {
    assert.equal(read("auth.member_id", AUTH.member_id.toUpperCase()).auth.memberId, AUTH.member_id);
  });
  it("hosts with a port, without a dot, and in Cyrillic", () => {
    for (const domain of ["b24.company.example:8443", "b24", "портал.рф", "[::1]:80"]) {
      assert.equal(read("auth.domain", domain).auth.domain, domain);
    }
  });
  it("DAYS below zero", () => {
    for (const days of [-3, "-3"]) {
      const event = read("data.DAYS", days, "ONAPPPAYMENT");
      assert(event.name === "ONAPPPAYMENT");
      assert.equal(event.data.days, -3);
    }
  });
  it("event_handler_id as a string", () => {
    assert.equal(read("event_handler_id", 12).handlerId, "12");
    assert.equal(read("event_handler_id", "12").handlerId, "12");
  });
  it("tokens of 255 characters", () => {
    assert.equal(read("auth.access_token", "t".repeat(255)).auth.accessToken?.reveal(), "t".repeat(255));
  });
  it("expires_in by the system's clock without a time of receipt", () => {
    const now = mock.method(Date, "now", () => 1_785_300_000_000);
    try {
      const { member_id, domain, application_token } = AUTH;
      const auth = { member_id, domain, application_token, access_token: "t" };
      const { expiresAt } = parseEvent(toForm(edit(body("ONAPPUPDATE"), ["auth"], auth))).auth;
      assert.equal(expiresAt, 1_785_300_000_000 + 3_600_000);
    } finally {
      now.mock.restore();
    }
  });
});

describe("parseEvent() keeps unknown keys", () => {
  it("at the top level, in data and in auth, as they were sent", () => {
    let tree = edit(body("ONAPPUPDATE"), ["new_key"], { a: ["1", { b: true }] });
    tree = edit(tree, ["data", "NEW_KEY"], 7);
    tree = edit(tree, ["auth", "server_andpoint"], null);
    const { extra, data, auth } = parseJson(tree);
    assert.deepEqual(plain(extra), { new_key: { a: ["1", { b: true }] } });
    assert.deepEqual(plain(data.extra), { NEW_KEY: 7 });
    assert.deepEqual(plain(auth.extra), { server_andpoint: null });
  });

  it("of an unknown event, all of its data", () => {
    const event = parseEvent(toForm(edit(body("ONCRMDEALADD"), ["data", "VERSION"], "3")));
    assert(event.name === "UNKNOWN");
    assert.equal(event.wireName, "ONCRMDEALADD");
    assert.deepEqual(plain(event.data), { extra: { FIELDS: { ID: "42" }, VERSION: "3" } });
  });

  it("of ONAPPUSERREADY, the fields that its type lacks", () => {
    const data = { ...DATA.ONAPPUSERREADY, status: "L", client_endpoint: "https://x.de/rest/", member_id: "x" };
    const event = parseJson(edit(body("ONAPPUSERREADY"), ["data"], data));
    assert.deepEqual(plain(event.data.extra), {
      status: "L",
      client_endpoint: "https://x.de/rest/",
      member_id: "x",
    });
  });

  const keys: Readonly<Record<string, boolean>> = {
    "token": true,
    "TOKEN": true,
    "new_access_token": true,
    "accessToken": true,
    "client_secret": true,
    "Password": true,
    "AUTH_ID": true,
    "refresh_id": true,
    "APP_SID": true,
    "APPLICATION_TOKEN": true,
    "note": false,
    "AUTHOR_ID": false,
    "AUTH_EXPIRES": false,
    "member": false,
  };
  for (const [key, wrapped] of Object.entries(keys)) {
    it(`${wrapped ? "wraps" : "does not wrap"} the value of ${key}`, () => {
      const expected = { [key]: wrapped ? secret("tell nobody") : "tell nobody" };
      for (const kind of ["form", "json"] as const) {
        let tree = edit(body("ONAPPUPDATE"), [key], "tell nobody");
        tree = edit(edit(tree, ["data", key], "tell nobody"), ["auth", key], "tell nobody");
        const event = parseEvent(kind === "form" ? toForm(tree) : JSON.stringify(tree), kind);
        assert.deepEqual(plain(event.extra), expected);
        assert.deepEqual(plain(event.data.extra), expected);
        assert.deepEqual(plain(event.auth.extra), expected);
        assert.equal(JSON.stringify(event).includes("tell nobody"), !wrapped);
      }
    });
  }

  it("wraps secrets in maps and lists, and keeps what surrounds them", () => {
    const sent: JsonMap = {
      auth: { access_token: "a1", member_id: "m", expires: 3600 },
      BOT: [{ AUTH: { application_token: "a2", domain: "d" }, AUTHOR_ID: "7" }],
      OLD: { auth: "a3", user: "u" },
      TOKENS: { crm: "a4", list: ["a5", { deep: "a6" }], isOld: true, none: null },
      PASSWORD: 123,
    };
    const wrapped = {
      auth: { access_token: secret("a1"), member_id: "m", expires: 3600 },
      BOT: [{ AUTH: { application_token: secret("a2"), domain: "d" }, AUTHOR_ID: "7" }],
      OLD: { auth: secret("a3"), user: "u" },
      TOKENS: { crm: secret("a4"), list: [secret("a5"), { deep: secret("a6") }], isOld: true, none: null },
      PASSWORD: secret("123"),
    };
    const { data } = parseJson(edit(body("ONCRMDEALADD"), ["data"], sent));
    assert.deepEqual(plain(data.extra), wrapped);
    const test = parseJson(edit(body("ONAPPTEST"), ["data", "QUERY"], sent));
    assert(test.name === "ONAPPTEST");
    assert.deepEqual(plain(test.data.query), wrapped);
    const list = parseJson(edit(body("ONAPPTEST"), ["data", "QUERY"], [sent]));
    assert(list.name === "ONAPPTEST");
    assert.deepEqual(plain(list.data.query), [wrapped]);
    assert.doesNotMatch(JSON.stringify([data, test, list]), /a[1-6]"|123/);
  });

  it("and prints an event without its tokens", () => {
    for (const name of EVENT_NAMES) {
      assert.doesNotMatch(JSON.stringify(parseJson(body(name))), new RegExp(`${ACCESS}|${REFRESH}|${APPLICATION}`));
    }
  });

  it("that are named like members of every object", () => {
    const json = `{"event":"ONAPPUPDATE","ts":1,"__proto__":{"a":1},"constructor":"c",
      "data":{"VERSION":"3","__proto__":{"VERSION":"4","PREVIOUS_VERSION":"1"},"toString":"t"},
      "auth":{"__proto__":{"access_token":"x"},"hasOwnProperty":"h","prototype":{"b":1},
        "member_id":"${AUTH.member_id}","domain":"x.de","application_token":"t"}}`;
    const form = "event=ONAPPUPDATE&ts=1&__proto__[a]=1&constructor=c&data[VERSION]=3&data[__proto__][VERSION]=4" +
      "&data[__proto__][PREVIOUS_VERSION]=1&data[toString]=t&auth[__proto__][access_token]=x" +
      `&auth[hasOwnProperty]=h&auth[prototype][b]=1&auth[member_id]=${AUTH.member_id}&auth[domain]=x.de` +
      "&auth[application_token]=t";
    for (const event of [parseEvent(json, "json"), parseEvent(form)]) {
      assert(event.name === "ONAPPUPDATE");
      assert.equal(event.data.version, "3");
      assert.equal(event.data.previousVersion, undefined);
      assert.equal(event.auth.accessToken, undefined);
      assert.deepEqual(Object.keys(event.extra).sort(), ["__proto__", "constructor"]);
      assert.deepEqual(Object.keys(event.data.extra).sort(), ["__proto__", "toString"]);
      assert.deepEqual(Object.keys(event.auth.extra).sort(), ["__proto__", "hasOwnProperty", "prototype"]);
      assert.equal(Object.getPrototypeOf(event.extra), null);
    }
    assert.equal(({} as Record<string, unknown>)["a"], undefined);
    assert.equal(({} as Record<string, unknown>)["VERSION"], undefined);
  });
});

describe("parseEvent() takes no field from a prototype:", () => {
  for (const path of ["event", "ts", "auth", "auth.member_id", "auth.application_token", "data.VERSION"]) {
    it(path, () => {
      const whole = body("ONAPPUPDATE");
      const keys = path.split(".");
      const value = keys.reduce<Json>((inner, key) => (inner as JsonMap)[key]!, whole);
      const hidden = keys.toSpliced(-1, 0, "__proto__");
      const tree = edit(edit(whole, keys, undefined), hidden, value);
      for (const parse of [() => parseJson(tree), () => parseEvent(toForm(tree))]) {
        assert.deepEqual(failure(parse).issues.map(({ path, saw }) => ({ path, saw })), [{ path, saw: "nothing" }]);
      }
    });
  }
});

describe("parseEvent() of other events", () => {
  for (const wireName of ["ONCRMDEALADD", "UNKNOWN", "ONAPPSUNINSTALL", "A", "ONIMBOTMESSAGEADD", "X.Y:Z-1_2"]) {
    it(`${wireName} is unknown`, () => {
      const event = parseJson(edit(body("ONCRMDEALADD"), ["event"], wireName));
      assert(event.name === "UNKNOWN");
      assert.equal(event.wireName, wireName);
    });
  }

  it("known events have no wireName", () => {
    for (const name of EVENT_NAMES) {
      assert.equal("wireName" in parseJson(body(name)), name === "ONCRMDEALADD");
    }
  });
});

describe("bodyKind()", () => {
  const cases: readonly (readonly [contentType: string | null, kind: "form" | "json" | null])[] = [
    ["application/x-www-form-urlencoded", "form"],
    ["application/x-www-form-urlencoded; charset=UTF-8", "form"],
    ["application/x-www-form-urlencoded;charset=utf-8", "form"],
    ["application/x-www-form-urlencoded; charset=utf8", "form"],
    ['application/x-www-form-urlencoded; charset="utf-8"', "form"],
    ["Application/X-WWW-Form-Urlencoded", "form"],
    ["application/x-www-form-urlencoded;", "form"],
    ["application/json", "json"],
    ["APPLICATION/JSON; CHARSET=Utf-8", "json"],
    [" application/json ; boundary=x ; charset=utf-8 ", "json"],
    ["application/json; version=1", "json"],
    ["application/json; charset=windows-1251", null],
    ["application/x-www-form-urlencoded; charset=koi8-r", null],
    ["application/x-www-form-urlencoded; charset=iso-8859-1", null],
    ["application/json; charset=", null],
    ["application/json; boundary=x; charset=koi8-r", null],
    ["multipart/form-data; boundary=x", null],
    ["text/plain", null],
    ["text/json", null],
    ["application/jsonp", null],
    ["application/problem+json", null],
    ["application/json, text/plain", null],
    ["json", null],
    ["; charset=utf-8", null],
    ["", null],
    [null, null],
  ];
  for (const [contentType, kind] of cases) {
    it(`${JSON.stringify(contentType)} is ${kind}`, () => assert.equal(bodyKind(contentType), kind));
  }
});

describe("withoutSecrets()", () => {
  const removal = {
    event: "ONAPPUNINSTALL",
    ts: 1785300000,
    data: { CLEAN: "1", TOKEN: "secret 1", tokens: ["secret 2", { deep: "secret 3" }] },
    auth: {
      member_id: MEMBER_ID,
      domain: "example.bitrix24.de",
      application_token: "secret 4",
      access_token: "secret 5",
      refresh_token: "secret 6",
      expires: 1785303600,
    },
    AUTH_ID: "secret 7",
  };
  const form = new URLSearchParams({
    ...{ event: "ONAPPUNINSTALL", ts: "1785300000", "data[CLEAN]": "1", "data[TOKEN]": "secret 1" },
    ...{ "data[tokens][]": "secret 2", "data[tokens][1][deep]": "secret 3", AUTH_ID: "secret 7", auth_id: "secret 8" },
    ...{ "auth[member_id]": MEMBER_ID, "auth[domain]": "example.bitrix24.de", "auth[application_token]": "secret 4" },
    ...{ "auth[access_token]": "secret 5", "auth[refresh_token]": "secret 6", "auth[expires]": "1785303600" },
  });
  for (const [kind, text] of [["json", JSON.stringify(removal)], ["form", form.toString()]] as const) {
    it(`leaves an event that can be parsed, of a body in ${kind}`, () => {
      const body = withoutSecrets({ kind, text });
      assert.doesNotMatch(decodeURIComponent(body.text.replaceAll("+", " ")), /secret/);
      const event = parseEvent(body.text, kind, 1785300000000);
      assert(event.name === "ONAPPUNINSTALL" && event.data.clean);
      assert.deepEqual([event.auth.memberId, event.auth.domain], [MEMBER_ID, "example.bitrix24.de"]);
      assert.equal(event.auth.applicationToken?.reveal(), "[redacted]");
      assert.equal(event.auth.accessToken, undefined);
    });
  }
});

describe("types", () => {
  it("a name narrows an event to its data", () => {
    const event = parseJson(body("ONAPPUPDATE"));
    // @ts-expect-error not every event has a version
    void event.data.version;
    // @ts-expect-error only unknown events have a name on the wire
    void event.wireName;
    // @ts-expect-error an event is not to be changed
    event.ts = 1;
    // @ts-expect-error a token is not a string
    const token: string | undefined = event.auth.applicationToken;
    // @ts-expect-error an access token may be absent
    void event.auth.accessToken.reveal();
    void token;
    assert(event.name === "ONAPPUPDATE");
    event.data.version satisfies string;
    // @ts-expect-error PREVIOUS_VERSION may be absent
    event.data.previousVersion satisfies string;
    // @ts-expect-error an update has no CLEAN
    void event.data.clean;
    event.auth.memberId satisfies string;
    event.auth.scope satisfies readonly string[];
    assert.equal(event.data.version, "3");
  });

  it("a switch over the names is exhaustive", () => {
    const seen = (event: B24Event): string => {
      switch (event.name) {
        case "ONAPPUPDATE":
        case "ONAPPINSTALL":
          return event.data.version;
        case "ONAPPUNINSTALL":
          return String(event.data.clean satisfies boolean);
        case "ONAPPPAYMENT":
          return `${event.data.code} ${event.data.days satisfies number | undefined}`;
        case "ONAPPMETHODCONFIRM":
          return String(event.data.token satisfies Secret);
        case "ONAPPTEST":
          return JSON.stringify(event.data.query satisfies Extra | readonly ExtraValue[]);
        case "ONAPPUSERREADY":
          return `${event.data.accessToken satisfies Secret} ${event.data.expiresAt satisfies number}`;
        case "UNKNOWN":
          return event.wireName;
        default:
          return event satisfies never;
      }
    };
    assert.deepEqual(EVENT_NAMES.map((name) => seen(parseJson(body(name)))), [
      "3",
      "3",
      "true",
      "vendor.app 28",
      "[redacted]",
      '{"any":"data"}',
      "[redacted] 1785315600000",
      "ONCRMDEALADD",
    ]);
  });

  it("EventNamed finds the event of a name on the wire", () => {
    const update = parseJson(body("ONAPPUPDATE")) as EventNamed<"ONAPPUPDATE">;
    const deal = parseJson(body("ONCRMDEALADD")) as EventNamed<"ONCRMDEALADD">;
    update.data.version satisfies string;
    deal satisfies UnknownEvent;
    // @ts-expect-error of an unknown event nothing is known
    void deal.data.version;
    // @ts-expect-error an install is not an update
    const install: EventNamed<"ONAPPINSTALL"> = update;
    void install;
    // @ts-expect-error a misspelt kind
    assert.throws(() => parseEvent("null", "xml"));
    assert.equal(deal.wireName, "ONCRMDEALADD");
  });
});
