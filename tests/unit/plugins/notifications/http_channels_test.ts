import assert from "node:assert/strict";
import { NonRetriableError, RetryAfterError } from "@b24/onappupdate";
import { type Channel, slackChannel, telegramChannel, webhookChannel } from "@b24/onappupdate/notifications";
import { Webhook } from "standardwebhooks";
import { describe, it } from "../../../support/test.ts";
import { everythingOf, leaky, notification, NOW, send, thrownBy, withAnswers } from "./_channel.ts";

const BOT_TOKEN = "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11";
const SLACK_URL = "https://hooks.slack.com/services/T024BE7LD/B024BE7LE/XoXb0Xpq9zYkQ3aBcDeFgH12";
const WEBHOOK_URL = "https://ops.example.com/b24?key=kq93mZpWq1";
const SIGNING_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

interface Case {
  readonly make: () => Channel;
  readonly receiver: string;
  readonly secrets: readonly string[];
}

const CASES: Readonly<Record<string, Case>> = {
  "telegramChannel()": {
    make: () => telegramChannel({ botToken: BOT_TOKEN, chatId: -100123 }),
    receiver: "Telegram",
    secrets: [BOT_TOKEN],
  },
  "slackChannel()": {
    make: () => slackChannel({ url: SLACK_URL }),
    receiver: "slack",
    secrets: [SLACK_URL, "XoXb0Xpq9zYkQ3aBcDeFgH12"],
  },
  "webhookChannel()": {
    make: () => webhookChannel({ url: WEBHOOK_URL, secret: SIGNING_SECRET }),
    receiver: "webhook",
    secrets: [WEBHOOK_URL, "kq93mZpWq1", SIGNING_SECRET],
  },
};

for (const [name, { make, receiver, secrets }] of Object.entries(CASES)) {
  describe(name, () => {
    const answered = async (response: () => Response): Promise<Error> => {
      const channel = make();
      withAnswers(channel, response);
      return await thrownBy(() => send(channel));
    };

    it("does not follow redirects", async () => {
      for (const status of [301, 302, 303, 307, 308]) {
        const error = await answered(() =>
          new Response(null, { status, headers: { location: "https://evil.example" } })
        );
        assert.ok(error instanceof NonRetriableError, String(status));
        assert.match(error.message, /redirects are not followed/);
      }
      const channel = make();
      const received = withAnswers(channel, () => new Response("ok"));
      await send(channel);
      assert.equal(received[0]!.redirect, "manual");
    });

    const limits: readonly (readonly [header: string | undefined, afterMs: number])[] = [
      [undefined, 60_000],
      ["7", 7000],
      [" 120 ", 120_000],
      ["0", 1000],
      [new Date(NOW + 90_000).toUTCString(), 90_000],
      [new Date(NOW - 90_000).toUTCString(), 1000],
      [new Date(NOW + 90_000).toISOString(), 90_000],
      ["1.5", 1500],
      ["soon", 60_000],
      ["-1", 60_000],
      ["60, 60", 60_000],
      ["5 seconds", 60_000],
      ["99999999999", 86_400_000],
    ];
    for (const [header, afterMs] of limits) {
      it(`waits ${afterMs} ms after 429 with Retry-After ${header}`, async () => {
        const headers = new Headers(header === undefined ? {} : { "retry-after": header });
        const error = await answered(() => new Response("slow down", { status: 429, headers }));
        assert.ok(error instanceof RetryAfterError);
        assert.equal(error.afterMs, afterMs);
        assert.equal(error.message, `${receiver} answered 429`);
      });
    }

    it("gives up after what does not heal, and retries the rest", async () => {
      for (const status of [400, 401, 403, 410, 413]) {
        const error = await answered(() => new Response("no", { status }));
        assert.ok(error instanceof NonRetriableError, String(status));
      }
      for (const status of [408, 409, 423, 425, 500, 502, 503, 504]) {
        const error = await answered(() => new Response("no", { status }));
        assert.ok(!(error instanceof NonRetriableError) && !(error instanceof RetryAfterError), String(status));
        assert.equal(error.message, `${receiver} answered ${status}`);
      }
    });

    it("makes errors without what the receiver or fetch says", async () => {
      for (const secret of secrets) {
        const answers: readonly (() => Response)[] = [
          () => new Response(secret, { status: 500, headers: { "x-url": secret } }),
          () =>
            Response.json({ description: `Bad Request: ${secret}`, parameters: { retry_after: secret } }, {
              status: 400,
            }),
          () => new Response(secret, { status: 429, headers: { "retry-after": secret } }),
          () => new Response(null, { status: 302, headers: { location: secret } }),
          () => {
            throw leaky(secret);
          },
          () => {
            throw secret;
          },
          () => new Response(new ReadableStream({ pull: () => Promise.reject(leaky(secret)) }), { status: 500 }),
        ];
        for (const answer of answers) {
          const error = await answered(answer);
          assert.ok(!everythingOf(error).includes(secret), error.message);
          assert.equal(error.cause, undefined);
        }
      }
    });

    it("names the code of a network error that is known", async () => {
      const cause = Object.assign(new Error("connect"), { code: "ECONNREFUSED" });
      const error = await answered(() => {
        throw new TypeError("fetch failed", { cause });
      });
      assert.equal(error.message, `${receiver} did not answer (ECONNREFUSED)`);
    });

    it("reads an answer up to a bound, and cancels the rest", async () => {
      let chunks = 0;
      let isCanceled = false;
      const body = (): ReadableStream<Uint8Array> =>
        new ReadableStream({
          pull: (controller) => {
            chunks++;
            controller.enqueue(new Uint8Array(4096));
          },
          cancel: () => void (isCanceled = true),
        });
      const error = await answered(() => new Response(body(), { status: 500 }));
      assert.equal(error.message, `${receiver} answered 500`);
      assert.ok(chunks < 20, `${chunks} chunks`);
      assert.ok(isCanceled);
      const channel = make();
      withAnswers(channel, () => new Response(body()));
      isCanceled = false;
      await send(channel);
      assert.ok(isCanceled);
    });

    it("goes by the status and the headers of an answer whose body hangs", async () => {
      const headers = { "retry-after": "7" };
      const body = (): ReadableStream<Uint8Array> => new ReadableStream({ pull: () => new Promise(() => {}) });
      const error = await answered(() => new Response(body(), { status: 429, headers }));
      assert.ok(error instanceof RetryAfterError);
      assert.equal(error.afterMs, 7000);
    });

    it("stops when its signal is aborted, also if fetch goes on", async () => {
      const controller = new AbortController();
      const channel = make();
      withAnswers(channel, () => {
        controller.abort(new DOMException("too slow", "TimeoutError"));
        return new Promise<Response>(() => {});
      });
      const options = { id: "n-1", signal: controller.signal };
      await assert.rejects(channel.send(notification(), options), { name: "TimeoutError" });
      await assert.rejects(channel.send(notification(), options), { name: "TimeoutError" });
    });

    it("stops when its signal is aborted while it reads the answer", async () => {
      const controller = new AbortController();
      const channel = make();
      const pull = (): Promise<void> => {
        controller.abort(new DOMException("too slow", "TimeoutError"));
        return new Promise(() => {});
      };
      withAnswers(channel, () => new Response(new ReadableStream({ pull }), { status: 500 }));
      await assert.rejects(channel.send(notification(), { id: "n-1", signal: controller.signal }), {
        name: "TimeoutError",
      });
    });
  });
}

describe("telegramChannel() messages", () => {
  it("sends HTML that shows names as they are, with the id in the text", async () => {
    const channel = telegramChannel({ botToken: BOT_TOKEN, chatId: "@ops" });
    const received = withAnswers(channel, () => Response.json({ ok: true }));
    const portals = { shown: [{ memberId: "a223", domain: "<b>x</b>&.example" }], total: 1 };
    await send(channel, notification({ title: "a < b", lines: [], portals }));
    const [{ url, body, headers }] = received as [typeof received[0]];
    assert.equal(url, `https://api.telegram.org/bot${BOT_TOKEN}/sendMessage`);
    assert.equal(headers.get("content-type"), "application/json");
    assert.deepEqual(JSON.parse(body), {
      chat_id: "@ops",
      text: "<b>WARNING: a &lt; b</b>\nPortals: 1\n&lt;b&gt;x&lt;/b&gt;&amp;.example (a223)\nID: n-1",
      parse_mode: "HTML",
      link_preview_options: { is_disabled: true },
    });
  });

  it("mentions nobody, and leaves the link as it is", async () => {
    const channel = telegramChannel({ botToken: BOT_TOKEN, chatId: 1 });
    const received = withAnswers(channel, () => Response.json({ ok: true }));
    const link = "https://ops.example.com/?by=ada@example.com&x=1";
    const portals = { shown: [{ memberId: "a223", domain: "@durov" }], total: 1 };
    await send(channel, notification({ title: "by @ada", lines: ["ask @ada & @ivan"], portals, link }));
    const { text } = JSON.parse(received[0]!.body);
    assert.deepEqual(text.split("\n"), [
      "<b>WARNING: by @\u200bada</b>",
      "ask @\u200bada &amp; @\u200bivan",
      "Portals: 1",
      "@\u200bdurov (a223)",
      "https://ops.example.com/?by=ada@example.com&amp;x=1",
      "ID: n-1",
    ]);
  });

  it("sends at most 4096 UTF-16 units", async () => {
    const channel = telegramChannel({ botToken: BOT_TOKEN, chatId: 1 });
    const received = withAnswers(channel, () => Response.json({ ok: true }));
    const shown = Array.from({ length: 500 }, (_, i) => ({ memberId: `m${i}`, domain: "<😀>" }));
    await send(channel, notification({ portals: { shown, total: 500 } }));
    const { text } = JSON.parse(received[0]!.body);
    assert.ok(text.length <= 4096 && text.length > 4000, text.length);
    assert.match(text, /\nand \d+ more\nID: n-1$/);
  });

  it("waits as long as the answer says in its body", async () => {
    const channel = telegramChannel({ botToken: BOT_TOKEN, chatId: 1 });
    const body = {
      ok: false,
      error_code: 429,
      description: "Too Many Requests: retry after 35",
      parameters: { retry_after: 35 },
    };
    withAnswers(channel, () => Response.json(body, { status: 429, headers: { "retry-after": "1" } }));
    const error = await thrownBy(() => send(channel));
    assert.ok(error instanceof RetryAfterError);
    assert.equal(error.afterMs, 35_000);
  });

  it("says what is wrong with the chat, and its new number", async () => {
    const channel = telegramChannel({ botToken: BOT_TOKEN, chatId: 1 });
    let answer: object = { description: "Bad Request: chat not found" };
    withAnswers(channel, () => Response.json(answer, { status: 400 }));
    const message = async (): Promise<string> => (await thrownBy(() => send(channel))).message;
    assert.equal(await message(), "Telegram answered 400 (chat not found)");
    answer = {
      description: "Bad Request: group chat was upgraded to a supergroup chat",
      parameters: { migrate_to_chat_id: -1001 },
    };
    assert.equal(
      await message(),
      "Telegram answered 400 (group chat was upgraded to a supergroup chat; use chatId -1001)",
    );
  });

  it("calls a server of your own", async () => {
    const channel = telegramChannel({ botToken: BOT_TOKEN, chatId: 1, apiUrl: "http://localhost:8081/" });
    const received = withAnswers(channel, () => Response.json({ ok: true }));
    await send(channel);
    assert.equal(received[0]!.url, `http://localhost:8081/bot${BOT_TOKEN}/sendMessage`);
  });
});

describe("slackChannel() messages", () => {
  const portals = { shown: [{ memberId: "a223", domain: "*x* <!here> @all" }], total: 1 };
  const link = "https://ops.example.com/a_b_c?d=1&e=2";

  it("sends text without markup to Slack", async () => {
    const channel = slackChannel({ url: SLACK_URL });
    const received = withAnswers(channel, () => new Response("ok"));
    await send(channel, notification({ lines: [], portals, link }));
    assert.deepEqual(JSON.parse(received[0]!.body), {
      text: "WARNING: 3 portals are parked\nPortals: 1\n*x* &lt;!here&gt; @\u200ball (a223)\n" +
        "https://ops.example.com/a_b_c?d=1&amp;e=2\nID: n-1",
      mrkdwn: false,
      unfurl_links: false,
      unfurl_media: false,
    });
  });

  it("sends a link with an @ that works", async () => {
    const channel = slackChannel({ url: SLACK_URL });
    const received = withAnswers(channel, () => new Response("ok"));
    await send(channel, notification({ link: "https://ops.example.com/?by=ada@example.com" }));
    assert.match(JSON.parse(received[0]!.body).text, /\nhttps:\/\/ops\.example\.com\/\?by=ada%40example\.com\n/);
  });

  it("sends escaped Markdown to Mattermost and Rocket.Chat, with a link that works", async () => {
    const channel = slackChannel({ url: SLACK_URL, markup: "markdown" });
    const received = withAnswers(channel, () => new Response("ok"));
    await send(channel, notification({ lines: [], portals, link }));
    assert.deepEqual(JSON.parse(received[0]!.body), {
      text: "WARNING\\: 3 portals are parked\nPortals\\: 1\n\\*x\\* \\<\\!here\\> @\u200ball \\(a223\\)\n" +
        `${link}\nID\\: n\\-1`,
    });
  });

  it("gives up if the webhook is gone, and says why", async () => {
    for (
      const [status, word] of [[404, "no_service"], [410, "channel_is_archived"], [400, "invalid_payload"]] as const
    ) {
      const channel = slackChannel({ url: SLACK_URL });
      withAnswers(channel, () => new Response(word, { status }));
      const error = await thrownBy(() => send(channel));
      assert.ok(error instanceof NonRetriableError);
      assert.equal(error.message, `slack answered ${status} (${word})`);
    }
  });
});

describe("webhookChannel() messages", () => {
  it("signs what it sends, with the id and the time of the attempt", async () => {
    const channel = webhookChannel({ url: WEBHOOK_URL, secret: SIGNING_SECRET });
    let now = Date.now();
    const received = withAnswers(channel, () => new Response(null, { status: 204 }), () => now);
    await send(channel);
    now += 5000;
    await send(channel);
    const ids = received.map(({ headers }) => headers.get("webhook-id"));
    assert.deepEqual(ids, ["n-1", "n-1"]);
    const [first, second] = received.map(({ headers }) => Number(headers.get("webhook-timestamp")));
    assert.equal(second! - first!, 5);
    for (const { headers, body } of received) {
      const verified = new Webhook(SIGNING_SECRET).verify(body, Object.fromEntries(headers));
      assert.deepEqual(verified, { type: "notification.portal_parked", data: notification() });
      const forged = body.replace("a223", "a224");
      assert.throws(
        () => new Webhook(SIGNING_SECRET).verify(forged, Object.fromEntries(headers)),
        /No matching signature/,
      );
    }
  });

  it("sends an id of any characters as a header", async () => {
    const channel = webhookChannel({ url: WEBHOOK_URL, secret: SIGNING_SECRET });
    const received = withAnswers(channel, () => new Response(null, { status: 204 }), Date.now);
    for (const id of ["a.b:c~d_e-1", "Ops é 😀\r\nx: y", "%C3%A9", "\ud800"]) await send(channel, notification(), id);
    const ids = received.map(({ headers }) => headers.get("webhook-id"));
    assert.deepEqual(ids, ["a.b:c~d_e-1", "Ops%20%C3%A9%20%F0%9F%98%80%0D%0Ax:%20y", "%25C3%25A9", "%EF%BF%BD"]);
    for (const { headers, body } of received) new Webhook(SIGNING_SECRET).verify(body, Object.fromEntries(headers));
  });

  it("retries 404, because an endpoint that is deployed may be missing", async () => {
    const channel = webhookChannel({ url: WEBHOOK_URL, secret: SIGNING_SECRET, name: "ops" });
    withAnswers(channel, () => new Response("no", { status: 404 }));
    const error = await thrownBy(() => send(channel));
    assert.ok(!(error instanceof NonRetriableError));
    assert.equal(error.message, "ops answered 404");
  });
});
