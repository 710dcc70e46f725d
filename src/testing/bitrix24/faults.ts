/** What goes wrong at a fake Bitrix24: errors that are answered on demand, and answers that are none. */
import { Refusal } from "./errors.ts";
import type { Fault, PortalState, World } from "./state.ts";

/** Which calls go wrong. */
export interface FakeFaultOptions {
  /** How many calls; default 1. */
  readonly times?: number;
  /** Only calls of this method, such as `crm.deal.list`, `app.info` or `oauth/token`; commands of a batch, too. */
  readonly method?: string;
  /** Calls of a portal's REST, the default, or of the OAuth host. */
  readonly at?: "portal" | "oauth";
  /** The method is done, and what it answered is thrown away. By default it is not done. */
  readonly after?: "effect";
}

/** Options of `fail`. */
export interface FakeFailOptions extends FakeFaultOptions {
  /** HTTP status; default the one that Bitrix24 has for the code. */
  readonly status?: number;
  /** `error_description`; default Bitrix24's words. */
  readonly description?: string;
  /** `time.operating_reset_at` of the answer in seconds since 1970: for `OPERATION_TIME_LIMIT`. */
  readonly resetAt?: number;
}

/** The next calls are answered with an error. */
export function failing(
  world: World,
  portal: PortalState | undefined,
  code: string,
  { status, description, resetAt, ...options }: FakeFailOptions = {},
): void {
  const refusal = (): Refusal =>
    new Refusal(code, {
      ...(status === undefined ? {} : { status }),
      ...(description === undefined ? {} : { description }),
      ...(resetAt === undefined ? {} : { more: { time: { operating: 480, operating_reset_at: resetAt } } }),
    });
  plan(world, portal, options, () => {
    throw refusal();
  });
}

/** The next calls are never answered: the connection breaks. */
export function losing(world: World, portal: PortalState | undefined, options: FakeFaultOptions = {}): void {
  plan(world, portal, options, () => {
    throw new TypeError("fetch failed: the connection was closed");
  });
}

function plan(
  world: World,
  portal: PortalState | undefined,
  { times = 1, method, at = "portal", after }: FakeFaultOptions,
  strike: Fault["strike"],
): void {
  world.faults.push({
    ...(portal === undefined ? {} : { portal }),
    ...(method === undefined ? {} : { method }),
    at,
    times,
    afterEffect: after === "effect",
    strike,
  });
}

/** Answers of hosts that are broken or hostile. */
export interface FakeAnswers {
  /** A page, as proxies and portals under maintenance show. Default status 200. */
  readonly html: (status?: number) => Response;
  /** JSON that ends in the middle. */
  readonly halfJson: () => Response;
  /** JSON that is not what it says. */
  readonly wrongJson: () => Response;
  /** JSON of so many bytes, which come one mebibyte at a time. */
  readonly oversized: (bytes: number) => Response;
  /** The headers, then nothing until the request is aborted. */
  readonly hanging: () => Response;
  /** A byte each time, and never an end; waits so many milliseconds in between. */
  readonly dripping: (everyMs: number) => Response;
  /** No body at all. */
  readonly empty: (status: number) => Response;
  /** Sends elsewhere. */
  readonly redirect: (location: string) => Response;
}

const JSON_TYPE = { headers: { "content-type": "application/json" } };

/**
 * Answers of hosts that are broken or hostile: give them from a method of {@linkcode FakePortal.answer}. One that is slow
 * is a method that waits; one that never answers, a promise that stays open.
 *
 * @example
 * ```ts
 * import { fakeAnswers, fakeBitrix24 } from "@b24/onappupdate/testing";
 * import assert from "node:assert/strict";
 *
 * const bitrix24 = fakeBitrix24({ clientId: "app.5f3a" });
 * const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });
 * portal.install(1);
 * portal.answer("crm.deal.list", () => fakeAnswers.html(502));
 * const answer = await bitrix24.fetch(`https://${portal.domain}/rest/crm.deal.list?auth=${portal.accessToken()}`);
 * assert.equal(answer.status, 502);
 * await assert.rejects(answer.json());
 * ```
 */
export const fakeAnswers: FakeAnswers = {
  html: (status = 200) =>
    new Response("<!DOCTYPE html><html><body>Bitrix24</body></html>", {
      status,
      headers: { "content-type": "text/html; charset=utf-8" },
    }),
  halfJson: () => new Response('{"result":{"ID":"1","TITLE":"Ha', JSON_TYPE),
  wrongJson: () => new Response('["result"]', JSON_TYPE),
  oversized: (bytes) => {
    let left = bytes;
    const chunk = new Uint8Array(1 << 20).fill(0x20);
    const stream = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        const size = Math.min(left, chunk.length);
        left -= size;
        controller.enqueue(chunk.slice(0, size));
        if (left === 0) controller.close();
      },
    });
    return new Response(stream, JSON_TYPE);
  },
  hanging: () => new Response(new ReadableStream({}), JSON_TYPE),
  dripping: (everyMs) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stream = new ReadableStream<Uint8Array>({
      pull: (controller) =>
        new Promise((resolve) => {
          timer = setTimeout(() => {
            controller.enqueue(new Uint8Array([0x20]));
            resolve();
          }, everyMs);
        }),
      cancel: () => clearTimeout(timer),
    });
    return new Response(stream, JSON_TYPE);
  },
  empty: (status) => new Response(null, { status }),
  redirect: (location) => new Response(null, { status: 302, headers: { location } }),
};
