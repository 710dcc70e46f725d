import assert from "node:assert/strict";
import { inspect } from "node:util";
import { Secret } from "@b24/onappupdate";
import { InputError, UpgradeError } from "@b24/onappupdate/errors";
import { redact, redactError } from "../../src/redact.ts";
import { describe, it } from "../support/test.ts";

const VALUE = "3a0f7d66007e2a1c0056b0f100000001";

describe("redact()", () => {
  const cases: readonly (readonly [criterion: string, text: string, secrets: string[], redacted: string])[] = [
    ["removes every copy", "a=12345678&b=12345678", ["12345678"], "a=[redacted]&b=[redacted]"],
    ["removes several secrets", "12345678 abcdefgh", ["12345678", "abcdefgh"], "[redacted] [redacted]"],
    [
      "leaves no rest of a secret that starts with another one",
      "12345678xyz",
      ["12345678", "12345678xyz"],
      "[redacted]",
    ],
    ["leaves no rest of a secret that ends with another one", "xyz12345678", ["12345678", "xyz12345678"], "[redacted]"],
    ["treats metacharacters of regular expressions literally", "a$&.*(x)$1 b", ["$&.*(x)$1"], "a[redacted] b"],
    ["keeps values below 8 characters", "an access token", ["token", "", "access"], "an access token"],
    ["keeps text without secrets", "nothing here", ["12345678"], "nothing here"],
    ["removes nothing without secrets", "12345678", [], "12345678"],
  ];
  for (const [criterion, text, secrets, redacted] of cases) {
    it(criterion, () => assert.equal(redact(text, secrets.map((value) => new Secret(value))), redacted));
  }
});

describe("redactError()", () => {
  const secrets = [new Secret(VALUE)];

  class RequestError extends Error {
    readonly status = 401;
    readonly url = `https://example.bitrix24.de/rest/profile?auth=${VALUE}`;
    readonly request = { headers: { authorization: VALUE } };
  }

  it("removes tokens from message, stack, strings and causes, and does not copy objects", () => {
    const thrown = new UpgradeError("3.0.0", 2, `quotes ${VALUE}`, {
      cause: new RequestError(`refused ${VALUE}`, { cause: `plain ${VALUE}` }),
    });
    const copy = redactError(thrown, secrets) as UpgradeError;
    assert.doesNotMatch(inspect(copy, { showHidden: true, depth: Infinity }), new RegExp(VALUE));
    assert.equal(copy.message, "upgrade 3.0.0 failed at attempt 2: quotes [redacted]");
    const cause = copy.cause as RequestError;
    assert.equal(cause.url, "https://example.bitrix24.de/rest/profile?auth=[redacted]");
    assert.equal("request" in cause, false);
    assert.equal((cause.cause as Error).message, "plain [redacted]");
  });

  it("keeps class, name, code and numbers", () => {
    const copy = redactError(
      new UpgradeError("3.0.0", 2, "x", { cause: new RequestError("y") }),
      secrets,
    ) as UpgradeError;
    assert(copy instanceof UpgradeError);
    assert.deepEqual([copy.name, copy.code, copy.upgradeId, copy.attempt], ["UpgradeError", "upgrade", "3.0.0", 2]);
    assert(copy.cause instanceof RequestError);
    assert.equal(copy.cause.status, 401);
    assert.match(
      redactError(new InputError([{ path: "ts", saw: "nothing", wanted: "a number" }]), []).message,
      /^ts: /,
    );
  });

  it("accepts any thrown value", () => {
    const abort = redactError(new DOMException(`stopped ${VALUE}`, "AbortError"), secrets);
    assert.deepEqual([abort.name, abort.message], ["AbortError", "stopped [redacted]"]);
    assert.equal(redactError(`text ${VALUE}`, secrets).message, "text [redacted]");
    assert.equal(redactError(undefined, secrets).message, "undefined");
    assert.equal(redactError(null, secrets).message, "null");
  });
});
