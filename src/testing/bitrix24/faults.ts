/** Faults of a fake Bitrix24: errors on demand, and broken answers. */
import { checkOptions, option, type OptionRules } from "../../check_options.ts";
import { Refusal } from "./errors.ts";
import type { Fault, PortalState, World } from "./state.ts";

/** Options of {@linkcode FakePortal.lose}: which calls fail. */
export interface FakeFaultOptions {
  /**
   * Number of calls that fail. Minimum: 1.
   *
   * @default 1
   */
  readonly times?: number;
  /** Only calls of this method, such as `crm.deal.list`, `app.info` or `oauth/token`, also as commands of a batch. */
  readonly method?: string;
  /**
   * Calls of the portal's REST, or of the OAuth host.
   *
   * @default "portal"
   */
  readonly at?: "portal" | "oauth";
  /** With `"effect"`, the method takes effect and its answer is replaced. By default it has no effect. */
  readonly after?: "effect";
}

const FAULT_RULES: OptionRules<FakeFaultOptions> = {
  times: option.number({ min: 1, max: Infinity }),
  method: option.text("the name of a method"),
  at: option.oneOf("portal", "oauth"),
  after: option.oneOf("effect"),
};

/** Options of {@linkcode FakePortal.fail}. */
export interface FakeFailOptions extends FakeFaultOptions {
  /**
   * HTTP status. Minimum: 200. Maximum: 599.
   *
   * @default that of Bitrix24 for the code
   */
  readonly status?: number;
  /**
   * `error_description` of the answer.
   *
   * @default that of Bitrix24 for the code
   */
  readonly description?: string;
  /** `time.operating_reset_at` of the answer, in seconds since 1970, for `OPERATION_TIME_LIMIT`. */
  readonly resetAt?: number;
}

const FAIL_RULES: OptionRules<FakeFailOptions> = {
  ...FAULT_RULES,
  status: option.number({ min: 200, max: 599, isWhole: true }),
  description: option.value("a string", (description) => typeof description === "string"),
  resetAt: option.number({ min: 0 }),
};

/** Makes the next calls fail with an error of Bitrix24. */
export function failCalls(
  world: World,
  portal: PortalState | undefined,
  code: string,
  options: FakeFailOptions = {},
): void {
  checkOptions("cannot make calls fail", options, FAIL_RULES);
  const { status, description, resetAt, ...others } = options;
  const refusal = (): Refusal =>
    new Refusal(code, {
      ...(status === undefined ? {} : { status }),
      ...(description === undefined ? {} : { description }),
      ...(resetAt === undefined ? {} : { more: { time: { operating: 480, operating_reset_at: resetAt } } }),
    });
  addFault(world, portal, others, () => {
    throw refusal();
  });
}

/** Breaks the connection of the next calls. */
export function breakConnections(world: World, portal: PortalState | undefined, options: FakeFaultOptions = {}): void {
  checkOptions("cannot lose answers", options, FAULT_RULES);
  addFault(world, portal, options, () => {
    throw new TypeError("fetch failed: the connection was closed");
  });
}

function addFault(
  world: World,
  portal: PortalState | undefined,
  { times = 1, method, at = "portal", after }: FakeFaultOptions,
  raise: Fault["raise"],
): void {
  world.faults.push({
    ...(portal === undefined ? {} : { portal }),
    ...(method === undefined ? {} : { method }),
    at,
    times,
    afterEffect: after === "effect",
    raise,
  });
}

/** Answers of broken or hostile hosts. */
export interface FakeAnswers {
  /** Returns an HTML page, as proxies and portals under maintenance do. The status is 200 by default. */
  readonly html: (status?: number) => Response;
  /** Returns truncated JSON. */
  readonly halfJson: () => Response;
  /** Returns JSON of an unexpected shape. */
  readonly wrongJson: () => Response;
  /** Returns JSON of `bytes` bytes, in chunks of one mebibyte. */
  readonly oversized: (bytes: number) => Response;
  /** Returns headers, and a body that never arrives. */
  readonly hanging: () => Response;
  /** Returns an endless body of one byte every `everyMs` milliseconds. */
  readonly dripping: (everyMs: number) => Response;
  /** Returns no body. */
  readonly empty: (status: number) => Response;
  /** Returns a redirect. */
  readonly redirect: (location: string) => Response;
}

const JSON_TYPE = { headers: { "content-type": "application/json" } };

/**
 * Answers of broken or hostile hosts. Return them from a method of {@linkcode FakePortal.answer}. For a slow host, let the
 * method wait; for one that never answers, return a promise that stays pending.
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
