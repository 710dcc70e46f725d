import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { type Fetchable, toNodeHandler } from "@b24/onappupdate/node-server";
import { operatorApi } from "@b24/onappupdate/operator";
// @ts-types="@types/express"
import express from "express";
import express4 from "express4";
import { bodyKind, decodeBody, parseTree } from "../../../src/bitrix24/parse.ts";
import { digest } from "../../../src/net/digest.ts";
import { deliveryId } from "../../../src/portal/delivery.ts";
import { FORM, quietLogger, rig } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { type Mounted, MOUNTS } from "./_frameworks.ts";

const JSON_TYPE = "application/json";

function fixture(name: string): string {
  return readFileSync(fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url)), "utf8");
}

const AUTH = "auth[access_token]=acce5500&auth[domain]=example.bitrix24.de&auth[member_id]=" +
  "a223c6b3710f85df22e9377d6c4f7553&auth[application_token]=a9900000&auth[user_id]=1";
/** An event whose id is a digest of all of its data. */
const ORDINARY =
  "event=ONCRMDEALUPDATE&event_handler_id=7&data[FIELDS][ID]=42&data[FIELDS][TITLE]=%D0%A1%D0%B4%D0%B5%D0%BB" +
  "%D0%BA%D0%B0+1+%2B+2%26%5B3%5D&data[FIELDS][EMPTY]=&data[FIELDS][TAGS][]=a&data[FIELDS][TAGS][]=b%5Bc%5D&data[A][B][C]" +
  `=deep&ts=1785400000&${AUTH}`;

const EVENTS: readonly (readonly [name: string, type: string, body: string])[] = [
  ["an update in a form", FORM, fixture("update-cloud.form").trim()],
  ["an update in JSON", JSON_TYPE, fixture("update-documented.json")],
  ["an installation in a form", FORM, fixture("install.form").trim()],
  ["an ordinary event", FORM, ORDINARY],
];

/** Returns the id under which an app stores the event of a body. */
async function idOf(type: string | null, text: string): Promise<string> {
  const tree = decodeBody({ kind: bodyKind(type)!, text });
  return await deliveryId(parseTree(tree, 0), tree, digest);
}

interface Seen {
  readonly path: string;
  readonly id: string;
  readonly isRead: boolean;
}

/** Answers 202, and notes what it sees. */
function witness(): Fetchable & { readonly seen: Seen[] } {
  const seen: Seen[] = [];
  return {
    seen,
    fetch: async (request, platform) => {
      const { incoming } = platform as { readonly incoming: IncomingMessage };
      const isRead = incoming.readableDidRead;
      const id = await idOf(request.headers.get("content-type"), await request.text());
      seen.push({ path: new URL(request.url).pathname, id, isRead });
      return Response.json({ answered: id }, { status: 202, headers: { "x-answer": "yes" } });
    },
  };
}

describe("toNodeHandler()", () => {
  for (const { name, isParsed, mount } of MOUNTS) {
    it(`works in ${name}, and finds the event that was sent`, async () => {
      const app = witness();
      const server = await mount(toNodeHandler(app));
      try {
        for (const [event, type, body] of EVENTS) {
          const response = await fetch(`${server.url}/b24`, {
            method: "POST",
            body,
            headers: { "content-type": type },
          });
          const id = await idOf(type, body);
          assert.deepEqual([response.status, response.headers.get("x-answer")], [202, "yes"], event);
          assert.deepEqual(await response.json(), { answered: id }, event);
          assert.deepEqual([app.seen.at(-1)!.id, app.seen.at(-1)!.isRead], [id, isParsed], event);
          assert.match(app.seen.at(-1)!.path, /^(\/events)?\/b24$/);
        }
      } finally {
        await server.close();
      }
    });
  }

  it("passes requests without a body, and streams answers", async () => {
    const encoder = new TextEncoder();
    const app: Fetchable = {
      fetch: ({ method }) =>
        new Response(
          method === "HEAD" ? null : new ReadableStream({
            start: (controller) => {
              controller.enqueue(encoder.encode("one\n"));
              controller.enqueue(encoder.encode("two\n"));
              controller.close();
            },
          }),
        ),
    };
    for (const { name, mount } of MOUNTS) {
      const server = await mount(toNodeHandler(app));
      const response = await fetch(`${server.url}/healthz`);
      assert.deepEqual([response.status, await response.text()], [200, "one\ntwo\n"], name);
      const { status } = await fetch(`${server.url}/healthz`, { method: "HEAD" });
      assert.equal(status, 200, name);
      await server.close();
    }
  });

  it("lets an app receive events after a parser, from the installation to an update", async () => {
    const { app, bitrix24, portal } = rig();
    const { mount } = MOUNTS.find(({ name }) => name.startsWith("Express 5 after urlencoded({ extended: true })"))!;
    const server = await mount(toNodeHandler(app));
    for (const body of [portal.install(2), portal.update(3)]) {
      const response = await fetch(`${server.url}/b24`, { method: "POST", body, headers: { "content-type": FORM } });
      assert.equal(response.status, 200);
    }
    assert.equal((await app.portal(portal.memberId))?.version, "3.0.0");
    assert.ok(bitrix24 !== undefined);
    await server.close();
    await app.close();
  });

  it("mounts the operator API, whose URL has no base if the framework removes it", async () => {
    const { app } = rig();
    const sha256 = await digest("o".repeat(43));
    const api = operatorApi({ app, tokens: [{ name: "ada", sha256, role: "operate" }] });
    const server = await listening(express().use(express.json()).use("/ops", toNodeHandler(api)));
    const headers = { authorization: `Bearer ${"o".repeat(43)}`, "content-type": JSON_TYPE };
    const post = (path: string, body: object): Promise<Response> =>
      fetch(`${server.url}/ops/api/v1${path}`, { method: "POST", body: JSON.stringify(body), headers });
    assert.equal((await post("/pause", { reason: "wrong prices" })).status, 200);
    assert.equal((await app.admin.paused())?.reason, "wrong prices");
    assert.equal((await fetch(`${server.url}/ops/api/v1/pause`, { headers })).status, 200);
    const empty = await post(`/portals/${"a".repeat(32)}/check`, {});
    assert.deepEqual([empty.status, (await empty.json()).error.code], [404, "unknown_portal"]);
    await server.close();
    await app.close();
  });

  it("does not let an export that fails look like a whole one", async () => {
    const inner = memoryStorage();
    let isDown = false;
    const storage: Storage = {
      ...inner,
      list: (prefix, options) => {
        if (isDown && prefix[0] !== "audit") throw new StorageError("cannot list");
        return inner.list(prefix, options);
      },
    };
    const { app } = rig({ storage });
    const tokens = [{ name: "ada", sha256: await digest("o".repeat(43)), role: "read" }] as const;
    const server = await listening(toNodeHandler(operatorApi({ app, tokens, logger: quietLogger })));
    const url = `${server.url}/api/v1/export/portals?format=csv`;
    const headers = { authorization: `Bearer ${"o".repeat(43)}` };
    const whole = await fetch(url, { headers });
    assert.match(await whole.text(), /^member_id,domain,/);
    isDown = true;
    assert.equal(await outcomeOf(url, { headers }), "failed");
    isDown = false;
    await server.close();
    await app.close();
  });

  it("breaks the connection if a stream fails after its beginning was sent", async () => {
    const app: Fetchable = {
      fetch: () => {
        let chunks = 0;
        return new Response(
          new ReadableStream({
            pull: async (controller) => {
              await new Promise((resolve) => setImmediate(resolve));
              if (chunks++ < 50) controller.enqueue(new Uint8Array(1000).fill(10));
              else controller.error(new Error("in the middle"));
            },
          }),
        );
      },
    };
    const server = await listening(toNodeHandler(app));
    assert.equal(await outcomeOf(server.url), "failed");
    await server.close();
  });

  it("answers 503 and logs an error that names it, if the body was read and not kept", async () => {
    const { app, portal, lines } = rig();
    // Such as a logger of requests.
    const devour: express.RequestHandler = (request, _response, next) => {
      request.resume();
      request.on("end", () => next());
    };
    for (const kept of [undefined, {}, "an empty object that a parser has set"]) {
      const server = await listening(
        express().use(devour).use((request, _response, next) => {
          if (kept !== undefined) request.body = {};
          next();
        }).use("/events", toNodeHandler(app)),
      );
      const before = lines.length;
      const body = portal.install(2);
      const response = await fetch(`${server.url}/events`, { method: "POST", body, headers: { "content-type": FORM } });
      assert.equal(response.status, 503);
      await response.body?.cancel();
      assert.match(
        lines.slice(before).join(),
        /"level":"error".*it was read before it was passed to the app, and not kept/,
      );
      await server.close();
    }
    assert.deepEqual((await app.admin.portals()).items, []);
    await app.close();
  });

  it("uses the stream if a parser has set an empty body and read nothing", async () => {
    const app = witness();
    const [, type, body] = EVENTS.find(([name]) => name === "an ordinary event")!;
    for (const framework of [express, express4 as unknown as typeof express]) {
      const server = await listening(framework().use(framework.json()).use(toNodeHandler(app)));
      await (await fetch(server.url, { method: "POST", body, headers: { "content-type": type } })).body?.cancel();
      await server.close();
    }
    const id = await idOf(type, body);
    assert.deepEqual(app.seen.map((seen) => [seen.id, seen.isRead]), [[id, false], [id, false]]);
  });

  it("takes a form that a parser has unpacked", async () => {
    const app = witness();
    const server = await listening(express().use(express.urlencoded({ extended: true })).use(toNodeHandler(app)));
    const [, type, body] = EVENTS.find(([name]) => name === "an ordinary event")!;
    const headers = { "content-type": type, "content-encoding": "gzip" };
    await (await fetch(server.url, { method: "POST", body: gzipSync(body), headers })).body?.cancel();
    assert.deepEqual(app.seen.map(({ id }) => id), [await idOf(type, body)]);
    await server.close();
  });

  it("answers 415 to another form, whatever a parser has made of it", async () => {
    const { app } = rig();
    const server = await listening(
      express().use(express.text({ type: () => true })).use((request, _response, next) => {
        request.body = { event: "ONAPPUPDATE" };
        next();
      }).use(toNodeHandler(app)),
    );
    const form = new FormData();
    form.set("event", "ONAPPUPDATE");
    const response = await fetch(server.url, { method: "POST", body: form });
    assert.equal(response.status, 415);
    await response.body?.cancel();
    await server.close();
    await app.close();
  });

  it("refuses what is no app", () => {
    assert.throws(() => toNodeHandler({} as Fetchable), {
      name: "TypeError",
      message:
        "cannot mount with app an object, wanted an app of createApp(), an operatorApi(), or another object with fetch()",
    });
  });

  it("documents what qs makes of numeric keys: the id of such an event differs after a parser", async () => {
    const body = `event=ONIMBOTMESSAGEADD&data[BOT][7][BOT_ID]=7&ts=1785400000&${AUTH}`;
    const app = witness();
    for (const { mount } of MOUNTS.filter(({ name }) => /^Express 5 after (urlencoded|raw)/.test(name))) {
      const server = await mount(toNodeHandler(app));
      await (await fetch(`${server.url}/b24`, { method: "POST", body, headers: { "content-type": FORM } })).body
        ?.cancel();
      await server.close();
    }
    const id = await idOf(FORM, body);
    assert.deepEqual(app.seen.map((seen) => seen.id === id), [false, true, true], "extended, not extended, raw");
  });
});

/** Returns whether a client takes an answer for a whole one. */
async function outcomeOf(url: string, init: RequestInit = {}): Promise<"whole" | "failed"> {
  try {
    const response = await fetch(url, init);
    await response.text();
    return response.ok ? "whole" : "failed";
  } catch {
    return "failed";
  }
}

async function listening(listener: Parameters<typeof createServer>[1]): Promise<Mounted> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
