import assert from "node:assert/strict";
import { digestToken, Secret } from "@b24/onappupdate";
import { digest } from "../../../src/net/digest.ts";
import { describe, it } from "../../support/test.ts";

describe("digest()", () => {
  it("is SHA-256 in hexadecimal", async () => {
    assert.equal(await digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert.equal(await digest(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  });

  it("encodes strings as UTF-8", async () => {
    assert.equal(await digest("Ключ"), "248f99a1d270a28f646c90298f70d8f3eba39bac549805d2f9e66971ab7dd8a7");
  });

  it("digestToken() hashes the value, not the printed form", async () => {
    assert.equal(await digestToken(new Secret("abc")), await digest("abc"));
    assert.notEqual(await digestToken(new Secret("abc")), await digest("[redacted]"));
  });
});
