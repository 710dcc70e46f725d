/** Receivers of webhooks: other libraries, each with a handler that does nothing, and the requests that they accept. */
import { createHmac } from "node:crypto";
import type { App as SlackApp, ReceiverEvent } from "@slack/bolt";
import type { LoadRequest } from "./_load.ts";

type Handler = (request: Request) => Promise<Response>;

/** A receiver of another library. */
export interface Receiver {
  /** Name and package of the library. */
  readonly name: string;
  /** Returns its handler, or starts a server of its own and returns its port. */
  readonly open: () => Promise<Handler | number>;
  /** Returns the request for a payload of about the size of an event of Bitrix24. */
  readonly request: (n: number, payload: string) => LoadRequest;
}

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLlgY";
const JSON_TYPE = { "content-type": "application/json" };

function hmac(text: string, encoding: "hex" | "base64", key: string | Uint8Array = SECRET): string {
  return createHmac("sha256", key).update(text).digest(encoding);
}

const done = (): Response => new Response(null, { status: 200 });

export const RECEIVERS: Readonly<Record<string, Receiver>> = {
  hono: {
    name: "Hono, which only parses",
    open: async () => {
      const { Hono } = await import("hono");
      const hono = new Hono().post("/", async (c) => {
        await c.req.parseBody();
        return c.body(null, 200);
      });
      return (request) => Promise.resolve(hono.fetch(request));
    },
    request: (_n, payload) => ({ body: String(new URLSearchParams({ payload })) }),
  },
  octokit: {
    name: "@octokit/webhooks",
    open: async () => {
      const { Webhooks } = await import("@octokit/webhooks");
      const webhooks = new Webhooks({ secret: SECRET });
      webhooks.on("push", () => {});
      return async (request) => {
        const { headers } = request;
        await webhooks.verifyAndReceive({
          id: headers.get("x-github-delivery")!,
          name: "push",
          signature: headers.get("x-hub-signature-256")!,
          payload: await request.text(),
        });
        return done();
      };
    },
    request: (n, payload) => ({
      body: payload,
      headers: {
        ...JSON_TYPE,
        "x-github-delivery": String(n),
        "x-hub-signature-256": `sha256=${hmac(payload, "hex")}`,
      },
    }),
  },
  shopify: {
    name: "@shopify/shopify-api",
    open: async () => {
      await import("@shopify/shopify-api/adapters/web-api");
      const { ApiVersion, shopifyApi } = await import("@shopify/shopify-api");
      const { webhooks } = shopifyApi({
        ...{ apiKey: "key", apiSecretKey: SECRET, apiVersion: ApiVersion.July26, isEmbeddedApp: true },
        ...{ hostName: "localhost", logger: { log: () => {} } },
      });
      return async (request) => {
        const rawBody = await request.text();
        const { valid } = await webhooks.validate({ rawBody, rawRequest: request });
        if (!valid) return new Response(null, { status: 401 });
        JSON.parse(rawBody);
        return done();
      };
    },
    request: (n, payload) => ({
      body: payload,
      headers: {
        ...JSON_TYPE,
        "x-shopify-topic": "products/update",
        "x-shopify-hmac-sha256": hmac(payload, "base64"),
        "x-shopify-api-version": "2026-07",
        "x-shopify-shop-domain": "shop.myshopify.com",
        "x-shopify-webhook-id": String(n),
      },
    }),
  },
  slack: {
    name: "@slack/bolt, HTTPReceiver",
    open: async () => {
      const { HTTPReceiver, LogLevel } = await import("@slack/bolt");
      const receiver = new HTTPReceiver({ signingSecret: SECRET, endpoints: "/", logLevel: LogLevel.ERROR });
      receiver.init({ processEvent: ({ ack }: ReceiverEvent) => ack() } as unknown as SlackApp);
      const server = await receiver.start(0);
      return (server.address() as { readonly port: number }).port;
    },
    request: (n, payload) => {
      const body = JSON.stringify({
        type: "event_callback",
        event_id: `Ev${n}`,
        event: { type: "message", text: payload },
      });
      const timestamp = String(Math.floor(Date.now() / 1000));
      return {
        body,
        headers: {
          ...JSON_TYPE,
          "x-slack-request-timestamp": timestamp,
          "x-slack-signature": `v0=${hmac(`v0:${timestamp}:${body}`, "hex")}`,
        },
      };
    },
  },
  standardwebhooks: {
    name: "standardwebhooks",
    open: async () => {
      const { Webhook } = await import("standardwebhooks");
      const webhook = new Webhook(SECRET);
      return async (request) => {
        webhook.verify(await request.text(), Object.fromEntries(request.headers));
        return done();
      };
    },
    request: (n, payload) => {
      const timestamp = String(Math.floor(Date.now() / 1000));
      const key = Buffer.from(SECRET.replace("whsec_", ""), "base64");
      return {
        body: payload,
        headers: {
          ...JSON_TYPE,
          "webhook-id": `msg_${n}`,
          "webhook-timestamp": timestamp,
          "webhook-signature": `v1,${hmac(`msg_${n}.${timestamp}.${payload}`, "base64", key)}`,
        },
      };
    },
  },
};
