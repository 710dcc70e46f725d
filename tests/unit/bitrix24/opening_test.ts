import assert from "node:assert/strict";
import { InputError } from "@b24/onappupdate/errors";
import { isOpening, parseOpening } from "../../../src/bitrix24/opening.ts";
import { decodeForm } from "../../../src/bitrix24/form.ts";
import type { DecodeLimits } from "../../../src/bitrix24/tree.ts";
import { test } from "../../support/test.ts";

const NOW = 1_785_300_000_000;
const QUERY = { DOMAIN: "example.bitrix24.de", PROTOCOL: "1", LANG: "de", APP_SID: "5e55101d" };
const BODY = {
  AUTH_ID: "acce55-of-ada",
  AUTH_EXPIRES: "3600",
  REFRESH_ID: "fe5fe5-of-ada",
  SERVER_ENDPOINT: "https://oauth.bitrix24.tech/rest/",
  APPLICATION_TOKEN: "a99-of-the-portal",
  APPLICATION_SCOPE: "crm,placement",
  member_id: "A223C6B3710F85DF22E9377D6C4F7553",
  status: "S",
  PLACEMENT: "CRM_DEAL_DETAIL_TAB",
  PLACEMENT_OPTIONS: '{"ID":"42"}',
};
type Fields = Readonly<Record<string, string | undefined>>;

function form(fields: Fields): URLSearchParams {
  return new URLSearchParams(
    Object.entries(fields).filter((field): field is [string, string] => field[1] !== undefined),
  );
}

function parse(query: Fields = {}, body: Fields = {}): ReturnType<typeof parseOpening> {
  return parseOpening(form({ ...QUERY, ...query }), form({ ...BODY, ...body }).toString(), NOW);
}

test("parseOpening() reads all fields", () => {
  const { accessToken, refreshToken, applicationToken, appSid, ...opening } = parse();
  assert.deepEqual(opening, {
    memberId: "a223c6b3710f85df22e9377d6c4f7553",
    domain: "example.bitrix24.de",
    language: "de",
    expiresAt: NOW + 3_600_000,
    serverEndpoint: "https://oauth.bitrix24.tech/rest/",
    scope: ["crm", "placement"],
    placement: "CRM_DEAL_DETAIL_TAB",
    placementOptions: { ID: "42" },
  });
  assert.deepEqual(
    [accessToken, refreshToken, applicationToken, appSid].map((secret) => secret?.reveal()),
    ["acce55-of-ada", "fe5fe5-of-ada", "a99-of-the-portal", "5e55101d"],
  );
});

test("parseOpening() leaves out what was not sent, or was sent empty", () => {
  for (const absent of [undefined, ""]) {
    const optional = {
      REFRESH_ID: absent,
      SERVER_ENDPOINT: absent,
      APPLICATION_TOKEN: absent,
      APPLICATION_SCOPE: absent,
    };
    const others = { AUTH_EXPIRES: absent, PLACEMENT: absent, PLACEMENT_OPTIONS: absent };
    const { accessToken: _, ...opening } = parse({ LANG: absent, APP_SID: absent }, { ...optional, ...others });
    assert.deepEqual(opening, {
      memberId: "a223c6b3710f85df22e9377d6c4f7553",
      domain: "example.bitrix24.de",
      expiresAt: NOW + 3_600_000,
      scope: [],
      placement: "DEFAULT",
      placementOptions: {},
    });
  }
});

test("parseOpening() never expects an access token to live longer than an hour", () => {
  assert.equal(parse({}, { AUTH_EXPIRES: "60" }).expiresAt, NOW + 60_000);
  assert.equal(parse({}, { AUTH_EXPIRES: "999999999999" }).expiresAt, NOW + 3_600_000);
});

test("parseOpening() takes placement options that are no object as none", () => {
  for (const options of ["[]", "null", "7", '"x"', "{", "undefined"]) {
    assert.deepEqual(parse({}, { PLACEMENT_OPTIONS: options }).placementOptions, {}, options);
  }
});

test("parseOpening() names every wrong field, and quotes none", () => {
  const cases: readonly (readonly [query: Fields, body: Fields, ...paths: string[]])[] = [
    [{ DOMAIN: undefined }, {}, "query.DOMAIN"],
    [{ DOMAIN: "a host/of mine" }, {}, "query.DOMAIN"],
    [{ LANG: "x".repeat(17) }, {}, "query.LANG"],
    [{ APP_SID: "x".repeat(256) }, {}, "query.APP_SID"],
    [{}, { AUTH_ID: undefined }, "body.AUTH_ID"],
    [{}, { AUTH_ID: "" }, "body.AUTH_ID"],
    [{}, { AUTH_ID: "x".repeat(256) }, "body.AUTH_ID"],
    [{}, { "AUTH_ID[]": "x" }, "body.AUTH_ID"],
    [{}, { REFRESH_ID: "x".repeat(256) }, "body.REFRESH_ID"],
    [{}, { AUTH_EXPIRES: "-1" }, "body.AUTH_EXPIRES"],
    [{}, { member_id: undefined }, "body.member_id"],
    [{}, { member_id: "me" }, "body.member_id"],
    [{}, { PLACEMENT: "x".repeat(256) }, "body.PLACEMENT"],
    [{ DOMAIN: "" }, { AUTH_ID: undefined, member_id: "" }, "query.DOMAIN", "body.AUTH_ID", "body.member_id"],
  ];
  for (const [query, body, ...paths] of cases) {
    assert.throws(() => parse(query, body), (error) => {
      assert(error instanceof InputError);
      assert.deepEqual(error.issues.map(({ path }) => path), paths);
      assert.doesNotMatch(error.message, /acce55|fe5fe5|a99|5e55101d|xxx|host\/of/);
      return true;
    });
  }
});

test("parseOpening() heeds the limits of bodies", () => {
  const parseWith = (fields: Fields, limits: Partial<DecodeLimits>) =>
    parseOpening(form(QUERY), form({ ...BODY, ...fields }).toString(), NOW, limits);
  assert.throws(() => parseWith({}, { fields: 3 }), /more than 3 fields, wanted at most 3 \(limits\.fields\)/);
  assert.throws(() => parseWith({ PLACEMENT_OPTIONS: "x".repeat(100) }, { valueLength: 99 }), /limits\.valueLength/);
  for (const [item, fields] of [["{},", 20], ["1,", 20], ["[".repeat(21), 20], ["1,", undefined]] as const) {
    const limits = fields === undefined ? {} : { fields };
    const options = `{"a":[${item.repeat((fields ?? 5000) + 1)}1]}`;
    assert.throws(() => parseWith({ PLACEMENT_OPTIONS: options }, limits), /limits\.fields/, options.slice(0, 20));
  }
});

test("isOpening() tells openings from events", () => {
  assert.equal(isOpening(decodeForm(form(BODY).toString())), true);
  assert.equal(isOpening(decodeForm(`event=ONAPPUPDATE&${form(BODY)}`)), false);
  assert.equal(isOpening(decodeForm("AUTH_ID=1")), false);
  assert.equal(isOpening(decodeForm("")), false);
});
