import assert from "node:assert/strict";
import { B24Error, type PortalCredentials, Secret } from "@b24/onappupdate";
import { PortalMovedError, UnreachableError } from "@b24/onappupdate/errors";
import { type CallRecovery, createPortalCall } from "../../../src/credentials/portal_call.ts";
import { MEMBER_ID, recordingLogger } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

interface Scene {
  readonly call: ReturnType<typeof createPortalCall>;
  /** Calls of the recovery, in words. */
  readonly recovered: string[];
  readonly lines: readonly string[];
}

function credentialsOf(userId: number, clientEndpoint = "https://example.bitrix24.de/rest/"): PortalCredentials {
  const accessToken = new Secret(`access-of-${userId}-0123456789`);
  return { clientEndpoint, accessToken, expiresAt: 0, isSystemUser: false, userId, scope: [] };
}

/** A portal with users 1 and 2. */
function scene(overrides: Partial<CallRecovery> = {}): Scene {
  const recovered: string[] = [];
  const { logger, lines } = recordingLogger();
  const call = createPortalCall({
    get: () => {
      recovered.push("get");
      return Promise.resolve(credentialsOf(1));
    },
    refresh: (_memberId, { userId }) => {
      recovered.push(`refresh ${userId}`);
      return Promise.resolve(credentialsOf(userId!));
    },
    otherUser: (_memberId, denied) => {
      recovered.push(`other user than ${denied.map(({ userId }) => userId)}`);
      return Promise.resolve(denied.length < 2 ? credentialsOf(2) : undefined);
    },
    follow: (_memberId, { userId }, endpoint) => {
      recovered.push(`follow ${endpoint}`);
      return Promise.resolve(credentialsOf(userId!, endpoint));
    },
    recordRefusal: (_memberId, error) => {
      recovered.push(`record ${error instanceof B24Error ? error.b24Code : error.blockedOn}`);
      return Promise.resolve();
    },
    log: logger,
    ...overrides,
  });
  return { call, recovered, lines };
}

function refusal(code: string): B24Error {
  return new B24Error({ code, description: "", status: 401, method: "profile" });
}

/** Returns a function that throws `errors` one after the other, and then resolves to the credentials it is given. */
function failing(...errors: readonly Error[]): (credentials: PortalCredentials) => Promise<PortalCredentials> {
  const left = [...errors];
  return (credentials) => {
    const error = left.shift();
    return error === undefined ? Promise.resolve(credentials) : Promise.reject(error);
  };
}

describe("call()", () => {
  it("resolves to the result of the first attempt", async () => {
    const { call, recovered } = scene();
    assert.equal((await call(MEMBER_ID, failing())).userId, 1);
    assert.deepEqual(recovered, ["get"]);
  });

  it("refreshes once for each user", async () => {
    const { call, recovered } = scene();
    const errors = ["expired_token", "ACCESS_DENIED", "expired_token"].map(refusal);
    assert.equal((await call(MEMBER_ID, failing(...errors))).userId, 2);
    assert.deepEqual(recovered, ["get", "refresh 1", "other user than 1", "refresh 2"]);
    const last = refusal("invalid_token");
    await assert.rejects(call(MEMBER_ID, failing(refusal("expired_token"), last)), (error) => error === last);
  });

  it("throws the refusal if no user may", async () => {
    const { call, recovered } = scene();
    const last = refusal("user_access_error");
    await assert.rejects(call(MEMBER_ID, failing(refusal("ACCESS_DENIED"), last)), (error) => error === last);
    assert.deepEqual(recovered, ["get", "other user than 1", "other user than 1,2"]);
  });

  it("follows two redirects", async () => {
    const { call, recovered } = scene();
    const moved = (host: string): Error => new PortalMovedError(`https://${host}/rest/profile?x=1`);
    assert.equal(
      (await call(MEMBER_ID, failing(moved("a.example.com"), moved("b.example.com")))).clientEndpoint,
      "https://b.example.com/rest/",
    );
    assert.deepEqual(recovered, ["get", "follow https://a.example.com/rest/", "follow https://b.example.com/rest/"]);
    await assert.rejects(call(MEMBER_ID, failing(...["a.com", "b.com", "c.com"].map(moved))), {
      name: "AddressError",
      message: `cannot follow portal ${MEMBER_ID}: it redirects more than 2 times`,
    });
  });

  it("does not quote a token that a redirect contains", async () => {
    const { call, recovered } = scene();
    for (
      const location of ["https://ACCESS-of-1-0123456789.com/", "https://access-of-1-0123456789@a.com/", "https://"]
    ) {
      await assert.rejects(call(MEMBER_ID, failing(new PortalMovedError(location))), {
        name: "AddressError",
        message: `cannot follow portal ${MEMBER_ID}: it redirects to a malformed address`,
      });
    }
    assert.deepEqual(new Set(recovered), new Set(["get"]));
  });

  it("records the refusal of a portal, and throws it also if that fails", async () => {
    const { call, recovered } = scene();
    await assert.rejects(call(MEMBER_ID, failing(refusal("PAYMENT_REQUIRED"))), { b24Code: "PAYMENT_REQUIRED" });
    assert.deepEqual(recovered, ["get", "record PAYMENT_REQUIRED"]);
    const down = scene({ recordRefusal: () => Promise.reject(new Error("storage is down")) });
    await assert.rejects(down.call(MEMBER_ID, failing(refusal("NOT_INSTALLED"))), { b24Code: "NOT_INSTALLED" });
    assert.match(down.lines.join(), /storage is down/);
  });

  it("blocks a portal that redirects to its own host on a payment, and does not follow it", async () => {
    const endpoint = "https://example.bitrix24.de/rest/";
    for (const location of ["/bitrix/license.php", "https://EXAMPLE.bitrix24.de/?expired=1", endpoint]) {
      const { call, recovered } = scene();
      await assert.rejects(call(MEMBER_ID, failing(new PortalMovedError(location))), {
        name: "NoCredentialsError",
        blockedOn: "payment",
        message: `cannot call portal ${MEMBER_ID}: it redirects calls to a page of its own, ` +
          "as a portal does whose license has ended",
      });
      assert.deepEqual(recovered, ["get", "record payment"]);
    }
    const down = scene({ recordRefusal: () => Promise.reject(new Error("storage is down")) });
    await assert.rejects(down.call(MEMBER_ID, failing(new PortalMovedError("/"))), { blockedOn: "payment" });
    assert.match(down.lines.join(), /storage is down/);
  });

  it("blocks a renamed portal whose new address redirects to itself", async () => {
    const { call, recovered } = scene();
    const errors = [new PortalMovedError("https://a.example.com/"), new PortalMovedError("/license")];
    await assert.rejects(call(MEMBER_ID, failing(...errors)), { blockedOn: "payment" });
    assert.deepEqual(recovered, ["get", "follow https://a.example.com/rest/", "record payment"]);
  });

  it("throws everything else at once", async () => {
    for (const error of [refusal("ERROR_CORE"), refusal("QUERY_LIMIT_EXCEEDED"), new UnreachableError("down")]) {
      const { call, recovered } = scene();
      await assert.rejects(call(MEMBER_ID, failing(error)), (thrown) => thrown === error);
      assert.deepEqual(recovered, ["get"]);
    }
  });

  it("does not react to errors of get()", async () => {
    const error = refusal("expired_token");
    const { call, recovered } = scene({ get: () => Promise.reject(error) });
    await assert.rejects(call(MEMBER_ID, failing()), (thrown) => thrown === error);
    assert.deepEqual(recovered, []);
  });

  it("chooses the credentials in the queue, and leaves the queue while it recovers", async () => {
    const { call, recovered } = scene();
    const enqueue = async <T>(attempt: () => Promise<T>): Promise<T> => {
      recovered.push("enter");
      try {
        return await attempt();
      } finally {
        recovered.push("leave");
      }
    };
    await call(MEMBER_ID, failing(refusal("expired_token")), { enqueue });
    assert.deepEqual(recovered, ["enter", "get", "leave", "refresh 1", "enter", "leave"]);
  });

  it("passes its signal on", async () => {
    const controller = new AbortController();
    const seen: unknown[] = [];
    const { call } = scene({
      get: (_memberId, options) => {
        seen.push(options?.signal);
        return Promise.resolve(credentialsOf(1));
      },
      refresh: (_memberId, credentials, options) => {
        seen.push(options?.signal);
        return Promise.resolve(credentials);
      },
    });
    await call(MEMBER_ID, failing(refusal("expired_token")), { signal: controller.signal });
    assert.deepEqual(seen, [controller.signal, controller.signal]);
  });
});
