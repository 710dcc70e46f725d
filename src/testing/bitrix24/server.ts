/** Serves a fake Bitrix24 to apps in other processes. One port stands for all of its hosts. */
import { Buffer } from "node:buffer";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { ADDRESS, BROKEN, forwardTo } from "../../net/stand_in.ts";
import { followRedirects } from "./request.ts";

/** A running server. */
export interface FakeServer {
  /** URL for {@linkcode forwardingFetch}, such as `http://127.0.0.1:40123`. */
  readonly url: string;
  /** Closes the server and all connections. */
  readonly close: () => Promise<void>;
}

type Fetch = (request: Request) => Promise<Response>;

/** Serves `answer` on a free loopback port. */
export async function startServer(answer: Fetch): Promise<FakeServer> {
  const server = createServer((request, response) => answerForwarded(request, response, answer));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Answers a request that {@linkcode forwardTo} has sent by `answer`, or as a broken connection if that throws. */
export function answerForwarded(request: IncomingMessage, response: ServerResponse, answer: Fetch): void {
  forwardRequest(request, response, answer).catch(() => {
    if (request.headers[ADDRESS] === undefined || response.headersSent) response.destroy();
    else response.writeHead(502, { [BROKEN]: "1" }).end();
  });
}

/** @throws {unknown} the error of `answer`: the connection broke, or there is no such host */
async function forwardRequest(request: IncomingMessage, response: ServerResponse, answer: Fetch): Promise<void> {
  const closed = new AbortController();
  response.once("close", () => closed.abort());
  const chunks: Uint8Array[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const { [ADDRESS]: address, ...headers } = request.headers;
  const original = new Headers();
  for (const [name, value] of Object.entries(headers)) if (typeof value === "string") original.set(name, value);
  const method = request.method ?? "GET";
  const answered = await answer(
    new Request(String(address ?? `http://${request.headers.host}${request.url}`), {
      method,
      headers: original,
      signal: closed.signal,
      redirect: "manual",
      ...(method === "GET" || method === "HEAD" ? {} : { body: Buffer.concat(chunks) }),
    }),
  );
  response.writeHead(answered.status, Object.fromEntries(answered.headers));
  if (answered.body === null) return void response.end();
  response.flushHeaders();
  Readable.fromWeb(answered.body as Parameters<typeof Readable.fromWeb>[0]).on("error", () => response.destroy())
    .pipe(response);
}

/**
 * Returns a `fetch` that sends all requests to the fake Bitrix24 served at `url`, for an app in another process. The app
 * uses addresses such as `https://example.bitrix24.de/rest/`. Hosts that the fake does not have are unreachable.
 *
 * @example
 * ```ts
 * import { fakeBitrix24, forwardingFetch } from "@b24/onappupdate/testing";
 * import assert from "node:assert/strict";
 *
 * const bitrix24 = fakeBitrix24({ clientId: "app.5f3a" });
 * const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });
 * portal.install(1);
 * const server = await bitrix24.serve();
 *
 * // In the other process, which received the URL:
 * const fetch = forwardingFetch(server.url);
 * const answer = await fetch("https://example.bitrix24.de/rest/profile", {
 *   method: "POST",
 *   body: new URLSearchParams({ auth: portal.accessToken() }),
 * });
 * assert.equal((await answer.json()).result.ADMIN, true);
 * await server.close();
 * ```
 */
export function forwardingFetch(url: string): typeof fetch {
  const forward = (request: Request): Promise<Response> => forwardTo(url, request, fetch);
  return (input, init) => followRedirects(new Request(input, init), forward);
}
