import assert from "node:assert/strict";
import {
  type App,
  createApp,
  memoryStorage,
  NonRetriableError,
  type Plugin,
  type Portal,
  RetryAfterError,
  type Storage,
} from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { type Channel, notifications, portalMessageChannel } from "@b24/onappupdate/notifications";
import { fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { OPERATOR } from "../../../support/operator.ts";
import { none } from "../../../support/refusals.ts";
import { checkDeadline, describe, it } from "../../../support/test.ts";
import { everythingOf, leaky, notification, NOW, send, thrownBy } from "./_channel.ts";

const OWN = "a223c6b3710f85df22e9377d6c4f7553";
const OTHER = "b334c6b3710f85df22e9377d6c4f7553";
const METHOD = "im.notify.system.add";

interface World {
  readonly portals: readonly [FakePortal, FakePortal];
  /** Messages that portals have got. */
  readonly got: Readonly<Record<string, unknown>>[];
  readonly portal: (memberId?: string) => Promise<Portal | undefined>;
  readonly app: App;
  readonly storage: Storage;
  now: number;
  /** The state of all portals, instead of the one that they have. */
  state?: Portal["state"];
}

/** Runs `body` with a channel in an app that is installed on two portals. */
async function withChannel(
  channel: Channel,
  body: (world: World) => Promise<void>,
  notifier?: Plugin,
): Promise<void> {
  const direct: Plugin = {
    name: "notifications",
    setup: (host) => {
      const portal = async (memberId: string): Promise<Portal | undefined> => {
        const stored = await host.portal(memberId);
        return stored && { ...stored, state: world.state ?? stored.state };
      };
      channel.setup!({ ...host, portal });
    },
  };
  const keys = { clientId: "app.5f3a", clientSecret: "secret" };
  const clock = (): number => world.now;
  const storage = memoryStorage({ clock });
  const bitrix24 = fakeBitrix24({ ...keys, clock, handler: (request) => app.fetch(request) });
  const logger = { debug: none, info: ignore, warn: ignore, error: ignore, isDebugEnabled: false };
  const app = createApp({
    ...{ ...keys, storage, clock, logger, fetch: bitrix24.fetch },
    ...{ acknowledge: "handled", checks: false, tickEveryMs: false },
  }).use(applicationToken()).use(notifier ?? direct).upgrade("3", () => {});
  const newPortal = (memberId: string): FakePortal => bitrix24.portal({ memberId, scope: ["crm", "im", "user_brief"] });
  const world: World = {
    portals: [newPortal(OWN), newPortal(OTHER)],
    got: [],
    portal: (memberId = OWN) => app.portal(memberId),
    app,
    storage,
    now: NOW,
  };
  try {
    for (const portal of world.portals) {
      portal.answer(METHOD, ({ params }) => world.got.push(params));
      await portal.sends.install(2);
    }
    await body(world);
  } finally {
    await app.close();
  }
}

const ignore = (): void => {};

describe("portalMessageChannel()", () => {
  it("sends to the administrators of the vendor's portal whose tokens are stored, with the id as tag", async () => {
    const channel = portalMessageChannel({ memberId: OWN });
    await withChannel(channel, async ({ portals: [own], got }) => {
      own.user(7, { admin: true });
      own.user(8, { admin: false });
      await own.sends.event("ONCRMDEALADD", { "FIELDS[ID]": "7" }, { userId: 7 });
      await own.sends.event("ONCRMDEALADD", { "FIELDS[ID]": "8" }, { userId: 8 });
      await own.sends.userReady();
      await send(channel, notification({ lines: [">>[b]x[/b]"], link: "https://ops.example.com" }));
      const byUser = [...got].sort((a, b) => Number(a["USER_ID"]) - Number(b["USER_ID"]));
      assert.deepEqual(byUser.map((params) => params["USER_ID"]), [1, 7]);
      assert.deepEqual(byUser.map((params) => params["TAG"]), ["onappupdate:n-1", "onappupdate:n-1"]);
      assert.equal(
        byUser[0]!["MESSAGE"],
        "WARNING: 3 portals are parked\n\u200b>>[\u200bb]x[\u200b/b]\nPortals: 3\none.bitrix24.de (a223)\nb334\n" +
          "and 1 more\nhttps://ops.example.com",
      );
    });
  });

  it("sends to the users that are named", async () => {
    const channel = portalMessageChannel({ memberId: OWN, userIds: [3, 4] });
    await withChannel(channel, async ({ got }) => {
      await send(channel);
      assert.deepEqual(got.map((params) => params["USER_ID"]), [3, 4]);
    });
  });

  it("tells customers of an update and of their part in it, and nothing else", async () => {
    const channel = portalMessageChannel({ ofCustomer: true, appName: "Deals [Plus]" });
    await withChannel(channel, async (world) => {
      const portals = { shown: [{ memberId: OWN }, { memberId: OTHER }], total: 2 };
      const secret = { title: "upgrade 2.0.0 failed", lines: ["step deals: TypeError"], portals };
      const texts = async (more: Parameters<typeof notification>[0], id: string): Promise<unknown[]> => {
        world.got.length = 0;
        world.now += 3_600_000;
        await send(channel, notification({ ...secret, ...more }), id);
        return world.got.map((params) => params["MESSAGE"]);
      };
      world.state = "blocked";
      const updated = "Deals [\u200bPlus] was updated";
      assert.deepEqual(await texts({ kind: "portal_upgraded" }, "n-1"), [updated, updated]);
      const [blocked] = await texts({ kind: "portal_blocked", blockedOn: "administrator", language: "ru" }, "n-2");
      assert.equal(blocked, "Обновление приложения «Deals [\u200bPlus]» ждёт: его должен открыть администратор");
      for (const blockedOn of ["payment", "scope", "confirmation"] as const) {
        const [text] = await texts({ kind: "portal_blocked", blockedOn }, `n-${blockedOn}`);
        assert.match(String(text), /^Deals \[\u200bPlus\] cannot continue its update: /);
        assert.doesNotMatch(String(text), /2\.0\.0|deals|TypeError/);
      }
      const silent = [
        ...(["portal_parked", "rollout_paused", "storage_failing", "portal_blocked"] as const).map((kind) => ({
          kind,
        })),
        { kind: "portal_blocked", blockedOn: "configuration" },
        { kind: "portal_blocked", blockedOn: "rollout" },
        { kind: "portal_upgraded", status: "resolved" },
      ] as const;
      for (const [i, more] of silent.entries()) assert.deepEqual(await texts(more, `s-${i}`), []);
    });
  });

  it("tells customers nothing of a need that is over", async () => {
    const channel = portalMessageChannel({ ofCustomer: true, appName: "Deals" });
    await withChannel(channel, async (world) => {
      const portals = { shown: [{ memberId: OWN }], total: 1 };
      const message = notification({ kind: "portal_blocked", blockedOn: "payment", portals });
      assert.equal((await world.portal())?.state, "current");
      await send(channel, message, "n-1");
      assert.deepEqual(world.got, []);
      world.state = "blocked";
      await send(channel, message, "n-2");
      assert.equal(world.got.length, 1);
    });
  });

  it("sends what notifications() has for customers, and nothing for operators", async () => {
    const channel = portalMessageChannel({ ofCustomer: true, appName: "Deals" });
    const rules = [{ channels: ["customer"], audience: "customers" }, { channels: ["customer"] }] as const;
    await withChannel(channel, async ({ portals: [own], got, app }) => {
      await own.sends.update(3);
      await app.tick();
      while (got.length === 0) {
        checkDeadline();
        await new Promise((resolve) => setTimeout(resolve));
      }
      assert.deepEqual(got.map(({ MESSAGE, USER_ID }) => [USER_ID, MESSAGE]), [[1, "Deals was updated"]]);
    }, notifications({ channels: [channel], rules }));
  });

  it("sends a portal one message an hour, and the same one once", async () => {
    const channel = portalMessageChannel({ memberId: OWN });
    await withChannel(channel, async (world) => {
      await send(channel, notification(), "n-1");
      await send(channel, notification(), "n-1");
      assert.equal(world.got.length, 1);
      world.now += 600_000;
      const error = await thrownBy(() => send(channel, notification(), "n-2"));
      assert.ok(error instanceof RetryAfterError);
      assert.equal(error.afterMs, 3_000_000);
      assert.equal(world.got.length, 1);
      world.now += 3_000_000;
      await send(channel, notification(), "n-2");
      assert.equal(world.got.length, 2);
    });
  });

  it("does not wait for the time of a clock that was put back", async () => {
    const channel = portalMessageChannel({ memberId: OWN });
    await withChannel(channel, async (world) => {
      await send(channel, notification(), "n-1");
      world.now -= 86_400_000;
      await send(channel, notification(), "n-2");
      assert.equal(world.got.length, 2);
    });
  });

  it("repeats a message that failed with the same id, and lets no other one by", async () => {
    const channel = portalMessageChannel({ memberId: OWN });
    await withChannel(channel, async ({ portals: [own], got }) => {
      own.fail("INTERNAL_SERVER_ERROR", { method: METHOD });
      const error = await thrownBy(() => send(channel, notification(), "n-1"));
      assert.equal(error.message, `portal: portal ${OWN} answered 500 INTERNAL_SERVER_ERROR`);
      assert.ok(await thrownBy(() => send(channel, notification(), "n-2")) instanceof RetryAfterError);
      await send(channel, notification(), "n-1");
      assert.equal(got.length, 1);
    });
  });

  it("sends to the other portals if one fails", async () => {
    const channel = portalMessageChannel({ ofCustomer: true, appName: "Deals" });
    await withChannel(channel, async (world) => {
      const { portals: [own, other], got } = world;
      const portals = { shown: [{ memberId: OWN }, { memberId: OTHER }], total: 2 };
      own.fail("INTERNAL_SERVER_ERROR", { method: METHOD });
      const message = notification({ kind: "portal_upgraded", portals });
      const error = await thrownBy(() => send(channel, message));
      assert.equal(error.message, `customer: portal ${OWN} answered 500 INTERNAL_SERVER_ERROR`);
      assert.equal(got.length, 1);
      // Only what is left is sent again.
      await send(channel, message);
      assert.equal(got.length, 2);
      // A message that cannot be sent is final once it is the only one left.
      world.now += 3_600_000;
      other.user(1, { admin: false });
      own.fail("INTERNAL_SERVER_ERROR", { method: METHOD });
      const again = () => send(channel, message, "n-2");
      assert.match((await thrownBy(again)).message, /INTERNAL_SERVER_ERROR$/);
      assert.ok(await thrownBy(again) instanceof NonRetriableError);
      assert.equal(got.length, 3);
    });
  });

  const answers: readonly (readonly [code: string, expected: new (...args: never[]) => Error, status: number])[] = [
    ["PAYMENT_REQUIRED", Error, 402],
    ["PORTAL_DELETED", Error, 500],
    ["QUERY_LIMIT_EXCEEDED", RetryAfterError, 503],
    ["OPERATION_TIME_LIMIT", RetryAfterError, 429],
    ["NOT_INSTALLED", NonRetriableError, 401],
    ["insufficient_scope", NonRetriableError, 403],
    ["ACCESS_DENIED", NonRetriableError, 403],
    ["OVERLOAD_LIMIT", NonRetriableError, 503],
  ];
  for (const [code, expected, status] of answers) {
    it(`throws ${expected.name} for ${code}, and does not change the portal`, async () => {
      const channel = portalMessageChannel({ memberId: OWN });
      await withChannel(channel, async ({ portals: [own], portal }) => {
        const before = await portal();
        own.answer(METHOD, () => Response.json({ error: code, error_description: "secret words" }, { status }));
        const error = await thrownBy(() => send(channel));
        assert.equal(error.constructor, expected);
        assert.equal(error.message, `portal: portal ${OWN} answered ${status} ${code}`);
        assert.deepEqual(await portal(), before);
      });
    });
  }

  it("refreshes a token pair that the portal refuses", async () => {
    const channel = portalMessageChannel({ memberId: OWN, userIds: [1] });
    await withChannel(channel, async ({ portals: [own], got }) => {
      own.expireTokens();
      await send(channel);
      assert.equal(got.length, 1);
    });
  });

  it("refreshes the token of an administrator that the portal refuses", async () => {
    const channel = portalMessageChannel({ memberId: OWN });
    await withChannel(channel, async ({ portals: [own], got }) => {
      own.expireTokens();
      await send(channel);
      assert.deepEqual(got.map((params) => params["USER_ID"]), [1]);
    });
  });

  it("is repeated if the portal does not say who is an administrator", async () => {
    const channel = portalMessageChannel({ memberId: OWN });
    await withChannel(channel, async ({ portals: [own], got }) => {
      own.fail("INTERNAL_SERVER_ERROR", { method: "profile" });
      const error = await thrownBy(() => send(channel));
      assert.equal(error.constructor, Error);
      assert.equal(error.message, `portal: portal ${OWN} answered 500 INTERNAL_SERVER_ERROR`);
      await send(channel);
      assert.equal(got.length, 1);
    });
  });

  it("has sent a message once an administrator has it, whatever becomes of the tokens of others", async () => {
    const channel = portalMessageChannel({ memberId: OWN });
    await withChannel(channel, async ({ portals: [own], got }) => {
      own.user(7, { admin: true });
      await own.sends.event("ONCRMDEALADD", { "FIELDS[ID]": "7" }, { userId: 7 });
      let asked = 0;
      own.answer("profile", () => {
        if (++asked === 1) return { ADMIN: true };
        return Response.json({ error: "expired_token", error_description: "" }, { status: 401 });
      });
      await send(channel);
      assert.equal(got.length, 1);
      assert.ok(asked > 1);
      await send(channel);
      assert.equal(got.length, 1);
    });
  });

  it("follows no redirect, and does not take one for the end of a license", async () => {
    const channel = portalMessageChannel({ memberId: OWN, userIds: [1] });
    await withChannel(channel, async ({ portals: [own], portal }) => {
      const before = await portal();
      for (const location of ["https://new-name.bitrix24.de/rest/", `https://${own.domain}/license`]) {
        own.answer(METHOD, () => new Response(null, { status: 302, headers: { location } }));
        assert.equal((await thrownBy(() => send(channel))).message, `portal: portal ${OWN} answered 302`);
        assert.deepEqual(await portal(), before);
      }
    });
  });

  it("gives up on a portal that is not stored or has no administrator's token", async () => {
    const unknown = portalMessageChannel({ memberId: "c445" });
    await withChannel(unknown, async () => {
      const error = await thrownBy(() => send(unknown));
      assert.ok(error instanceof NonRetriableError);
      assert.equal(error.message, "portal: portal c445 is not stored");
    });
    const channel = portalMessageChannel({ memberId: OWN });
    await withChannel(channel, async ({ portals: [own] }) => {
      own.user(1, { admin: false });
      const error = await thrownBy(() => send(channel));
      assert.ok(error instanceof NonRetriableError);
      assert.equal(error.message, `portal: portal ${OWN} has no administrator's token`);
    });
  });

  it("tells the customer of a portal that was erased meanwhile nothing, and stores nothing of it", async () => {
    const channel = portalMessageChannel({ ofCustomer: true, appName: "Deals" });
    await withChannel(channel, async (world) => {
      await world.app.admin.forget(OWN, OPERATOR);
      const portals = { shown: [{ memberId: OWN }, { memberId: "c445" }, { memberId: OTHER }], total: 3 };
      await send(channel, notification({ kind: "portal_upgraded", portals }));
      assert.equal(world.got.length, 1);
      assert.deepEqual(await world.app.admin.outbox.list({ state: "dead" }), { items: [] });
      const keys = await Array.fromAsync(world.storage.list(["plugin", "notifications"]), ({ key }) => key.join("/"));
      assert.deepEqual(keys, [`plugin/notifications/portal/${OTHER}/message`]);
    });
    const own = portalMessageChannel({ memberId: OWN });
    await withChannel(own, async (world) => {
      await world.app.admin.forget(OWN, OPERATOR);
      const error = await thrownBy(() => send(own));
      assert.ok(error instanceof NonRetriableError);
      assert.equal(error.message, `portal: portal ${OWN} is not installed`);
    });
  });

  it("makes errors without tokens", async () => {
    const channel = portalMessageChannel({ memberId: OWN, userIds: [1] });
    await withChannel(channel, async (world) => {
      const [own] = world.portals;
      const answers = [
        (token: string): never => {
          throw leaky(token);
        },
        (token: string): Response => Response.json({ error: { code: token } }, { status: 400 }),
        (token: string): Response => Response.json({ error: `bad ${token}` }, { status: 400 }),
        (token: string): Response => new Response(token, { status: 500 }),
        (token: string): Response =>
          new Response(null, { status: 302, headers: { location: `https://x.example/${token}` } }),
      ];
      for (const answer of answers) {
        let token = "";
        own.answer(METHOD, ({ params }) => answer(token = String(params["auth"] ?? own.accessToken())));
        const error = await thrownBy(() => send(channel));
        assert.notEqual(token, "");
        assert.ok(!everythingOf(error).includes(token), error.message);
        assert.equal(error.cause, undefined);
      }
    });
  });

  it("stops when its signal is aborted", async () => {
    const channel = portalMessageChannel({ memberId: OWN, userIds: [1] });
    await withChannel(channel, async ({ portals: [own] }) => {
      const controller = new AbortController();
      own.answer(METHOD, () => {
        controller.abort(new DOMException("too slow", "TimeoutError"));
        return new Promise<never>(() => {});
      });
      const options = { id: "n-1", signal: controller.signal };
      await assert.rejects(channel.send(notification(), options), { name: "TimeoutError" });
    });
  });

  it("says that it needs notifications()", async () => {
    const message = "portal: pass the channel to notifications()";
    await assert.rejects(send(portalMessageChannel({ memberId: OWN })), { name: "TypeError", message });
  });
});
