import assert from "node:assert/strict";
import { addressOf, bytesOf, isIn, rangeOf } from "../../../src/net/ip_range.ts";
import { describe, it } from "../../support/test.ts";

describe("rangeOf()", () => {
  const cases: readonly (readonly [range: string, within: readonly string[], outside: readonly string[]])[] = [
    ["192.0.2.7", ["192.0.2.7"], ["192.0.2.6", "::ffff:192.0.2.7"]],
    ["192.0.2.0/24", ["192.0.2.0", "192.0.2.255"], ["192.0.3.0", "192.0.1.255"]],
    ["192.0.2.130/25", ["192.0.2.128", "192.0.2.255"], ["192.0.2.127"]],
    ["0.0.0.0/0", ["255.1.2.3"], ["::1"]],
    ["2001:db8::1", ["2001:DB8:0:0::1"], ["2001:db8::2"]],
    ["2001:db8::/33", ["2001:db8:7fff::1"], ["2001:db8:8000::1", "1.2.3.4"]],
  ];
  for (const [range, within, outside] of cases) {
    it(`reads ${range}`, () => {
      const parsed = rangeOf(range)!;
      for (const ip of within) assert.equal(isIn(bytesOf(ip)!, parsed), true, ip);
      for (const ip of outside) assert.equal(isIn(bytesOf(ip)!, parsed), false, ip);
    });
  }

  for (
    const text of [
      ...["", "/", "/24", "192.0.2", "192.0.2.256", "192.0.2.01", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/-1"],
      ...["192.0.2.0/24/8", "192.0.2.0/2a", " 192.0.2.1", "192.0.2.1:80", "::1/129", "[::1]", "bitrix24.com", "*"],
    ]
  ) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(rangeOf(text), undefined));
  }
});

describe("addressOf()", () => {
  for (
    const [text, address] of [
      ["192.0.2.7", "192.0.2.7"],
      [" 192.0.2.7 ", "192.0.2.7"],
      ["::ffff:192.0.2.7", "192.0.2.7"],
      ["2001:db8::1", "2001:db8::1"],
      ["fe80::1%eth0", "fe80::1"],
      ["192.0.2.7, 10.0.0.1", undefined],
      ["unknown", undefined],
      ["", undefined],
      [undefined, undefined],
    ] as const
  ) {
    it(`returns ${address} for ${JSON.stringify(text)}`, () => assert.equal(addressOf(text), address));
  }
});
