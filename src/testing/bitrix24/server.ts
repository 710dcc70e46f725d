/** A fake Bitrix24 as a server, for apps in other processes: one port stands for all of its hosts. */
import { Buffer } from "node:buffer";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { following } from "./request.ts";

/** A server that runs. */
export interface FakeServer {
  /** Such as `http://127.0.0.1:40123`; for {@linkcode forwardingFetch}. */
  readonly url: string;
  /** Ends it, and what is still being answered. */
  readonly close: () => Promise<void>;
}

/** Names the address that a request was meant for. */
const ADDRESS = "x-fake-bitrix24-address";
/** Says that there is no answer: a connection that just breaks would make some clients ask again. */
const BROKEN = "x-fake-bitrix24-broken";

type Fetch = (request: Request) => Promise<Response>;

/** Answers over HTTP as `answer` does, on a free loopback port. */
export async function startServer(answer: Fetch): Promise<FakeServer> {
  const server = createServer((request, response) => {
    relay(request, response, answer).catch(() => {
      if (request.headers[ADDRESS] === undefined || response.headersSent) response.destroy();
      else response.writeHead(502, { [BROKEN]: "1" }).end();
    });
  });
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

/** @throws {unknown} what `answer` does: the connection broke, or there is no such host */
async function relay(request: IncomingMessage, response: ServerResponse, answer: Fetch): Promise<void> {
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  const chunks: Uint8Array[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const { [ADDRESS]: address, ...headers } = request.headers;
  const meant = new Headers();
  for (const [name, value] of Object.entries(headers)) if (typeof value === "string") meant.set(name, value);
  const method = request.method ?? "GET";
  const answered = await answer(
    new Request(String(address ?? `http://${request.headers.host}${request.url}`), {
      method,
      headers: meant,
      signal: gone.signal,
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
 * A `fetch` whose every request, whatever its address, goes to the fake Bitrix24 that is served at `url`: for an app in a
 * process of its own, which keeps addresses such as `https://example.bitrix24.de/rest/`. Hosts that the fake does not
 * have cannot be reached.
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
 * // In the other process, which was told the address:
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
  const forward = async (request: Request): Promise<Response> => {
    const headers = new Headers(request.headers);
    headers.set(ADDRESS, request.url);
    const response = await fetch(url, {
      method: request.method,
      headers,
      redirect: "manual",
      signal: request.signal,
      ...(request.body === null ? {} : { body: await request.arrayBuffer() }),
    });
    if (!response.headers.has(BROKEN)) return response;
    await response.body?.cancel();
    throw new TypeError(`fetch failed: ${new URL(request.url).host} gives no answer`);
  };
  return (input, init) => following(new Request(input, init), forward);
}
