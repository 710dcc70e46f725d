import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { NonRetriableError, RetryAfterError } from "@b24/onappupdate";
import { type Channel, slackChannel, telegramChannel, webhookChannel } from "@b24/onappupdate/notifications";
import { Webhook } from "standardwebhooks";
import { after, describe, it, waitFor } from "../../../support/test.ts";
import { everythingOf, notification, send, thrownBy } from "../../../unit/plugins/notifications/_channel.ts";

type Handle = (response: ServerResponse, request: IncomingMessage, body: string) => void;

const SECRET = "XoXb0Xpq9zYkQ3aBcDeFgH12";
const SIGNING_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/** Starts a receiver and returns its address. */
async function serve(handle: Handle): Promise<string> {
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk) => body += chunk);
    // The client may hang up at any time.
    request.on("error", () => {});
    response.on("error", () => {});
    request.on("end", () => handle(response, request, body));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

interface Case {
  readonly receiver: string;
  readonly make: (origin: string) => Channel;
  /** A part of the address that must not be told. */
  readonly secret: string;
}

const CASES: Readonly<Record<string, Case>> = {
  "telegramChannel() over HTTP": {
    receiver: "Telegram",
    make: (apiUrl) => telegramChannel({ botToken: `1:${SECRET}`, chatId: 1, apiUrl }),
    secret: SECRET,
  },
  "slackChannel() over HTTP": {
    receiver: "slack",
    make: (origin) => slackChannel({ url: `${origin}/services/T0/B0/${SECRET}` }),
    secret: SECRET,
  },
  "webhookChannel() over HTTP": {
    receiver: "webhook",
    make: (origin) => webhookChannel({ url: `${origin}/?key=${SECRET}`, secret: SIGNING_SECRET }),
    secret: SECRET,
  },
};

for (const [name, { receiver, make, secret }] of Object.entries(CASES)) {
  describe(name, () => {
    const failsWith = async (handle: Handle): Promise<Error> => {
      const channel = make(await serve(handle));
      const error = await thrownBy(() => send(channel));
      assert.ok(!everythingOf(error).includes(secret));
      return error;
    };

    it("delivers a notification", async () => {
      const got: string[] = [];
      const channel = make(
        await serve((response, { method, url, headers }, body) => {
          got.push(`${method} ${headers["content-type"]} ${url!.includes(secret)} ${body.includes("one.bitrix24.de")}`);
          response.end("ok");
        }),
      );
      await send(channel);
      assert.deepEqual(got, ["POST application/json true true"]);
    });

    it("stops waiting for a receiver that hangs when its signal is aborted, and hangs up", async () => {
      const controller = new AbortController();
      let hungUp = (): void => {};
      const closed = new Promise<void>((resolve) => hungUp = resolve);
      const channel = make(
        await serve((response) => {
          response.on("close", hungUp);
          controller.abort(new DOMException("too slow", "TimeoutError"));
        }),
      );
      const sending = channel.send(notification(), { id: "n-1", signal: controller.signal });
      await assert.rejects(waitFor("the end of the attempt", sending), { name: "TimeoutError" });
      await waitFor("the receiver to see it", closed);
    });

    it("stops waiting for a receiver that hangs in the middle of its answer", async () => {
      const controller = new AbortController();
      const channel = make(
        await serve((response) => {
          response.writeHead(500).write("half an answ", () => {
            controller.abort(new DOMException("too slow", "TimeoutError"));
          });
        }),
      );
      const sending = channel.send(notification(), { id: "n-1", signal: controller.signal });
      await assert.rejects(waitFor("the end of the attempt", sending), { name: "TimeoutError" });
    });

    it("waits as long as 429 asks for", async () => {
      const error = await failsWith((response, { url }) => response.writeHead(429, { "retry-after": "17" }).end(url));
      assert.ok(error instanceof RetryAfterError);
      assert.equal(error.afterMs, 17_000);
    });

    it("retries 500, and quotes nothing of an answer that repeats the address", async () => {
      const error = await failsWith((response, { url }) => response.writeHead(500, { "x-url": url! }).end(url));
      assert.ok(!(error instanceof NonRetriableError));
      assert.equal(error.message, `${receiver} answered 500`);
    });

    it("does not follow a redirect", async () => {
      let followed = 0;
      const target = await serve((response) => {
        followed++;
        response.end("ok");
      });
      for (const status of [301, 302, 303, 307, 308]) {
        const error = await failsWith((response, { url }) => {
          response.writeHead(status, { location: `${target}${url}` }).end();
        });
        assert.ok(error instanceof NonRetriableError);
      }
      assert.equal(followed, 0);
    });

    it("reads the beginning of an endless answer, and hangs up", async () => {
      let hungUp = (): void => {};
      const closed = new Promise<void>((resolve) => hungUp = resolve);
      const error = await failsWith((response, { url }) => {
        response.on("close", hungUp);
        response.writeHead(500);
        const chunk = url!.repeat(1000);
        const write = (): void => {
          while (!response.closed && response.write(chunk)) { /* Until the buffer is full. */ }
          if (!response.closed) response.once("drain", write);
        };
        write();
      });
      assert.equal(error.message, `${receiver} answered 500`);
      await waitFor("the receiver to see it", closed);
    });

    it("retries if nothing listens, and if the connection breaks", async () => {
      const origin = await serve((response) => response.destroy());
      const broken = await thrownBy(() => send(make(origin)));
      // Nothing listens at port 1.
      const refused = await thrownBy(() => send(make("http://127.0.0.1:1")));
      for (const error of [broken, refused]) {
        assert.ok(!(error instanceof NonRetriableError) && !(error instanceof RetryAfterError));
        assert.match(error.message, new RegExp(`^${receiver} did not answer( \\([A-Z_]+\\))?$`));
        assert.ok(!everythingOf(error).includes(secret));
        assert.equal(error.cause, undefined);
      }
    });
  });
}

describe("webhookChannel() and its receiver", () => {
  it("lets the receiver verify a notification, and drop what it has seen", async () => {
    const seen = new Set<string>();
    const handled: unknown[] = [];
    let answers = 0;
    const url = await serve((response, { headers }, body) => {
      const verified = new Webhook(SIGNING_SECRET).verify(body, headers as Record<string, string>);
      const id = String(headers["webhook-id"]);
      if (!seen.has(id)) handled.push(verified);
      seen.add(id);
      // The first answer is lost.
      if (answers++ === 0) response.destroy();
      else response.writeHead(204).end();
    });
    const channel = webhookChannel({ url, secret: SIGNING_SECRET });
    await thrownBy(() => send(channel));
    await send(channel);
    assert.equal(answers, 2);
    assert.deepEqual(handled, [{ type: "notification.portal_parked", data: notification() }]);
  });
});
