import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { MEMBER_ID } from "../../support/app.ts";
import { hasToken } from "../../support/leaks.ts";
import { it } from "../../support/test.ts";

it("tokens of the fake are found as they are, percent-encoded, and in base64", () => {
  const portal = fakeBitrix24({ clientId: "app.5f3a" }).portal({ memberId: MEMBER_ID });
  const body = new URLSearchParams(portal.install(2));
  const names = ["auth[access_token]", "auth[refresh_token]", "auth[application_token]"];
  const tokens = names.map((name) => body.get(name)!);
  for (const token of tokens) {
    const encoded = Array.from(token, (char) => `%${char.charCodeAt(0).toString(16)}`).join("");
    for (const text of [token, token.toUpperCase(), encoded]) assert(hasToken(`x=${text}&y`), text);
    for (const before of ["", "a", "ab"]) {
      assert(hasToken(Buffer.from(`${before}${token}!`).toString("base64")), before);
    }
  }
  assert(!hasToken(MEMBER_ID));
});
