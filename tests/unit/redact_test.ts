import assert from "node:assert/strict";
import { inspect } from "node:util";
import { Secret } from "@b24/onappupdate";
import { InputError, UpgradeError } from "@b24/onappupdate/errors";
import { isSecretName, redact, redactError } from "../../src/redact.ts";
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

const SECRET_NAMES = [
  ..."access_token refresh_token application_token client_secret AUTH_ID REFRESH_ID APP_SID APPLICATION_TOKEN".split(
    " ",
  ),
  ..."TOKEN token auth AUTH accessToken clientSecret ACCESSTOKEN app-sid authId PASSWORD user_passwd SECRET_KEY".split(
    " ",
  ),
  ..."apiKey API_KEY private_key sessid Authorization TOKENS UF_CRM_API_TOKEN credentials".split(" "),
];
const ORDINARY_NAMES = [
  ..."AUTHOR_ID AUTH_EXPIRES AUTH_TYPE auth_connector AUTH_USER_ID authorId SESSION_ID SID member_id client_id".split(
    " ",
  ),
  ..."expires_in scope domain status user_id REFRESH_INTERVAL APP_ID SECRETARY_ID TOKENIZER CODE ID KEY API 0".split(
    " ",
  ),
  ...["", "ключ", "__proto__", "event_handler_id", "server_endpoint", "APPLICATION_SCOPE", "PLACEMENT_OPTIONS"],
];

describe("isSecretName()", () => {
  it("does not forget the kind of a name, however many names are asked for, and however long they are", () => {
    const names = [...Array.from({ length: 1000 }, (_, n) => `name${n}`), "n".repeat(100)];
    for (let i = 0; i < 2; i++) {
      for (const name of names) assert.deepEqual([isSecretName(name), isSecretName(`${name}_token`)], [false, true]);
    }
  });

  for (const name of SECRET_NAMES) it(`accepts ${name}`, () => assert.equal(isSecretName(name), true));
  for (const name of ORDINARY_NAMES) {
    it(`rejects ${JSON.stringify(name)}`, () => assert.equal(isSecretName(name), false));
  }
});

describe("redact() and fields", () => {
  const cases: readonly (readonly [text: string, redacted: string])[] = [
    ["?auth=a1&b=2", "?auth=[redacted]&b=2"],
    ["AUTH_ID=a1, AUTHOR_ID=7", "AUTH_ID=[redacted], AUTHOR_ID=7"],
    [
      "data[auth][access_token]=a1&data[auth][member_id]=m",
      "data[auth][access_token]=[redacted]&data[auth][member_id]=m",
    ],
    ["auth%5Bapplication_token%5D=a1&ts=1", "auth%5Bapplication_token%5D=[redacted]&ts=1"],
    ["auth%5BAUTH_ID%5D=a1", "auth%5BAUTH_ID%5D=[redacted]"],
    ['{"access_token":"a1","user": "u"}', '{"access_token":"[redacted]","user": "u"}'],
    ['"{\\"client_secret\\": \\"a1\\"}"', '"{\\"client_secret\\": \\"[redacted]\\"}"'],
    ["['APP_SID' => 'a1']", "['APP_SID' => '[redacted]']"],
    ["token=[redacted]", "token=[redacted]"],
    ["if (token === undefined)", "if (token === undefined)"],
    ["invalid token: expired_token", "invalid token: expired_token"],
    ["https://a.b/?x=1#auth=a1", "https://a.b/?x=1#auth=[redacted]"],
    ["no https://me:pa55@a.b/c?mail=x@y", "no https://[redacted]@a.b/c?mail=x@y"],
    ["https://me@a.b:8443/", "https://[redacted]@a.b:8443/"],
    ["https://a.b:8443/c@d", "https://a.b:8443/c@d"],
    [
      "error sending request for url (https://a.bitrix24.de/rest/1/k3x9ab7qmzp0lwer/crm.deal.list?id=1)",
      "error sending request for url (https://a.bitrix24.de/rest/1/[redacted]/crm.deal.list?id=1)",
    ],
    ["https://a.b/rest/api/12/k3x9ab7qmzp0lwer/main.user.get", "https://a.b/rest/api/12/[redacted]/main.user.get"],
    ["https://a.b/rest/1/k3x9ab7qmzp0lwer", "https://a.b/rest/1/[redacted]"],
    ["https://a.b/rest/1/department.get", "https://a.b/rest/1/department.get"],
    ["https://a.b/rest/crm.deal.list", "https://a.b/rest/crm.deal.list"],
  ];
  for (const [text, redacted] of cases) {
    it(`turns ${text} into ${redacted}`, () => assert.equal(redact(text), redacted));
  }

  // If it took quadratic time, the test would miss its deadline.
  const token = "kJ3x9_aB-7QmZp0LwErTy12UiOpAsDfGhJkLzXcVbNm";
  const headers: readonly (readonly [text: string, redacted: string])[] = [
    [`refused: Bearer ${token}`, "refused: [redacted]"],
    [`authorization: bearer  ${token}, then`, "authorization: [redacted], then"],
    [`{"authorization":"Bearer ${token}"}`, '{"authorization":"[redacted]"}'],
    [`{\\"Authorization\\":\\"Bearer ${token}\\"}`, '{\\"Authorization\\":\\"[redacted]\\"}'],
    [`-H "Authorization: Basic YWRhOnNlY3JldA=="`, '-H "Authorization: [redacted]"'],
    ['{"proxy-authorization":"Basic YWRhOnNlY3JldA=="}', '{"proxy-authorization":"[redacted]"}'],
    ["wanted the header authorization: Bearer TOKEN", "wanted the header authorization: Bearer TOKEN"],
    ["Basic functionality, by Bearer authentication", "Basic functionality, by Bearer authentication"],
  ];
  for (const [text, redacted] of headers) {
    it(`turns ${text} into ${redacted}`, () => assert.equal(redact(text), redacted));
  }

  it("takes time that is linear in the text", () => {
    for (
      const part of [
        "Bearer ",
        "Bearer",
        "authorization Basic ",
        "a",
        "a-",
        'a"',
        "auth ",
        "%5B",
        "auth]]]]",
        "=",
        "token='",
        "://",
        "//a",
        "/rest/1/",
        "/rest/1/abcdefgh.",
      ]
    ) {
      redact(part.repeat(200_000));
    }
  });
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

  it("removes the values of fields and members by their names", () => {
    const thrown = Object.assign(new Error("refused client_secret=s1"), {
      AUTH_ID: "s2",
      AUTHOR_ID: "7",
      body: "auth=s3",
    });
    const copy = redactError(thrown, []) as typeof thrown;
    assert.equal(copy.message, "refused client_secret=[redacted]");
    assert.deepEqual([copy.AUTH_ID, copy.AUTHOR_ID, copy.body], ["[redacted]", "7", "auth=[redacted]"]);
    assert.doesNotMatch(inspect(copy, { showHidden: true }), /s[123]\b/);
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
    assert.equal((abort as DOMException).code, 20, "its accessor throws on the copy");
    assert.equal(redactError(`text ${VALUE}`, secrets).message, "text [redacted]");
    assert.equal(redactError(undefined, secrets).message, "undefined");
    assert.equal(redactError(null, secrets).message, "null");
  });
});
