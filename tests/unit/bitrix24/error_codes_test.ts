import assert from "node:assert/strict";
import { B24Error } from "../../../src/bitrix24/b24_error.ts";
import { type ErrorCodeMeaning, meaningOf } from "../../../src/bitrix24/error_codes.ts";
import { describe, it } from "../../support/test.ts";

const REFUSED_TOKEN: ErrorCodeMeaning = {
  blockedOn: "authorization",
  refusesToken: true,
  isOAuthAnswer: true,
  failsVerification: true,
};
const OTHER_USER: ErrorCodeMeaning = { blockedOn: "administrator", needsOtherUser: true };
const NOT_AVAILABLE: ErrorCodeMeaning = { blockedOn: "installation", isOAuthAnswer: true };

/** Each code as Bitrix24 writes it. */
const CODES: readonly (readonly [code: string, meaning: ErrorCodeMeaning])[] = [
  ["expired_token", REFUSED_TOKEN],
  ["invalid_token", REFUSED_TOKEN],
  ["NO_AUTH_FOUND", REFUSED_TOKEN],
  ["invalid_grant", {
    blockedOn: "authorization",
    refusesRefreshToken: true,
    isOAuthAnswer: true,
    failsVerification: true,
  }],
  ["WRONG_CLIENT", { blockedOn: "authorization", isOtherApp: true, isOAuthAnswer: true, failsVerification: true }],
  ["invalid_client", { blockedOn: "configuration", isOAuthAnswer: true, failsVerification: true }],
  ["INVALID_REQUEST", { isOAuthAnswer: true }],
  ["NOT_INSTALLED", { ...NOT_AVAILABLE, isNotInstalled: true, failsVerification: true }],
  ["APPLICATION_NOT_FOUND", NOT_AVAILABLE],
  ["authorization_error", NOT_AVAILABLE],
  ["ERROR_OAUTH", NOT_AVAILABLE],
  ["PORTAL_DELETED", { blockedOn: "installation" }],
  ["PAYMENT_REQUIRED", { blockedOn: "payment", isOAuthAnswer: true }],
  ["insufficient_scope", { blockedOn: "scope" }],
  ["invalid_scope", { blockedOn: "scope", isOAuthAnswer: true }],
  ["BITRIX_REST_V3_EXCEPTION_INSUFFICIENTSCOPEEXCEPTION", { blockedOn: "scope" }],
  ["user_access_error", OTHER_USER],
  ["ACCESS_DENIED", OTHER_USER],
  ["INVALID_CREDENTIALS", OTHER_USER],
  ["BITRIX_REST_V3_EXCEPTION_ACCESSDENIEDEXCEPTION", OTHER_USER],
  ["BITRIX_REST_V3_EXCEPTION_LICENSEEXCEPTION", { blockedOn: "payment" }],
  ["BITRIX_REST_V3_EXCEPTION_MARKETSUBSCRIPTIONREQUIREDEXCEPTION", { blockedOn: "payment" }],
  ["BITRIX_REST_V3_EXCEPTION_RESTUNAVAILABLEEXCEPTION", { blockedOn: "payment" }],
  ["BITRIX_REST_V3_EXCEPTION_RATELIMITEXCEPTION", { limit: "operating_time", retryAfterMs: 600_000 }],
  ["BITRIX_REST_V3_EXCEPTION_IDEMPOTENCYKEYREUSEDEXCEPTION", { isFinal: true }],
  ["BITRIX_REST_V3_EXCEPTION_INVALIDIDEMPOTENCYKEYEXCEPTION", { isFinal: true }],
  ["BITRIX_REST_V3_EXCEPTION_INTERNAL_INTERNALEXCEPTION", { mayHaveTakenEffect: true }],
  ["BITRIX_REST_V3_EXCEPTION_ENTITYNOTFOUNDEXCEPTION", {}],
  ["METHOD_CONFIRM_WAITING", { blockedOn: "confirmation" }],
  ["METHOD_CONFIRM_DENIED", { isFinal: true }],
  ["QUERY_LIMIT_EXCEEDED", { limit: "requests", retryAfterMs: 10_000 }],
  ["OPERATION_TIME_LIMIT", { limit: "operating_time", retryAfterMs: 600_000 }],
  ["OVERLOAD_LIMIT", { isFinal: true }],
  ["INTERNAL_SERVER_ERROR", { mayHaveTakenEffect: true }],
  ["ERROR_UNEXPECTED_ANSWER", { mayHaveTakenEffect: true }],
  ["ERROR_CORE", {}],
  ["ERROR_BATCH_LENGTH_EXCEEDED", {}],
  ["constructor", {}],
  ["", {}],
];

describe("meaningOf()", () => {
  for (const [code, meaning] of CODES) {
    it(`${code} in any case`, () => {
      for (const spelling of [code, code.toLowerCase(), code.toUpperCase()]) {
        assert.deepEqual(meaningOf(spelling, `about ${code}`), meaning);
      }
    });
  }

  it("ACCESSDENIEDEXCEPTION of REST 3.0 is about the token with 401, and about the user with 403", () => {
    const code = "BITRIX_REST_V3_EXCEPTION_ACCESSDENIEDEXCEPTION";
    assert.deepEqual(meaningOf(code, "", 401), { blockedOn: "authorization", refusesToken: true });
    assert.deepEqual(meaningOf(code, "", 403), OTHER_USER);
    const error = new B24Error({ code, description: "", status: 401, method: "tasks.task.get" });
    assert.deepEqual([error.refusesToken, error.needsOtherUser], [true, false]);
  });

  it("ACCESS_DENIED of a free plan is about payment, not about the user", () => {
    const description = "REST API is available only on commercial plans.";
    assert.deepEqual(meaningOf("ACCESS_DENIED", description), { blockedOn: "payment" });
    assert.deepEqual(meaningOf("insufficient_scope", description), { blockedOn: "scope" });
  });
});

describe("B24Error", () => {
  it("has the meaning of its code", () => {
    for (const [code, meaning] of CODES) {
      const error = new B24Error({ code, description: "", status: 400, method: "profile" });
      const { blockedOn, isFinal, retryAfterMs, limit, refusesToken, needsOtherUser } = error;
      assert.deepEqual(
        { blockedOn, isFinal, retryAfterMs, limit, refusesToken, needsOtherUser },
        {
          blockedOn: meaning.blockedOn,
          isFinal: meaning.isFinal ?? false,
          retryAfterMs: meaning.retryAfterMs,
          limit: meaning.limit,
          refusesToken: meaning.refusesToken ?? false,
          needsOtherUser: meaning.needsOtherUser ?? false,
        },
      );
      assert.equal(error.mayHaveTakenEffect, meaning.mayHaveTakenEffect ?? false);
      assert.equal(error.failsVerification, meaning.failsVerification ?? false);
      assert.equal(error.isNotInstalled, meaning.isNotInstalled ?? false);
    }
  });

  it("keeps the code as it was sent", () => {
    const error = new B24Error({ code: "Expired_Token", description: "it ended", status: 200, method: "profile" });
    assert.equal(error.b24Code, "Expired_Token");
    assert.equal(error.message, "profile answered 200 Expired_Token: it ended");
  });
});
