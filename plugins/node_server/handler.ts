/** Mounts an app in a framework for Node. */
import { getRequestListener } from "@hono/node-server";
import type { IncomingMessage, ServerResponse } from "node:http";
import { checkOptions, option, type OptionRules } from "../../mod.ts";
import { findBody, type KeptBody } from "./parsed_body.ts";

/** An object that answers requests: an app of `createApp()`, an `operatorApi()`, or any other. */
export interface Fetchable {
  /**
   * Answers one request: that of an app, or of a router such as Hono. `platform` is `{ incoming, outgoing }`: the request and the
   * response of Node.
   */
  readonly fetch: (request: Request, ...platform: never[]) => Response | Promise<Response>;
}

/** A request of `node:http` or Express: with `body` or `rawBody`, if something has read its body. */
export type NodeRequest = IncomingMessage & KeptBody;

/** A request of Fastify. */
export interface FastifyRequestLike extends KeptBody {
  /** The request of Node. */
  readonly raw: IncomingMessage;
}

/** A reply of Fastify. */
export interface FastifyReplyLike {
  /** The response of Node. */
  readonly raw: ServerResponse;
  /** Tells Fastify that it does not answer. */
  readonly hijack: () => unknown;
}

/** A context of Koa. */
export interface KoaContextLike {
  /** The request of Node. */
  readonly req: IncomingMessage;
  /** The response of Node. */
  readonly res: ServerResponse;
  /** The request of Koa. */
  readonly request: KeptBody;
  /** Whether Koa answers. */
  respond?: boolean | undefined;
}

/**
 * Answers one request of a framework. Resolves when the answer is sent. The arguments after the second one are ignored, and so
 * is the second one of Koa, `next`.
 */
export type NodeHandler = (
  request: NodeRequest | FastifyRequestLike | KoaContextLike,
  response: ServerResponse | FastifyReplyLike | (() => unknown),
) => Promise<void>;

const APP_RULES: OptionRules<{ readonly app: Fetchable }> = {
  app: option.required(option.value(
    "an app of createApp(), an operatorApi(), or another object with fetch()",
    (app) => typeof (Object(app) as Partial<Fetchable>).fetch === "function",
  )),
};

/**
 * Returns a handler that mounts an app, or an `operatorApi()`, in Express 4 and 5, Nest, Fastify, Koa and `node:http`. It only
 * answers requests: start the app before you listen, and close it when the server has stopped.
 *
 * Mount it before body parsers if you can: then the app's own limits apply, and a body arrives as it was sent. After one, the
 * handler uses what the parser has kept, in this order: `rawBody`; `body` if it is text or bytes; a parsed form or JSON,
 * which it encodes again. What the parser has refused, cut or rearranged is lost: `qs` of Express, for example, makes a list
 * of `data[BOT][7]`, so that the id of such an event is another one than without a parser.
 *
 * If a body was read and not kept, the app answers 503 and logs an error; it never treats such a request as an empty one.
 *
 * @throws {TypeError} if `app` has no `fetch`
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage } from "@b24/onappupdate";
 * import { applicationToken } from "@b24/onappupdate/application-token";
 * import { toNodeHandler } from "@b24/onappupdate/node-server";
 * import assert from "node:assert/strict";
 * import { createServer } from "node:http";
 * import type { AddressInfo } from "node:net";
 *
 * const app = createApp({ storage: memoryStorage(), clientId: "app.5f3a" }).use(applicationToken());
 * await app.start();
 * // In Express: express().use("/bitrix24/events", toNodeHandler(app))
 * const server = createServer(toNodeHandler(app));
 * await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
 *
 * const { port } = server.address() as AddressInfo;
 * const response = await fetch(`http://127.0.0.1:${port}/health`);
 * assert.equal(await response.text(), "ok");
 * await new Promise((resolve) => server.close(resolve));
 * await app.close();
 * ```
 */
export function toNodeHandler(app: Fetchable): NodeHandler {
  checkOptions("cannot mount", { app }, APP_RULES);
  const kept = new WeakMap<object, KeptBody>();
  const listener = getRequestListener(
    async (request, platform) => {
      const incoming = platform.incoming as IncomingMessage;
      return await app.fetch(await withBody(request, incoming, kept.get(incoming) ?? {}), platform as never);
    },
    // By default the library replaces the global Request and Response.
    { overrideGlobalObjects: false },
  );
  return async (request, response) => {
    const { incoming, outgoing, body } = nodeParts(request, response);
    kept.set(incoming, body);
    await listener(incoming, outgoing);
  };
}

interface NodeParts {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  readonly body: KeptBody;
}

function nodeParts(request: Parameters<NodeHandler>[0], response: Parameters<NodeHandler>[1]): NodeParts {
  if ("raw" in request) {
    const reply = response as FastifyReplyLike;
    reply.hijack();
    return { incoming: request.raw, outgoing: reply.raw, body: request };
  }
  if (isKoaContext(request)) {
    request.respond = false;
    // Koa has set 404, for the case that nothing answers.
    request.res.statusCode = 200;
    return { incoming: request.req, outgoing: request.res, body: request.request };
  }
  return { incoming: request, outgoing: response as ServerResponse, body: request };
}

function isKoaContext(request: NodeRequest | KoaContextLike): request is KoaContextLike {
  return "req" in request && "res" in request && "request" in request;
}

/** Returns the request with the body that was read before, if there is one. */
async function withBody(request: Request, incoming: IncomingMessage, kept: KeptBody): Promise<Request> {
  const found = findBody(incoming, kept);
  if (found.state === "stream") return request;
  const { method, url } = request;
  const headers = new Headers(request.headers);
  // They describe the body as it was sent.
  for (const name of ["content-length", "content-encoding", "transfer-encoding"]) headers.delete(name);
  if (found.state === "kept") return new Request(url, { method, headers, body: found.content });
  const used = new Request(url, { method, headers, body: "lost" });
  // The app sees that the body was read, says so, and logs it.
  await used.text();
  return used;
}
