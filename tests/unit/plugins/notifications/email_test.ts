import assert from "node:assert/strict";
import { NonRetriableError } from "@b24/onappupdate";
import { emailChannel, type EmailMessage, type EmailTransport } from "@b24/onappupdate/notifications";
import { describe, it } from "../../../support/test.ts";
import { everythingOf, leaky, notification, send, thrownBy } from "./_channel.ts";

const ADDRESSES = { from: "App <app@example.com>", to: "ops@example.com" };

/** Returns a transport that records messages. */
function recording(info: object = {}): EmailTransport & { readonly sent: EmailMessage[] } {
  const sent: EmailMessage[] = [];
  return { sent, sendMail: (message) => Promise.resolve(sent.push(message)).then(() => info) };
}

/** Returns a transport that fails. */
function failing(error: unknown): EmailTransport {
  return { sendMail: () => Promise.reject(error) };
}

describe("emailChannel()", () => {
  it("sends text and HTML, with the title as subject", async () => {
    const transport = recording();
    const channel = emailChannel({ transport, ...ADDRESSES });
    await send(channel, notification({ lines: ["<b>&"], link: 'https://ops.example.com/?a="1"&b=2' }));
    assert.deepEqual(transport.sent, [{
      from: "App <app@example.com>",
      to: ["ops@example.com"],
      subject: "WARNING: 3 portals are parked",
      text: "WARNING: 3 portals are parked\n<b>&\nPortals: 3\none.bitrix24.de (a223)\nb334\nand 1 more\n" +
        'https://ops.example.com/?a="1"&b=2\nID: n-1\n',
      html: "<p><b>WARNING: 3 portals are parked</b><br>\n&lt;b&gt;&amp;<br>\nPortals: 3<br>\n" +
        "one.bitrix24.de (a223)<br>\nb334<br>\nand 1 more<br>\n" +
        '<a href="https://ops.example.com/?a=&quot;1&quot;&amp;b=2">https://ops.example.com/?a=&quot;1&quot;&amp;b=2</a><br>\n' +
        "ID: n-1</p>\n",
      messageId: "<n-1@example.com>",
      headers: { "Auto-Submitted": "auto-generated" },
      disableFileAccess: true,
      disableUrlAccess: true,
    }]);
  });

  it("makes no link of an address that is not on the web", async () => {
    const transport = recording();
    await send(emailChannel({ transport, ...ADDRESSES }), notification({ link: "javascript:alert(1)" }));
    assert.doesNotMatch(transport.sent[0]!.html, /<a /);
  });

  it("lets no title add a header", async () => {
    const transport = recording();
    await send(emailChannel({ transport, ...ADDRESSES }), notification({ title: "a\r\nBcc: x@example.com\u2028b" }));
    assert.equal(transport.sent[0]!.subject, "WARNING: a Bcc: x@example.com b");
  });

  it("makes a Message-ID of any id, a different one of each", async () => {
    const transport = recording();
    const channel = emailChannel({ transport, from: "ops@sub.example.com", to: ["a@x.example", "b@x.example"] });
    const ids = ["a:b", "a_b", "a b", "a=3a=b", "..", "ü😀", "<x>\r\nBcc: y"];
    for (const id of ids) await send(channel, notification(), id);
    const messageIds = transport.sent.map(({ messageId }) => messageId);
    assert.equal(new Set(messageIds).size, ids.length);
    assert.equal(messageIds[0], "<a=3a=b@sub.example.com>");
    for (const messageId of messageIds) assert.match(messageId, /^<[A-Za-z0-9=-]+@sub\.example\.com>$/);
  });

  const errors: readonly (readonly [code: string, status: number | undefined, isFinal: boolean, message: string])[] = [
    ["EAUTH", 535, true, "email: the message was not sent (EAUTH, SMTP 535)"],
    ["EAUTH", 454, false, "email: the message was not sent (EAUTH, SMTP 454)"],
    ["EENVELOPE", 550, true, "email: the message was not sent (EENVELOPE, SMTP 550)"],
    ["EENVELOPE", 450, false, "email: the message was not sent (EENVELOPE, SMTP 450)"],
    ["EMESSAGE", 552, true, "email: the message was not sent (EMESSAGE, SMTP 552)"],
    ["ECONNECTION", 554, false, "email: the message was not sent (ECONNECTION, SMTP 554)"],
    ["ETIMEDOUT", undefined, false, "email: the message was not sent (ETIMEDOUT)"],
    ["EVERYTHING", undefined, false, "email: the message was not sent"],
  ];
  for (const [code, responseCode, isFinal, message] of errors) {
    it(`${isFinal ? "gives up after" : "retries"} ${code} ${responseCode}`, async () => {
      const transport = failing(Object.assign(new Error("no"), { code, responseCode }));
      const error = await thrownBy(() => send(emailChannel({ transport, ...ADDRESSES })));
      assert.equal(error instanceof NonRetriableError, isFinal);
      assert.equal(error.message, message);
    });
  }

  it("reports recipients that were refused, and does not send to the others again", async () => {
    const transport = recording({ rejected: ["b@x.example"] });
    const channel = emailChannel({ transport, from: "a@x.example", to: ["b@x.example", "c@x.example"] });
    const error = await thrownBy(() => send(channel));
    assert.ok(error instanceof NonRetriableError);
    assert.equal(error.message, "email: the server refused 1 of 2 recipients");
  });

  it("makes errors without the server's address, login and password", async () => {
    const secret = "smtp://user:Pa55w0rd@smtp.example.com";
    for (const thrown of [leaky(secret), secret, { message: secret, code: secret }]) {
      const error = await thrownBy(() => send(emailChannel({ transport: failing(thrown), ...ADDRESSES })));
      assert.ok(!everythingOf(error).includes("Pa55w0rd"));
      assert.equal(error.cause, undefined);
    }
  });

  it("stops when its signal is aborted", async () => {
    const controller = new AbortController();
    const transport: EmailTransport = {
      sendMail: () => {
        controller.abort(new DOMException("too slow", "TimeoutError"));
        return new Promise(() => {});
      },
    };
    const sending = emailChannel({ transport, ...ADDRESSES }).send(notification(), {
      id: "n-1",
      signal: controller.signal,
    });
    await assert.rejects(sending, { name: "TimeoutError" });
  });
});
