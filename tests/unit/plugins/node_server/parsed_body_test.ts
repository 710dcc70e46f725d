import assert from "node:assert/strict";
import { parse as parseFlat } from "node:querystring";
// @ts-types="@types/qs"
import qs from "qs";
import { encodeForm } from "../../../../plugins/node_server/parsed_body.ts";
import { decodeForm } from "../../../../src/bitrix24/form.ts";
import { describe, it } from "../../../support/test.ts";

/** Forms that both kinds of parsers keep. */
const FORMS: readonly string[] = [
  "event=ONAPPUPDATE&data[VERSION]=3&ts=1",
  "data%5BVERSION%5D=3&data%5BPREVIOUS_VERSION%5D=2",
  "a=1+2%2B3%26%3D%5B%5D&b=%D0%A1%D0%B4%D0%B5%D0%BB%D0%BA%D0%B0",
  "a=&b[c]=",
  "a[]=x&a[]=y&b[c][]=z",
  "a[b][c][d]=1&a[b][e]=2",
  "a[0]=x&a[1]=y",
  "a[120]=x&a[130]=y",
  "a[b c][d.e]=1",
  "a[b]=%F0%9F%98%80",
];

describe("encodeForm()", () => {
  for (const form of FORMS) {
    it(`restores ${form} after parsers that nest and that do not`, () => {
      assert.deepEqual(decodeForm(encodeForm(qs.parse(form))), decodeForm(form));
      assert.deepEqual(decodeForm(encodeForm({ ...parseFlat(form) })), decodeForm(form));
    });
  }

  it("restores names below the maximum depth of qs", () => {
    const form = "a[b][c][d][e][f][g][h]=1";
    assert.deepEqual(decodeForm(encodeForm(qs.parse(form, { depth: 5 }))), decodeForm(form));
  });

  it("drops what a form cannot say: empty lists and objects", () => {
    assert.equal(encodeForm({ a: [], b: {}, c: { d: null }, e: 1, f: true }), "c%5Bd%5D=&e=1&f=true");
  });
});
