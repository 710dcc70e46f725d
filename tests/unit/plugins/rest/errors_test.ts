import assert from "node:assert/strict";
import { B24Error, RetryAfterError } from "@b24/onappupdate";
import { MEMBER_ID } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { type Answer, type Counter, counter, failure, NOW, ok, refusal } from "./_rest.ts";

/** Refuses the first `count` requests. */
function first(count: number, refused: () => Response): Answer {
  return (_sent, at) => at <= count ? refused() : ok("done");
}

/** The rows of the table of codes that end in an error at once. */
const THROWN: readonly (readonly [code: string, status: number, blockedOn: string | undefined, isFinal: boolean])[] = [
  ["insufficient_scope", 403, "scope", false],
  ["invalid_scope", 403, "scope", false],
  ["METHOD_CONFIRM_WAITING", 401, "confirmation", false],
  ["METHOD_CONFIRM_DENIED", 403, undefined, true],
  ["OVERLOAD_LIMIT", 503, undefined, true],
  ["WRONG_CLIENT", 200, "authorization", false],
  ["invalid_client", 400, "configuration", false],
  ["invalid_grant", 400, "authorization", false],
  ["ERROR_CORE", 400, undefined, false],
  ["ERROR_METHOD_NOT_FOUND", 404, undefined, false],
  ["Access denied", 400, undefined, false],
];

describe("b24.call() and the errors of Bitrix24", () => {
  for (const [code, status, blockedOn, isFinal] of THROWN) {
    it(`throws ${code}`, async () => {
      const made = counter();
      made.answer = () => refusal(status, code);
      const error = await failure(made, made.b24.call("crm.deal.list"), {
        name: "B24Error",
        b24Code: code,
        status,
        method: "crm.deal.list",
        description: `about ${code}`,
        isFinal,
      });
      assert.equal((error as B24Error).blockedOn, blockedOn);
      assert.equal(made.sent.length, 1);
    });

    it(`sees ${code} in an answer of HTTP 200`, async () => {
      const made = counter();
      made.answer = () => refusal(200, code);
      await failure(made, made.b24.call("crm.deal.list"), { name: "B24Error", b24Code: code, status: 200 });
    });
  }

  for (const code of ["expired_token", "invalid_token", "NO_AUTH_FOUND"]) {
    it(`refreshes the token pair once after ${code}, and repeats any method`, async () => {
      const made = counter();
      made.answer = first(1, () => refusal(401, code));
      assert.equal(await made.b24.call("crm.deal.add"), "done");
      assert.deepEqual(made.asked, ["get", "refresh 1"]);
      assert.deepEqual(made.sent.map(({ auth }) => auth), made.tokens);
      made.answer = () => refusal(401, code);
      await failure(made, made.b24.call("crm.deal.add"), { b24Code: code, blockedOn: "authorization" });
      assert.deepEqual(made.asked, ["get", "refresh 1", "get", "refresh 1"]);
      assert.equal(made.sent.length, 4);
    });
  }

  for (const code of ["user_access_error", "ACCESS_DENIED"]) {
    it(`repeats as the other users after ${code}, each of whom may have an expired token`, async () => {
      const made = counter();
      made.users = 3;
      const answers = [
        refusal(403, code),
        refusal(401, "expired_token"),
        refusal(403, code),
        refusal(401, "expired_token"),
        ok("as the third"),
      ];
      made.answer = (_sent, count) => answers[count - 1]!;
      assert.equal(await made.b24.call("crm.deal.add"), "as the third");
      assert.deepEqual(made.asked, ["get", "other user than 1", "refresh 2", "other user than 1,2", "refresh 3"]);
    });

    it(`throws ${code} if no user may`, async () => {
      const made = counter();
      made.users = 2;
      made.answer = () => refusal(403, code);
      await failure(made, made.b24.call("crm.deal.add"), { b24Code: code, blockedOn: "administrator" });
      assert.deepEqual(made.asked, ["get", "other user than 1", "other user than 1,2"]);
      assert.equal(made.sent.length, 2);
    });
  }

  for (const [code, blockedOn] of [["PAYMENT_REQUIRED", "payment"], ["NOT_INSTALLED", "installation"]] as const) {
    it(`records ${code} on the portal, and throws it also if that fails`, async () => {
      const made = counter();
      made.answer = () => refusal(401, code);
      await failure(made, made.b24.call("profile"), { name: "B24Error", b24Code: code, blockedOn });
      assert.deepEqual(made.asked, ["get", `record ${code}`]);
      Object.assign(made.recovery, { recordRefusal: () => Promise.reject(new Error("storage is down")) });
      await failure(made, made.b24.call("profile"), { name: "B24Error", b24Code: code, blockedOn });
      assert.match(made.lines.join(), /storage is down/);
      assert.equal(made.sent.length, 2);
    });
  }

  it("waits longer after each QUERY_LIMIT_EXCEEDED, and repeats any method", async () => {
    const made = counter();
    made.answer = first(4, () => refusal(503, "QUERY_LIMIT_EXCEEDED"));
    assert.equal(await made.b24.call("crm.deal.add"), "done");
    assert.equal(made.sent.length, 5);
    assert.equal(made.waits.length, 4);
    for (const [index, ms] of made.waits.entries()) {
      const most = 1000 * 2 ** index;
      assert(ms >= most / 2 && ms <= most, `${made.waits}`);
    }
    made.answer = () => refusal(503, "QUERY_LIMIT_EXCEEDED");
    await failure(made, made.b24.call("crm.deal.add"), { b24Code: "QUERY_LIMIT_EXCEEDED", isFinal: false });
    assert.equal(made.sent.length, 11);
  });

  it("sends nothing to a portal for a while after QUERY_LIMIT_EXCEEDED, and then the same call first", async () => {
    const made = counter({ rate: { burst: 3, perSecond: 2 } });
    made.answer = first(1, () => refusal(503, "QUERY_LIMIT_EXCEEDED"));
    await Promise.all(["a", "b", "c"].map((name) => made.b24.call(`crm.${name}.add`)));
    assert.deepEqual(made.sent.map(({ method }) => method), ["crm.a.add", "crm.a.add", "crm.b.add", "crm.c.add"]);
    const [back, ...others] = made.waits;
    assert(back! >= 500 && back! <= 1000);
    // The bucket is full as far as Bitrix24 is concerned: the others come one by one.
    assert.deepEqual(others.map(Math.round), [500, 500]);
  });

  it("waits until operating_reset_at after OPERATION_TIME_LIMIT, and repeats any method", async () => {
    const made = counter();
    const time = { operating_reset_at: NOW / 1000 + 20 };
    made.answer = first(1, () => refusal(429, "OPERATION_TIME_LIMIT", { time }));
    assert.equal(await made.b24.call("crm.deal.add"), "done");
    assert.equal(made.waits.length, 1);
    assert(made.waits[0]! >= 20_000 && made.waits[0]! <= 22_000);
  });

  /** `operating_reset_at` in seconds from now, and the minimum wait in milliseconds. */
  const RESETS: readonly (readonly [at: unknown, least: number])[] = [
    [120, 120_000],
    [10 ** 9, 600_000],
    [undefined, 60_000],
    ["soon", 60_000],
    [null, 60_000],
  ];
  for (const [at, least] of RESETS) {
    it(`throws RetryAfterError after OPERATION_TIME_LIMIT for ${at} seconds`, async () => {
      const made = counter();
      const reset = typeof at === "number" ? NOW / 1000 + at : at;
      made.answer = () => refusal(429, "OPERATION_TIME_LIMIT", { time: { operating_reset_at: reset } });
      const error = await failure(made, made.b24.call("crm.deal.list"), { name: "RetryAfterError" }) as RetryAfterError;
      assert(error instanceof RetryAfterError && error.cause instanceof B24Error);
      assert.equal(error.cause.b24Code, "OPERATION_TIME_LIMIT");
      assert(error.afterMs >= least && error.afterMs <= least * 1.1 + 1);
      assert.deepEqual(made.waits, []);
    });
  }

  it("stops waiting for a method that is blocked again and again", async () => {
    const made = counter();
    const time = { operating_reset_at: NOW / 1000 - 100 };
    made.answer = () => refusal(429, "OPERATION_TIME_LIMIT", { time });
    await failure(made, made.b24.call("crm.deal.list"), { name: "RetryAfterError" });
    assert.equal(made.sent.length, 4);
  });

  it("throws UNKNOWN_ERROR if an error has no code", async () => {
    const made = counter();
    for (
      const [answer, description] of [
        [{ error: "", error_description: "ID is not defined or invalid." }, "ID is not defined or invalid."],
        [{ error: 0, error_description: "none" }, "none"],
        [{ error: { code: "BITRIX_REST_V3", message: "as version 3 has it" } }, "as version 3 has it"],
      ] as const
    ) {
      made.answer = () => Response.json(answer, { status: 400 });
      await failure(made, made.b24.call("crm.deal.get"), { name: "B24Error", description });
    }
    made.answer = () => Response.json({ error: "", error_description: "none" }, { status: 400 });
    await failure(made, made.b24.call("crm.deal.get"), { b24Code: "UNKNOWN_ERROR" });
    made.answer = () => Response.json({ error: "", result: 5 });
    assert.equal(await made.b24.call("crm.deal.get"), 5);
  });
});

/** Failures after which a call may have taken effect. */
const AMBIGUOUS: Readonly<Record<string, Answer>> = {
  INTERNAL_SERVER_ERROR: () => refusal(500, "INTERNAL_SERVER_ERROR"),
  ERROR_UNEXPECTED_ANSWER: () => refusal(500, "ERROR_UNEXPECTED_ANSWER"),
  "a page of HTML": () => new Response("<h1>502</h1>", { status: 502, headers: { "content-type": "text/html" } }),
  "half an answer": () => new Response('{"result": [{"ID": "1"', { headers: { "content-type": "application/json" } }),
  "a network that fails": () => Promise.reject(new TypeError("fetch failed")),
};

describe("b24.call() that may have taken effect", () => {
  for (const [what, answer] of Object.entries(AMBIGUOUS)) {
    for (const method of ["crm.deal.list", "crm.deal.get", "crm.deal.fields", "app.info", "profile", "user.current"]) {
      it(`repeats ${method} after ${what}`, async () => {
        const made = counter();
        made.answer = (sent, count) => count < 3 ? answer(sent, count) : ok("done");
        assert.equal(await made.b24.call(method), "done");
        assert.equal(made.waits.length, 2);
        assert(made.waits[0]! <= 1000 && made.waits[1]! > 999, `${made.waits}`);
      });
    }

    for (const method of ["crm.deal.add", "crm.deal.update", "event.offline.get", "event.bind", "some.widget"]) {
      it(`does not repeat ${method} after ${what}`, async () => {
        const made = counter();
        made.answer = answer;
        await failure(made, made.b24.call(method), {});
        assert.equal(made.sent.length, 1);
      });
    }

    it(`gives up after ${what}`, async () => {
      const made = counter({ attempts: 2 });
      made.answer = answer;
      await failure(made, made.b24.call("crm.deal.list"), {});
      assert.equal(made.sent.length, 2);
    });

    it(`repeats by the option repeatable after ${what}`, async () => {
      const made = counter();
      made.answer = (sent, count) => count % 2 === 1 ? answer(sent, count) : ok("done");
      assert.equal(await made.b24.call("crm.deal.update", {}, { repeatable: true }), "done");
      await failure(made, made.b24.call("crm.deal.list", {}, { repeatable: false }), {});
      assert.equal(made.sent.length, 3);
    });
  }
});

describe("b24.call() of a portal that has moved", () => {
  const moved = (status: number, location: string): Response => new Response(null, { status, headers: { location } });

  for (const status of [301, 302, 307, 308]) {
    it(`repeats the same request at the new address after ${status}`, async () => {
      const made = counter();
      made.answer = ({ host, method }) =>
        host === "example.bitrix24.de" ? moved(status, `https://new.bitrix24.de/rest/${method}`) : ok("done");
      assert.equal(await made.b24.call("crm.deal.add", { fields: { TITLE: "x" } }), "done");
      const [before, after] = made.sent;
      assert.deepEqual(after, { ...before, url: "https://new.bitrix24.de/rest/crm.deal.add", host: "new.bitrix24.de" });
      assert.deepEqual(made.asked, ["get", "follow https://new.bitrix24.de/rest/"]);
    });
  }

  it("follows at most two redirects", async () => {
    const made = counter();
    made.answer = (_sent, count) => moved(302, `https://p${count}.bitrix24.de/rest/`);
    await failure(made, made.b24.call("crm.deal.add"), { name: "AddressError" });
    assert.deepEqual(made.sent.map(({ host }) => host), [
      "example.bitrix24.de",
      "p1.bitrix24.de",
      "p2.bitrix24.de",
    ]);
  });

  it("blocks a portal that redirects to a page of its own, and sends one request", async () => {
    const made = counter();
    made.answer = () => moved(302, "/bitrix/license.php");
    await failure(made, made.b24.call("crm.deal.list"), { name: "NoCredentialsError", blockedOn: "payment" });
    assert.deepEqual([made.sent.length, made.asked], [1, ["get", "record payment"]]);
  });

  it("rejects if the new address is refused", async () => {
    const made = counter();
    made.answer = () => moved(302, "https://evil.example/rest/profile");
    await failure(made, made.b24.call("profile"), { name: "AddressError" });
    assert.equal(made.sent.length, 1);
  });

  const ODD: Readonly<Record<string, (token: string) => string>> = {
    "no address": () => "https://",
    "user info": () => "https://user@new.bitrix24.de/rest/",
    "a token as user": (token) => `https://${token}@evil.example/`,
    "a token as host": (token) => `https://${token}.evil.example/`,
  };
  for (const [what, location] of Object.entries(ODD)) {
    it(`does not follow ${what}`, async () => {
      const made = counter();
      made.answer = ({ auth }) => moved(302, location(String(auth)));
      await failure(made, made.b24.call("profile"), { name: "AddressError" });
      assert.deepEqual(made.asked, ["get"]);
    });
  }

  it("follows to the host of the address only", async () => {
    const made = counter();
    made.answer = ({ auth, host }) =>
      host === "new.bitrix24.de" ? ok("done") : moved(302, `https://NEW.bitrix24.de/${auth}?auth=${auth}#${auth}`);
    assert.equal(await made.b24.call("profile"), "done");
    assert.deepEqual(made.asked, ["get", "follow https://new.bitrix24.de/rest/"]);
  });

  for (const status of [303, 300, 304]) {
    it(`does not treat ${status} as a move`, async () => {
      const made = counter();
      made.answer = () => moved(status, "https://new.bitrix24.de/rest/");
      await failure(made, made.b24.call("crm.deal.add"), {
        name: "B24Error",
        b24Code: "ERROR_UNEXPECTED_ANSWER",
        status,
      });
      assert.equal(made.sent.length, 1);
    });
  }
});

describe("b24.call() and a hostile portal", () => {
  const unexpected = async (made: Counter, description: RegExp, options = {}): Promise<void> => {
    const call = made.b24.call("crm.deal.add", {}, options);
    const error = await failure(made, call, { name: "B24Error", b24Code: "ERROR_UNEXPECTED_ANSWER" }) as B24Error;
    assert.match(error.description, description);
  };

  const BODIES: Readonly<Record<string, readonly [body: BodyInit | null, type: string, description: RegExp]>> = {
    "HTML": ["<html>of a proxy</html>", "text/html; charset=utf-8", /^text\/html that is not a JSON object$/],
    "nothing": [null, "", /^something without a type that is not a JSON object$/],
    "half of JSON": ['{"result": {"ID": ', "application/json", /^application\/json that is not a JSON object$/],
    "a list": ["[1, 2]", "application/json", /not a JSON object/],
    "a string": ['"result"', "application/json", /not a JSON object/],
    "null": ["null", "application/json", /not a JSON object/],
    "broken UTF-8": [
      new TextEncoder().encode('{"result": "?"}').map((byte) => byte === 0x3f ? 0xff : byte),
      "application/json",
      /not a JSON object/,
    ],
    "JSON without a result": ['{"time": {}}', "application/json", /without result or error/],
    "a prototype's result": ['{"__proto__": {"result": 1}}', "application/json", /without result or error/],
    "deep JSON": [`{"result": ${"[".repeat(90_000)}`, "application/json", /not a JSON object/],
    "deeper JSON": [
      `{"result": ${"[".repeat(200_000)}`,
      "application/json",
      /^the answer has more than 100000 arrays and objects \(answerContainers\)$/,
    ],
    "a malformed content type": ["x", "text/html<script>", /^text\/html that is not a JSON object$/],
    "a content type without an end": ["x", `text/${"x".repeat(7000)}`, /^text\/x{60} that/],
  };
  for (const [what, [body, type, description]] of Object.entries(BODIES)) {
    it(`rejects ${what}, and quotes none of it`, async () => {
      const made = counter();
      made.answer = () => new Response(body, { headers: type === "" ? {} : { "content-type": type } });
      await unexpected(made, description);
    });
  }

  it("rejects a result with an error status", async () => {
    const made = counter();
    made.answer = () => Response.json({ result: true }, { status: 500 });
    await unexpected(made, /without result or error/);
  });

  it("never quotes a token that the portal sends back", async () => {
    const made = counter();
    const answers: ((token: string) => Response)[] = [
      (token) => Response.json({ error: token, error_description: token }, { status: 400 }),
      (token) => Response.json({ error: "ERROR_CORE", error_description: `your token is ${token}!` }, { status: 400 }),
      (token) => Response.json({ error: `E ${token}`, error_description: token.toUpperCase() }),
      (token) => new Response(token, { headers: { "content-type": `${token}/x` } }),
      (token) => new Response(token, { headers: { "content-type": `x/${token}` } }),
      (token) => new Response(null, { status: 302, headers: { location: `https://${token}/` } }),
      () => {
        throw Object.assign(new Error("failed"), { name: made.tokens[0], cause: { code: made.tokens[0] } });
      },
      () => {
        throw new TypeError(`error sending request for url (https://x/?auth=${made.tokens[0]})`);
      },
    ];
    for (const answer of answers) {
      made.answer = ({ auth }) => answer(String(auth));
      await failure(made, made.b24.call("crm.deal.add"), {});
      await failure(made, made.b24.call("crm.deal.list"), {});
    }
    made.answer = () =>
      Response.json({ error: "ERROR_CORE", error_description: `${"f".repeat(70)} is another's` }, { status: 400 });
    await failure(made, made.b24.call("profile"), { description: "[redacted] is another's" });
    const fields = 'client_secret=s3cret&AUTH_ID=5b1&data[auth][refresh_token]=x {"APPLICATION_TOKEN":"y","user":"z"}';
    made.answer = () => Response.json({ error: "ERROR_CORE", error_description: fields }, { status: 400 });
    await failure(made, made.b24.call("profile"), {
      description: "client_secret=[redacted]&AUTH_ID=[redacted]&data[auth][refresh_token]=[redacted] " +
        '{"APPLICATION_TOKEN":"[redacted]","user":"z"}',
    });
  });

  it("never quotes the token before the refreshed one either", async () => {
    const made = counter();
    made.answer = (_sent, count) =>
      count === 1 ? refusal(401, "expired_token") : refusal(400, "ERROR_CORE", { error_description: made.tokens[0] });
    await failure(made, made.b24.call("profile"), { description: "[redacted]" });
  });

  it("cuts descriptions, and replaces malformed codes", async () => {
    const made = counter();
    made.answer = () => Response.json({ error: "<script>", error_description: "long ".repeat(1000) });
    const error = await failure(made, made.b24.call("profile"), { b24Code: "UNKNOWN_ERROR" }) as B24Error;
    assert.equal(error.description.length, 500);
  });

  it("reads at most answerBytes, and does not repeat the call", async () => {
    const made = counter({ answerBytes: 10_000 });
    let sent = 0;
    let isCancelled = false;
    made.answer = () =>
      new Response(
        new ReadableStream({
          pull: (controller) => {
            sent += 4096;
            controller.enqueue(new Uint8Array(4096).fill(0x20));
          },
          cancel: () => void (isCancelled = true),
        }),
      );
    await unexpected(made, /^the answer has more than 10000 bytes \(answerBytes\)$/);
    await failure(made, made.b24.call("crm.deal.list"), { b24Code: "ERROR_UNEXPECTED_ANSWER" });
    assert.equal(made.sent.length, 2);
    assert(isCancelled && sent <= 2 * 5 * 4096, `${sent}`);
    made.answer = () => ok("x".repeat(9_980));
    assert.equal((await made.b24.call<string>("profile")).length, 9_980);
  });

  const SLOW: Readonly<Record<string, () => Response | Promise<Response>>> = {
    "answers nothing": () => new Promise(() => {}),
    "sends its answer byte by byte": () =>
      new Response(
        new ReadableStream({
          pull: async (controller) => {
            await new Promise((resolve) => setTimeout(resolve, 5));
            controller.enqueue(new Uint8Array([0x20]));
          },
        }),
      ),
  };
  for (const [what, answer] of Object.entries(SLOW)) {
    it(`times out if a portal ${what}, and goes on with the next call`, async () => {
      const made = counter({ timeoutMs: 100 });
      made.answer = answer;
      await failure(made, made.b24.call("crm.deal.add"), {
        name: "UnreachableError",
        message: "example.bitrix24.de did not answer crm.deal.add in 100 ms",
      });
      await failure(made, made.b24.call("crm.deal.add", {}, { timeoutMs: 10 }), { name: "UnreachableError" });
      assert.equal(made.sent.length, 2);
      made.answer = () => ok("done");
      assert.equal(await made.b24.call("profile", {}, { timeoutMs: 60_000 }), "done");
    });
  }

  it("names the network error", async () => {
    const made = counter();
    made.answer = () => Promise.reject(new TypeError("fetch failed", { cause: { code: "ECONNREFUSED" } }));
    await failure(made, made.b24.call("crm.deal.add"), {
      name: "UnreachableError",
      message: "example.bitrix24.de did not answer crm.deal.add (ECONNREFUSED)",
    });
  });

  it("rejects with an AddressError of portalFetch", async () => {
    const { AddressError } = await import("@b24/onappupdate/errors");
    const made = counter({}, { fetch: () => Promise.reject(new AddressError("127.0.0.1 is not public")) });
    await failure(made, made.b24.call("profile"), { name: "AddressError", message: "127.0.0.1 is not public" });
  });

  it("does not slow down a portal because another one has refused", async () => {
    const made = counter();
    made.answer = first(1, () => refusal(503, "QUERY_LIMIT_EXCEEDED"));
    const other = made.plugin.portal("b".repeat(32));
    await Promise.all([made.plugin.portal(MEMBER_ID).call("a.get"), other.call("b.get")]);
    assert.deepEqual(made.sent.map(({ method }) => method), ["a.get", "b.get", "a.get"]);
  });
});
