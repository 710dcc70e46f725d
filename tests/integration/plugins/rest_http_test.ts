import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import type { RestOptions } from "@b24/onappupdate/rest";
import { after, describe, it, waitFor } from "../../support/test.ts";
import { type Counter, counter, failure } from "../../unit/plugins/rest/_rest.ts";

type Handle = (body: string, response: ServerResponse, request: IncomingMessage) => void;

/**
 * A portal behind real sockets: what the runtime's own `fetch` makes of its answers. `signalOf` returns the signal of a
 * request from that which the plugin passes.
 */
async function served(
  handle: Handle,
  options: RestOptions = {},
  signalOf = (signal: AbortSignal): AbortSignal => signal,
): Promise<Counter> {
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => body += chunk);
    // The client may hang up before it has sent the body.
    request.on("error", () => {});
    request.on("end", () => handle(body, response, request));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return counter(options, {
    fetch: (input, init) =>
      fetch(
        String(input).replace(/^https:\/\/[^/]+/, (origin) => {
          return `http://127.0.0.1:${port}/${new URL(origin).hostname}`;
        }),
        { ...init, signal: signalOf(init!.signal!) },
      ),
  });
}

describe("rest() over HTTP", () => {
  it("calls a method", async () => {
    const made = await served((body, response, { url, headers }) => {
      const { auth, ...params } = JSON.parse(body);
      response.end(JSON.stringify({ result: { url, type: headers["content-type"], auth, params } }));
    });
    assert.deepEqual(await made.b24.call("crm.deal.add", { fields: { TITLE: "ä" } }), {
      url: "/example.bitrix24.de/rest/crm.deal.add",
      type: "application/json",
      auth: made.tokens[0],
      params: { fields: { TITLE: "ä" } },
    });
  });

  for (const status of [301, 302, 307, 308]) {
    it(`sees a redirect by ${status} instead of following it`, async () => {
      const made = await served((body, response, { url, method }) => {
        if (url!.includes("new.bitrix24.de")) response.end(JSON.stringify({ result: [method, JSON.parse(body).id] }));
        else response.writeHead(status, { location: "https://new.bitrix24.de/rest/crm.deal.get" }).end("moved");
      });
      assert.deepEqual(await made.b24.call("crm.deal.get", { id: 7 }), ["POST", 7]);
      assert.deepEqual(made.asked, ["get", "follow https://new.bitrix24.de/rest/"]);
    });
  }

  const BROKEN: Readonly<Record<string, Handle>> = {
    "hangs up": (_body, response) => void response.socket!.destroy(),
    "hangs up in the middle": (_body, response) => {
      response.writeHead(200, { "content-length": "1000" }).write('{"result": ', () => response.socket?.destroy());
    },
  };
  for (const [what, handle] of Object.entries(BROKEN)) {
    it(`rejects as unreachable if a portal ${what}`, async () => {
      let asked = 0;
      const made = await served((...args) => {
        asked++;
        handle(...args);
      });
      await failure(made, made.b24.call("crm.deal.add"), { name: "UnreachableError" });
      assert.equal(asked, 1);
      await failure(made, made.b24.call("crm.deal.list"), { name: "UnreachableError" });
      assert.equal(asked, 4);
    });
  }

  it("closes the connection to a portal that takes too long", async () => {
    const begun = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<void>();
    // However late the portal begins to answer: only then does the client learn that the time is over.
    const signalOf = (signal: AbortSignal): AbortSignal => {
      const hangUp = new AbortController();
      signal.addEventListener("abort", () => begun.promise.then(() => hangUp.abort(signal.reason)));
      return hangUp.signal;
    };
    const handle: Handle = (_body, response) => {
      response.on("close", closed.resolve);
      response.writeHead(200).write(" ");
      begun.resolve();
    };
    const made = await served(handle, { timeoutMs: 50 }, signalOf);
    await failure(made, made.b24.call("crm.deal.add"), { name: "UnreachableError" });
    await waitFor("the portal sees the connection close", closed.promise);
  });

  it("limits the size after decompression", async () => {
    const bomb = gzipSync(JSON.stringify({ result: "x".repeat(2 ** 22) }));
    assert(bomb.length < 2 ** 16);
    const made = await served((_body, response) => {
      response.writeHead(200, { "content-encoding": "gzip", "content-type": "application/json" }).end(bomb);
    }, { answerBytes: 2 ** 20 });
    await failure(made, made.b24.call("crm.deal.add"), { b24Code: "ERROR_UNEXPECTED_ANSWER" });
  });
});
