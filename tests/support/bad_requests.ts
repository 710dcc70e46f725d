/** Requests that are not events of Bitrix24, with the expected answers. */
import { readdirSync, readFileSync } from "node:fs";
import { FORM } from "./app.ts";

export const JSON_TYPE = "application/json";

/** An event: an update from version 2 to 3. */
export const GOOD: string = fixture("update-cloud.form");

export function fixture(name: string): string {
  return readFileSync(new URL(`../fixtures/${name}`, import.meta.url), "utf8");
}

/** Returns every token in the fixtures. */
export function fixtureTokens(): Set<string> {
  const tokens = new Set<string>();
  for (const name of readdirSync(new URL("../fixtures", import.meta.url))) {
    if (name.endsWith(".form")) {
      for (const [key, value] of new URLSearchParams(fixture(name))) if (/token/i.test(key)) tokens.add(value);
    }
  }
  return tokens;
}

export interface BadRequest {
  readonly name: string;
  /** @default POST */
  readonly method?: string;
  /** Content type; null for none. @default a form */
  readonly type?: string | null;
  readonly body: string | Uint8Array;
  readonly status: number;
  /** Pattern of the problem's `detail`. */
  readonly detail: RegExp;
}

/** Returns GOOD with fields replaced, or removed if undefined. */
function form(fields: Readonly<Record<string, string | undefined>>): string {
  const parameters = new URLSearchParams(GOOD);
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) parameters.delete(name);
    else parameters.set(name, value);
  }
  return parameters.toString();
}

interface Sent {
  event: unknown;
  ts: unknown;
  data: unknown;
  auth: unknown;
}

/** Returns the same event as JSON, after `change`. */
function json(change: (sent: Sent) => void): string {
  const { "data[VERSION]": VERSION, "auth[member_id]": member_id, "auth[application_token]": application_token } =
    Object.fromEntries(new URLSearchParams(GOOD));
  const sent: Sent = {
    event: "ONAPPUPDATE",
    ts: 1785312000,
    data: { VERSION, PREVIOUS_VERSION: "2" },
    auth: { member_id, application_token, domain: "example.bitrix24.de" },
  };
  change(sent);
  return JSON.stringify(sent);
}

const set = (part: "data" | "auth", values: Readonly<Record<string, unknown>>) => (sent: Sent): void => {
  sent[part] = { ...sent[part] as object, ...values };
};
const bytes = (...values: readonly (string | number)[]): Uint8Array =>
  Uint8Array.from(values.flatMap((value) => typeof value === "number" ? value : [...new TextEncoder().encode(value)]));
const bad = (
  status: number,
  type: string | null,
  cases: readonly (readonly [name: string, body: string | Uint8Array, detail: RegExp, method?: string])[],
): BadRequest[] =>
  cases.map(([name, body, detail, method = "POST"]) => ({
    name: `${name} (${method}, ${type ?? "no content type"})`,
    method,
    type,
    body,
    status,
    detail,
  }));

const NO_NAME = /^event: saw nothing, wanted the name of an event in upper case$/;
const NAME = (saw: string): RegExp => new RegExp(`^event: saw ${saw}, wanted the name of an event in upper case$`);
const NOT_POST = /^wanted the method POST$/;
const NOT_READ = /^wanted application\/x-www-form-urlencoded or application\/json, in UTF-8$/;
const TOO_LARGE = /^wanted at most 1048576 bytes \(limits\.bodyBytes\)$/;
const JUNK = "nonsense \0\r\n\u{1f600} <script> ' OR 1=1 --";

/** Required fields, with what their issues say is wanted. */
const FIELDS: readonly (readonly [field: string, wanted: string])[] = [
  ["event", "the name of an event in upper case"],
  ["ts", "unix time in seconds"],
  ["data[VERSION]", 'a version as a string or an integer, such as "3" or "2\\.1\\.0"'],
  ["auth[member_id]", "32 hexadecimal digits"],
  ["auth[domain]", "a host name"],
  ["auth[application_token]", "a token of 1 to 255 characters"],
];

const pathOf = (field: string): string => field.replace("[", "\\.").replace("]", "");

export const BAD_REQUESTS: readonly BadRequest[] = [
  ...bad(400, FORM, [
    ["an empty body", "", NO_NAME],
    ["garbage", JUNK, NO_NAME],
    ["JSON with the type of a form", json(() => {}), NO_NAME],
    ["XML", "<?xml version='1.0'?><event>ONAPPUPDATE</event>", NO_NAME],
    ["ampersands", "&".repeat(60_000), NO_NAME],
    ["equals signs", "=".repeat(60_000), NO_NAME],
    ["percent signs", "%".repeat(200), NO_NAME],
    ["brackets", "[".repeat(60_000), NO_NAME],
    ["bytes that are not UTF-8", bytes("event=", 0xff, 0xfe), /^body: saw bytes that are not UTF-8, wanted UTF-8$/],
    ["half a character", bytes(GOOD, "&a=", 0xd0), /^body: saw bytes that are not UTF-8, wanted UTF-8$/],
    ["a surrogate", bytes(GOOD, "&a=", 0xed, 0xa0, 0x80), /^body: saw bytes that are not UTF-8, wanted UTF-8$/],
    ["UTF-16", bytes(0xff, 0xfe, ...[...GOOD].flatMap((c) => [c.charCodeAt(0), 0])), /^body: saw bytes that are not/],
    ["escaped bytes that are not UTF-8", `${GOOD}&data[X]=%ff%fe`, /^data\.X: saw bytes that are not UTF-8/],
    [
      "a name with escaped bytes that are not UTF-8",
      `${GOOD}&%ff=1`,
      /^%ff: saw bytes that are not UTF-8, wanted UTF-8$/,
    ],
    [
      "10,000 fields",
      "a=1&".repeat(10_000) + GOOD,
      /^body: saw more than 5000 fields, wanted at most 5000 \(limits\.fields\)$/,
    ],
    [
      "10,000 members",
      "a[]=1&".repeat(10_000),
      /^body: saw more than 5000 fields, wanted at most 5000 \(limits\.fields\)$/,
    ],
    [
      "10,000 levels",
      `${GOOD}&data${"[a]".repeat(10_000)}=1`,
      /^data(\.a){15}: saw more than 16 levels, wanted at most 16 \(limits\.depth\)$/,
    ],
    ["10,000 levels of lists", `data${"[]".repeat(10_000)}=1`, /^data(\."")+: saw more than 16 levels/],
    ["a long name", `${"a".repeat(257)}=1`, /: saw a key of 257 characters, wanted at most 256 \(limits\.keyLength\)$/],
    ["a repeated name, whose last value is wrong", `${GOOD}&ts=soon`, /^ts: saw "soon", wanted unix time in seconds$/],
    ["a repeated name, whose last value is a string", `${GOOD}&auth=1`, /^auth: saw a string of 1 characters, wanted/],
    ["an event in lower case", form({ event: "onappupdate" }), NAME('"onappupdate"')],
    ["an event in mixed case", form({ event: "OnAppUpdate" }), NAME('"OnAppUpdate"')],
    ["an event with a space", form({ event: "ONAPPUPDATE " }), NAME('"ONAPPUPDATE "')],
    ["an event with a line end", form({ event: "ONAPPUPDATE\n" }), NAME('"ONAPPUPDATE\\\\n"')],
    ["an event of 101 characters", form({ event: "A".repeat(101) }), NAME("a string of 101 characters")],
    ["an event of digits", form({ event: "123" }), NAME('"123"')],
    ["an event called __proto__", form({ event: "__proto__" }), NAME('"__proto__"')],
    ["events in a list", `${form({ event: undefined })}&event[]=ONAPPUPDATE`, NAME("an array")],
    ["an event in a map", `${form({ event: undefined })}&event[a]=ONAPPUPDATE`, NAME("an object")],
    ["an event on the prototype", `${form({ event: undefined })}&__proto__[event]=ONAPPUPDATE`, NO_NAME],
    ["no data", "event=ONAPPUPDATE&ts=1", /^data\.VERSION: saw nothing.*; auth: saw nothing, wanted an object$/],
    ["data that is a string", "event=ONAPPUPDATE&ts=1&data=1", /^data: saw "1", wanted an object/],
    ["data that is a list", "event=ONAPPUPDATE&ts=1&data[]=1&data[]=2", /^data: saw an array, wanted an object/],
    ["auth that is a string", "event=ONAPPUPDATE&auth=1", /auth: saw a string of 1 characters, wanted an object$/],
    ["auth that is a list", "event=ONAPPUPDATE&auth[]=1", /auth: saw an array, wanted an object$/],
    ["auth that is empty", "event=ONAPPUPDATE&auth=", /auth: saw an empty string, wanted an object$/],
    ...FIELDS.flatMap(([field, wanted]) => {
      const of = (saw: string): RegExp => new RegExp(`^${pathOf(field)}: saw ${saw}, wanted ${wanted}$`);
      return [
        [`no ${field}`, form({ [field]: undefined }), of("nothing")],
        [`an empty ${field}`, form({ [field]: "" }), of("an empty string")],
        [`${field} in a list`, `${form({ [field]: undefined })}&${field}[]=1`, of("an array")],
        [`${field} in a map`, `${form({ [field]: undefined })}&${field}[a]=1`, of("an object")],
      ] as const;
    }),
    [
      "a token that is too long",
      form({ "auth[application_token]": "a".repeat(256) }),
      /saw a string of 256 characters/,
    ],
    [
      "an access token in a list",
      `${GOOD}&auth[access_token][]=1`,
      /^auth\.access_token: saw an array, wanted a token/,
    ],
    ["a member_id of 31 digits", form({ "auth[member_id]": "a".repeat(31) }), /^auth\.member_id: saw a string of 31/],
    [
      "a member_id that is a path",
      form({ "auth[member_id]": "../../etc/passwd" }),
      /^auth\.member_id: saw "\.\.\/\.\./,
    ],
    ["a domain with a path", form({ "auth[domain]": "a.b/c" }), /^auth\.domain: saw "a\.b\/c", wanted a host name$/],
    ["a domain with a user", form({ "auth[domain]": "a@b.c" }), /^auth\.domain: saw "a@b\.c", wanted a host name$/],
    ["a ts before 1970", form({ ts: "-1" }), /^ts: saw "-1", wanted unix time in seconds$/],
    ["a ts with a fraction", form({ ts: "1.5" }), /^ts: saw "1\.5", wanted/],
    ["a ts with an exponent", form({ ts: "1e9" }), /^ts: saw "1e9", wanted/],
    ["a ts of 16 digits", form({ ts: "1".repeat(16) }), /^ts: saw "1{16}", wanted/],
    ["an invalid version", form({ "data[VERSION]": "latest" }), /^data\.VERSION: saw "latest", wanted a version/],
    [
      "a version of 25 characters",
      form({ "data[VERSION]": "1".repeat(25) }),
      /^data\.VERSION: saw a string of 25 char/,
    ],
  ]),
  ...bad(400, JSON_TYPE, [
    ["an empty body", "", /^body: saw nothing, wanted a JSON object$/],
    ["garbage", JUNK, /^body: saw \d+ characters that are not JSON, wanted a JSON object$/],
    ["a form with the type of JSON", GOOD, /^body: saw \d+ characters that are not JSON, wanted a JSON object$/],
    ["half a body", json(() => {}).slice(0, -5), /^body: saw \d+ characters that are not JSON/],
    ["two bodies", json(() => {}).repeat(2), /^body: saw \d+ characters that are not JSON/],
    ["null", "null", /^body: saw null, wanted an object$/],
    ["true", "true", /^body: saw a boolean, wanted an object$/],
    ["a number", "1", /^body: saw a number, wanted an object$/],
    ["a string", '"ONAPPUPDATE"', /^body: saw a string of 11 characters, wanted an object$/],
    ["a list", `[${json(() => {})}]`, /^body: saw an array, wanted an object$/],
    ["an empty object", "{}", NO_NAME],
    ["bytes that are not UTF-8", bytes('{"event":"', 0xc3, 0x28, '"}'), /^body: saw bytes that are not UTF-8/],
    ["4,000 levels of lists", "[".repeat(4000), /^body: saw 4000 characters that are not JSON/],
    [
      "4,000 levels of closed lists",
      `${"[".repeat(4000)}${"]".repeat(4000)}`,
      /^body: saw an array, wanted an object$/,
    ],
    ["4,000 levels of maps", '{"a":'.repeat(4000) + "1" + "}".repeat(4000), /^a(\.a){15}: saw more than 16 levels/],
    ["500,000 levels of lists", "[".repeat(500_000), /^body: saw more than 5000 fields, wanted at most 5000 \(limits/],
    [
      "10,000 fields",
      `{${Array.from({ length: 5000 }, (_, i) => `"${i}":[1]`).join()}}`,
      /^body: saw more than 5000 fi/,
    ],
    ["a number that is infinite", json((sent) => void (sent.ts = 0)).replace(":0", ":1e999"), /^ts: saw a number that/],
    ["a name on the prototype", '{"__proto__":{"event":"ONAPPUPDATE"}}', NO_NAME],
    ["a repeated name, whose last value is wrong", '{"event":"ONAPPUPDATE","event":"x"}', NAME('"x"')],
    [
      "half a character",
      json(set("data", { VERSION: "\ud83d" })),
      /^data\.VERSION: saw half of a surrogate pair, wanted/,
    ],
    ["an event that is null", json((sent) => void (sent.event = null)), NAME("null")],
    ["an event in a list", json((sent) => void (sent.event = ["ONAPPUPDATE"])), NAME("an array")],
    ["data that is null", json((sent) => void (sent.data = null)), /^data: saw null, wanted an object$/],
    ["data that is a list", json((sent) => void (sent.data = [1])), /^data: saw an array, wanted an object$/],
    ["auth that is null", json((sent) => void (sent.auth = null)), /^auth: saw null, wanted an object$/],
    ["auth that is an empty list", json((sent) => void (sent.auth = [])), /^auth: saw an array, wanted an object$/],
    ["a ts that is null", json((sent) => void (sent.ts = null)), /^ts: saw null, wanted unix time in seconds$/],
    ["a ts with a fraction", json((sent) => void (sent.ts = 1.5)), /^ts: saw 1\.5, wanted unix time in seconds$/],
    ["a version with a fraction", json(set("data", { VERSION: 1.1 })), /^data\.VERSION: saw 1\.1, wanted a version/],
    ["a version that is true", json(set("data", { VERSION: true })), /^data\.VERSION: saw true, wanted a version/],
    ["a member_id that is true", json(set("auth", { member_id: true })), /^auth\.member_id: saw true, wanted 32/],
    [
      "a token that is true",
      json(set("auth", { application_token: true })),
      /token: saw a boolean, wanted a token/,
    ],
    ["a token that is null", json(set("auth", { application_token: null })), /token: saw null, wanted a token/],
  ]),
  ...["text/plain", "multipart/form-data; boundary=x", "application/xml", "application/jsonp", "*/*", "nonsense"]
    .flatMap((type) => bad(415, type, [["another type", GOOD, NOT_READ]])),
  ...["windows-1251", "iso-8859-1", "utf-16", "utf-7", '"koi8-r"', ""]
    .flatMap((charset) => bad(415, `${FORM}; charset=${charset}`, [["another charset", GOOD, NOT_READ]])),
  ...bad(415, `${FORM}, ${JSON_TYPE}`, [["two types", GOOD, NOT_READ]]),
  ...bad(415, null, [["no type", bytes(GOOD), NOT_READ], ["no type and no body", "", NOT_READ]]),
  ...bad(413, FORM, [
    ["one byte too many", "a".repeat(2 ** 20 + 1), TOO_LARGE],
    ["a good event with padding", `${GOOD}&a=${"a".repeat(2 ** 20)}`, TOO_LARGE],
    ["two megabytes", "a".repeat(2_000_000), TOO_LARGE],
  ]),
  ...bad(413, JSON_TYPE, [["two megabytes", `"${"a".repeat(2_000_000)}"`, TOO_LARGE]]),
  ...["PUT", "PATCH", "DELETE", "QUERY"].flatMap((method) => bad(405, FORM, [["an event", GOOD, NOT_POST, method]])),
  ...["GET", "HEAD", "OPTIONS", "DELETE"].flatMap((method) => bad(405, null, [["nothing", "", NOT_POST, method]])),
];

/** Unusual requests that are events. */
export const GOOD_REQUESTS: readonly (readonly [name: string, type: string, body: string])[] = [
  ["an event", FORM, GOOD],
  ["a charset", `${FORM}; charset=utf-8`, GOOD],
  ["a charset in quotes and capitals", `${FORM};CHARSET="UTF-8"`, GOOD],
  ["a charset without a hyphen", `${FORM}; charset=utf8`, GOOD],
  ["a type in capitals", FORM.toUpperCase(), GOOD],
  ["other parameters", `${FORM} ; a=b; charset=utf-8 ; c`, GOOD],
  ["JSON", JSON_TYPE, json(() => {})],
  ["JSON with white space", JSON_TYPE, `\r\n\t ${json(() => {})} \n`],
  ["a byte order mark", FORM, `\ufeff${GOOD}`],
  ["names that are not escaped", FORM, GOOD.replaceAll("%5B", "[").replaceAll("%5D", "]")],
  ["a repeated name, whose last value is right", FORM, `event=garbage&ts=soon&${GOOD}`],
  ["unknown fields", FORM, `${GOOD}&auth[__proto__][x]=1&constructor[prototype][x]=1&a=%zz&&=&[=1&b[=2`],
  ["the maximum number of bytes of an update", FORM, GOOD + "&".repeat(65_536 - GOOD.length)],
];
