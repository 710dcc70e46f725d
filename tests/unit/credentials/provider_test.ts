import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { PortalMovedError, StorageError } from "@b24/onappupdate/errors";
import { MEMBER_ID } from "../../support/app.ts";
import {
  ENDPOINT,
  fakeOAuthHost,
  NOW,
  type TestApp,
  testApp,
  tokenFields,
  usersTried,
} from "../../support/fake_oauth_host.ts";
import { describe, it, mock } from "../../support/test.ts";
import { withoutWrite } from "../../support/without_write.ts";

/** A portal that was installed with a token pair of user 1. */
async function installed(options: Parameters<typeof testApp>[0] = {}): Promise<TestApp & { readonly first: string }> {
  const made = testApp(options);
  const pair = made.oauth.issueTokens();
  assert.equal(await made.send("ONAPPINSTALL", { "data[VERSION]": "2", ...tokenFields(pair) }), 200);
  return Object.assign(made, { first: pair.access });
}

const HOUR = 3_600_000;

describe("credentials.get()", () => {
  it("verifies the token pair of an event once, before it returns it", async () => {
    const { app, oauth, first } = await installed();
    const access = await app.credentials.get(MEMBER_ID);
    assert.equal(access.accessToken.reveal(), first);
    assert.equal(access.clientEndpoint, ENDPOINT);
    assert.deepEqual([access.userId, access.isSystemUser, access.scope], [1, false, ["crm", "placement"]]);
    await app.credentials.get(MEMBER_ID);
    assert.deepEqual(oauth.asked.map(({ kind, host }) => [kind, host]), [["app.info", "oauth.bitrix24.tech"]]);
  });

  it("drops the token pair of another portal or app, and keeps the pair that works", async () => {
    for (const [memberId, clientId] of [["b".repeat(32), undefined], [MEMBER_ID, "app.another"]] as const) {
      const made = await installed();
      await made.app.credentials.get(MEMBER_ID);
      made.now += 60_000;
      const swapped = made.oauth.issueTokens(1, memberId, clientId);
      await made.send("ONAPPUPDATE", { "data[VERSION]": "3", "data[PREVIOUS_VERSION]": "2", ...tokenFields(swapped) });
      assert.equal((await made.app.credentials.get(MEMBER_ID)).accessToken.reveal(), made.first);
      await made.app.check(MEMBER_ID);
      assert.equal((await made.app.credentials.get(MEMBER_ID)).accessToken.reveal(), made.first);
      assert.deepEqual((await made.record()).tokens?.map(({ accessToken }) => accessToken), [made.first]);
    }
  });

  it("does not store another portal's token pair after a refresh", async () => {
    const made = testApp();
    const swapped = made.oauth.issueTokens(1, "b".repeat(32));
    await made.send("ONAPPINSTALL", { "data[VERSION]": "2", ...tokenFields(swapped) });
    made.oauth.expireAccessTokens();
    await assert.rejects(made.app.credentials.get(MEMBER_ID), {
      name: "NoCredentialsError",
      blockedOn: "authorization",
    });
    assert.equal((await made.record()).tokens, undefined);
  });

  it("refuses a refresh that is answered with another portal's pair, or without member_id, and keeps the pair", async () => {
    const other = "b".repeat(32);
    for (
      const [memberId, message] of [
        [other, `answered with the tokens of another portal, wanted those of portal ${MEMBER_ID}`],
        [undefined, "is missing or has malformed member_id"],
        ["", "is missing or has malformed member_id"],
        [7, "is missing or has malformed member_id"],
      ] as const
    ) {
      const made = await installed();
      await made.app.credentials.get(MEMBER_ID);
      const before = (await made.record()).tokens;
      made.now += HOUR;
      const pair = { access_token: "access-wrong-0123456789", refresh_token: "refresh-wrong-0123456789" };
      made.oauth.answer = ({ kind }) =>
        kind === "token" ? Response.json({ ...pair, expires_in: 3600, member_id: memberId }) : undefined;
      const error = await made.app.credentials.get(MEMBER_ID).then(() => undefined, (error: unknown) => error as Error);
      assert.equal(error?.name, "UnreachableError");
      assert(error.message.includes(message), error.message);
      assert(!error.message.includes("wrong"), error.message);
      assert.deepEqual((await made.record()).tokens, before);
      // The refresh token was not used up: the next attempt succeeds.
      made.oauth.answer = undefined;
      const access = await made.app.credentials.get(MEMBER_ID);
      assert(!access.accessToken.reveal().includes("wrong"));
      assert.notEqual(access.accessToken.reveal(), made.first);
    }
  });

  it("stores another portal's token pair that it has refreshed for that portal, whose own is invalid since", async () => {
    const other = "b".repeat(32);
    const made = testApp();
    const pair = made.oauth.issueTokens(1, other);
    await made.send("ONAPPINSTALL", { "data[VERSION]": "2", ...tokenFields(pair), "auth[member_id]": other });
    await made.app.credentials.get(other);
    await made.send("ONAPPINSTALL", { "data[VERSION]": "2", ...tokenFields(pair) });
    made.oauth.expireAccessTokens();
    await assert.rejects(made.app.credentials.get(MEMBER_ID), { name: "NoCredentialsError" });
    made.oauth.expireAccessTokens();
    const spent = await made.app.credentials.get(other);
    assert.notEqual(spent.accessToken.reveal(), pair.access);
    assert.equal((await made.app.credentials.refresh(other, spent)).clientEndpoint, ENDPOINT);
  });

  it("does not block the portal for the refusal of an unverified token", async () => {
    const made = await installed();
    await made.app.credentials.get(MEMBER_ID);
    made.now += 60_000;
    await made.send("ONAPPUPDATE", { "data[VERSION]": "2", ...tokenFields({ access: "access-of-elsewhere" }, 7) });
    made.oauth.answer = ({ token }) =>
      token === "access-of-elsewhere" ? Response.json({ error: "NOT_INSTALLED" }, { status: 401 }) : undefined;
    assert.deepEqual((await made.app.check(MEMBER_ID)).problems, []);
    assert.equal((await made.app.portal(MEMBER_ID))?.blocked, undefined);
  });

  it("does not block the portal for the refusal of its only token, which is unverified", async () => {
    const made = await installed();
    made.oauth.answer = ({ kind }) =>
      kind === "app.info" ? Response.json({ error: "NOT_INSTALLED" }, { status: 401 }) : undefined;
    await assert.rejects(made.app.credentials.get(MEMBER_ID), { b24Code: "NOT_INSTALLED" });
    assert.equal((await made.app.portal(MEMBER_ID))?.blocked, undefined);
  });

  it("refreshes a token that is about to expire, and stores the new pair before it returns it", async () => {
    const made = await installed();
    await made.app.credentials.get(MEMBER_ID);
    made.now += HOUR - 30_000;
    const access = await made.app.credentials.get(MEMBER_ID);
    assert.notEqual(access.accessToken.reveal(), made.first);
    const { tokens } = await made.record();
    assert.deepEqual(tokens?.map(({ accessToken }) => accessToken), [access.accessToken.reveal()]);
    assert.equal(made.oauth.asked.filter(({ kind }) => kind === "token").length, 1);
  });

  it("prefers the system user to an administrator", async () => {
    const made = await installed();
    await made.app.credentials.get(MEMBER_ID);
    const system = made.oauth.issueTokens(9);
    await made.send("ONAPPUSERREADY", {
      "data[access_token]": system.access,
      "data[refresh_token]": system.refresh,
      "data[expires_in]": "3600",
      "data[scope]": "crm",
      "data[user_id]": "9",
      ...tokenFields({ access: made.first }),
    });
    const access = await made.app.credentials.get(MEMBER_ID);
    assert.deepEqual([access.isSystemUser, access.userId, access.accessToken.reveal()], [true, 9, system.access]);
    const tokens = (await usersTried(made.app)).map(({ accessToken }) => accessToken.reveal());
    assert.deepEqual(tokens, [system.access, made.first]);
  });

  it("returns a token that works if the system user's cannot be verified", async () => {
    const made = await installed();
    await made.app.credentials.get(MEMBER_ID);
    await made.send("ONAPPUSERREADY", {
      "data[access_token]": "access-of-nobody",
      "data[refresh_token]": "refresh-of-nobody",
      "data[expires_in]": "3600",
      ...tokenFields({ access: made.first }),
    });
    assert.deepEqual((await made.record()).tokens?.map(({ accessToken }) => accessToken), [
      made.first,
      "access-of-nobody",
    ]);
    assert.equal((await made.app.credentials.get(MEMBER_ID)).accessToken.reveal(), made.first);
    made.oauth.answer = ({ token }) => token === made.first ? undefined : Promise.reject(new TypeError("down"));
    assert.equal((await made.app.credentials.get(MEMBER_ID)).accessToken.reveal(), made.first);
  });

  it("rejects with what is needed if there is no token, or none that can be refreshed", async () => {
    await assert.rejects(testApp().app.credentials.get(MEMBER_ID), { name: "UnknownPortalError" });
    const bare = testApp();
    await bare.send("ONAPPINSTALL", { "data[VERSION]": "2" });
    await assert.rejects(bare.app.credentials.get(MEMBER_ID), {
      name: "NoCredentialsError",
      blockedOn: "authorization",
    });
    const made = await installed({ clientSecret: undefined as never });
    made.now += 2 * HOUR;
    await assert.rejects(made.app.credentials.get(MEMBER_ID), {
      name: "NoCredentialsError",
      blockedOn: "configuration",
    });
    await made.send("ONAPPUNINSTALL", { "data[CLEAN]": "1" });
    await assert.rejects(made.app.credentials.get(MEMBER_ID), {
      name: "NoCredentialsError",
      blockedOn: "installation",
    });
  });
});

describe("credentials.refresh()", () => {
  it("refreshes once for many calls of two apps that share a storage", async () => {
    const storage = memoryStorage();
    const made = await installed({ storage });
    const other = testApp({ storage, oauth: made.oauth });
    const spent = await made.app.credentials.get(MEMBER_ID);
    made.oauth.expireAccessTokens();
    const refreshed = await Promise.all(
      Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? made : other).app.credentials.refresh(MEMBER_ID, spent)),
    );
    assert.equal(made.oauth.asked.filter(({ kind }) => kind === "token").length, 1);
    assert.equal(new Set(refreshed.map(({ accessToken }) => accessToken.reveal())).size, 1);
    assert.equal((await made.record()).refreshing, undefined);
  });

  it("writes the token pairs, and not the record", async () => {
    const memory = memoryStorage();
    const written: string[] = [];
    const storage: Storage = {
      ...withoutWrite(memory),
      put: (key, value, options) => (written.push(key[0]), memory.put(key, value, options)),
      delete: (key, options) => (written.push(key[0]), memory.delete(key, options)),
    };
    const made = await installed({ storage });
    const spent = await made.app.credentials.get(MEMBER_ID);
    const before = await memory.get(["portal", MEMBER_ID]);
    written.length = 0;
    const { accessToken } = await made.app.credentials.refresh(MEMBER_ID, spent);
    assert.deepEqual(written, ["credentials", "credentials"], "the lock, and the new pair");
    assert.deepEqual(await memory.get(["portal", MEMBER_ID]), before);
    assert.deepEqual((await made.record()).tokens?.map((pair) => pair.accessToken), [accessToken.reveal()]);
  });

  it("returns the same user's token, also if another user is preferred", async () => {
    const made = await installed();
    await made.app.credentials.get(MEMBER_ID);
    made.now += 60_000;
    await made.send("ONAPPINSTALL", { "data[VERSION]": "2", ...tokenFields(made.oauth.issueTokens(2), 2) });
    await made.app.check(MEMBER_ID);
    const [best, second] = await usersTried(made.app);
    assert.deepEqual([best?.userId, second?.userId], [2, 1]);
    assert.equal((await made.app.credentials.refresh(MEMBER_ID, second!)).userId, 1);
  });

  it("returns the token that another process has received if the answer is invalid_grant", async () => {
    const storage = memoryStorage();
    const made = await installed({ storage });
    const spent = await made.app.credentials.get(MEMBER_ID);
    made.oauth.expireAccessTokens();
    // One that does not know of the turn: an older deploy.
    made.oauth.answer = (asked) => {
      if (asked.kind !== "token") return undefined;
      made.oauth.answer = undefined;
      return made.oauth.fetch("https://oauth.bitrix24.tech/oauth/token/", {
        method: "POST",
        body: new URLSearchParams({
          grant_type: "refresh_token",
          client_id: "app.5f3a2b1c",
          client_secret: "secret-of-the-app-0123456789",
          refresh_token: asked.token,
        }),
      }).then(async (response) => {
        const { access_token, refresh_token } = await response.json();
        const entry = (await storage.get<{ tokens: object[] }>(["credentials", MEMBER_ID]))!;
        const [tokens] = entry.value.tokens;
        await storage.put(["credentials", MEMBER_ID], {
          ...entry.value,
          tokens: [{ ...tokens, accessToken: access_token, refreshToken: refresh_token, expiresAt: NOW + HOUR }],
        });
        return Response.json({ error: "invalid_grant" }, { status: 400 });
      });
    };
    const refreshed = await made.app.credentials.refresh(MEMBER_ID, spent);
    assert.equal(refreshed.accessToken.reveal(), (await made.record()).tokens?.[0]?.accessToken);
    assert.notEqual(refreshed.accessToken.reveal(), spent.accessToken.reveal());
  });

  it("returns another user's token, or rejects with authorization, if the pair is invalid", async () => {
    const made = await installed();
    const spent = await made.app.credentials.get(MEMBER_ID);
    const second = made.oauth.issueTokens(2);
    made.now += 60_000;
    await made.send("ONAPPINSTALL", { "data[VERSION]": "2", ...tokenFields(second, 2) });
    made.oauth.answer = ({ kind }) =>
      kind === "token" ? Response.json({ error: "invalid_grant" }, { status: 400 }) : undefined;
    assert.equal((await made.app.credentials.refresh(MEMBER_ID, spent)).accessToken.reveal(), second.access);
    const last = await made.app.credentials.get(MEMBER_ID);
    made.oauth.expireAccessTokens();
    await assert.rejects(made.app.credentials.refresh(MEMBER_ID, last), {
      name: "NoCredentialsError",
      blockedOn: "authorization",
    });
    assert.equal((await made.record()).tokens, undefined);
  });

  it("keeps a new pair while the storage is down", async () => {
    const inner = memoryStorage();
    let isDown = false;
    const storage: Storage = {
      ...withoutWrite(inner),
      put: (...args) => isDown ? Promise.reject(new StorageError("down")) : inner.put(...args),
    };
    const made = await installed({ storage });
    const spent = await made.app.credentials.get(MEMBER_ID);
    made.oauth.expireAccessTokens();
    made.oauth.answer = ({ kind }) => void (isDown = kind === "token");
    // It tries for some seconds.
    mock.timers.enable({ apis: ["setTimeout"] });
    try {
      let isOver = false;
      const refreshing = made.app.credentials.refresh(MEMBER_ID, spent).finally(() => isOver = true);
      const rejected = assert.rejects(refreshing, { name: "StorageError" });
      while (!isOver) {
        await new Promise((resolve) => setImmediate(resolve));
        mock.timers.tick(50);
      }
      await rejected;
    } finally {
      mock.timers.reset();
    }
    made.oauth.answer = undefined;
    isDown = false;
    const refreshed = await made.app.credentials.refresh(MEMBER_ID, spent);
    assert.equal(refreshed.accessToken.reveal(), (await made.record()).tokens?.[0]?.accessToken);
    assert.equal(made.oauth.asked.filter(({ kind }) => kind === "token").length, 1);
  });

  const INCOMPLETE: Readonly<Record<string, () => Response>> = {
    "without a refresh token": () =>
      Response.json({ access_token: "a-new-one", member_id: MEMBER_ID, expires_in: 3600 }),
    "with an empty access token": () =>
      Response.json({ access_token: "", refresh_token: "r", member_id: MEMBER_ID, expires_in: 3600 }),
    "without a member_id": () => Response.json({ access_token: "a-new-one", refresh_token: "r", expires_in: 3600 }),
    "of no object": () => Response.json(null),
    "of HTML": () => new Response("<html>maintenance</html>", { headers: { "content-type": "text/html" } }),
    "of half a JSON": () => new Response('{"access_token": "a'),
    "with status 500": () => new Response("{}", { status: 500 }),
    "with an error of its own": () => Response.json({ error: "server_error" }, { status: 500 }),
    "that redirects": () => new Response(null, { status: 302, headers: { location: "https://evil.example/" } }),
  };
  for (const [name, answer] of Object.entries(INCOMPLETE)) {
    it(`keeps the pair after an answer ${name}`, async () => {
      const made = await installed();
      const spent = await made.app.credentials.get(MEMBER_ID);
      const before = (await made.record()).tokens;
      made.oauth.expireAccessTokens();
      made.oauth.answer = ({ kind }) => kind === "token" ? answer() : undefined;
      await assert.rejects(made.app.credentials.refresh(MEMBER_ID, spent), { name: "UnreachableError" });
      assert.deepEqual((await made.record()).tokens, before);
      assert.equal((await made.record()).refreshing, undefined);
      assert.equal(made.oauth.asked.filter(({ kind }) => kind === "token").length, 1);
      made.oauth.answer = undefined;
      assert.equal((await made.app.credentials.refresh(MEMBER_ID, spent)).clientEndpoint, ENDPOINT);
    });
  }

  it("blocks the portal after PAYMENT_REQUIRED and NOT_INSTALLED, and rejects with configuration after invalid_client", async () => {
    const codes = { PAYMENT_REQUIRED: "payment", NOT_INSTALLED: "installation", invalid_client: undefined } as const;
    for (const [code, waits] of Object.entries(codes)) {
      const made = await installed();
      const spent = await made.app.credentials.get(MEMBER_ID);
      made.oauth.expireAccessTokens();
      made.oauth.answer = ({ kind }) => kind === "token" ? Response.json({ error: code }, { status: 400 }) : undefined;
      await assert.rejects(made.app.credentials.refresh(MEMBER_ID, spent), {
        name: "B24Error",
        b24Code: code,
        blockedOn: waits ?? "configuration",
      });
      assert.equal((await made.app.portal(MEMBER_ID))?.blocked?.on, waits);
      assert.equal((await made.record()).tokens?.length, 1);
    }
  });

  it("takes over the lock of a process that crashed", async () => {
    const made = await installed({ oauthTimeoutMs: 1 });
    const spent = await made.app.credentials.get(MEMBER_ID).catch(() => undefined) ??
      await made.app.credentials.get(MEMBER_ID);
    made.oauth.expireAccessTokens();
    const entry = (await made.storage.get<object>(["credentials", MEMBER_ID]))!;
    await made.storage.put(["credentials", MEMBER_ID], {
      ...entry.value,
      refreshing: { id: "dead", until: made.now - 2 * HOUR },
    });
    await made.app.credentials.refresh(MEMBER_ID, spent).catch(() => {});
    assert.equal((await made.record()).refreshing, undefined);
  });

  for (const answer of ["a pair", "an error"] as const) {
    it(`leaves the lock to another process that took it over before ${answer} came`, async () => {
      const made = await installed();
      const spent = await made.app.credentials.get(MEMBER_ID);
      made.oauth.expireAccessTokens();
      const other = { id: "other", until: made.now + HOUR };
      const takeOver = async (): Promise<Response> => {
        const entry = (await made.storage.get<object>(["credentials", MEMBER_ID]))!;
        await made.storage.put(["credentials", MEMBER_ID], { ...entry.value, refreshing: other });
        if (answer === "an error") return new Response("", { status: 500 });
        const { access, refresh } = made.oauth.issueTokens();
        return Response.json({ access_token: access, refresh_token: refresh, member_id: MEMBER_ID, expires_in: 3600 });
      };
      made.oauth.answer = ({ kind }) => kind === "token" ? takeOver() : undefined;
      const refreshed = made.app.credentials.refresh(MEMBER_ID, spent);
      if (answer === "a pair") await refreshed;
      else await assert.rejects(refreshed, { name: "UnreachableError" });
      assert.deepEqual((await made.record()).refreshing, other);
    });
  }

  it("stores nothing if the app was removed meanwhile", async () => {
    const made = await installed();
    const spent = await made.app.credentials.get(MEMBER_ID);
    made.oauth.answer = ({ kind }) => {
      if (kind !== "token") return undefined;
      made.oauth.answer = undefined;
      return made.send("ONAPPUNINSTALL", { "data[CLEAN]": "1" }).then(() => {
        const { access, refresh } = made.oauth.issueTokens();
        return Response.json({ access_token: access, refresh_token: refresh, member_id: MEMBER_ID, expires_in: 3600 });
      });
    };
    await assert.rejects(made.app.credentials.refresh(MEMBER_ID, spent), {
      name: "NoCredentialsError",
      blockedOn: "installation",
    });
    assert.equal((await made.record()).tokens, undefined);
  });

  it("stores no token of an earlier installation in the one that followed meanwhile", async () => {
    const made = await installed();
    const spent = await made.app.credentials.get(MEMBER_ID);
    const next = made.oauth.issueTokens();
    made.oauth.answer = async ({ kind }) => {
      if (kind !== "token") return undefined as never;
      made.oauth.answer = undefined;
      await made.send("ONAPPUNINSTALL", { "data[CLEAN]": "1" });
      made.now += 1000;
      await made.send("ONAPPINSTALL", { "data[VERSION]": "2", ...tokenFields(next) });
      const { access, refresh } = made.oauth.issueTokens();
      return Response.json({ access_token: access, refresh_token: refresh, member_id: MEMBER_ID, expires_in: 3600 });
    };
    const { accessToken } = await made.app.credentials.refresh(MEMBER_ID, spent);
    assert.equal(accessToken.reveal(), next.access);
    assert.deepEqual((await made.record()).tokens?.map(({ accessToken }) => accessToken), [next.access]);
  });

  it("rejects with the signal's reason at once, and goes on with the refresh for the others", async () => {
    const made = await installed();
    const spent = await made.app.credentials.get(MEMBER_ID);
    made.oauth.expireAccessTokens();
    let go: (() => void) | undefined;
    const gate = new Promise<void>((resolve) => go = resolve);
    made.oauth.answer = async () => {
      await gate;
      return undefined as never;
    };
    const stop = new AbortController();
    const impatient = made.app.credentials.refresh(MEMBER_ID, spent, { signal: stop.signal });
    const patient = made.app.credentials.refresh(MEMBER_ID, spent);
    stop.abort(new Error("no more"));
    await assert.rejects(impatient, /no more/);
    go!();
    assert.notEqual((await patient).accessToken.reveal(), spent.accessToken.reveal());
  });
});

describe("credentials.call() of a portal that redirects", () => {
  /** Returns the address of the second attempt, after the first one was redirected. */
  async function follow({ app }: TestApp, location: string): Promise<string> {
    let isFirst = true;
    return await app.credentials.call(MEMBER_ID, ({ clientEndpoint }) => {
      if (!isFirst) return Promise.resolve(clientEndpoint);
      isFirst = false;
      return Promise.reject(new PortalMovedError(location));
    });
  }

  it("follows it within the cloud, and stores the new address", async () => {
    const made = await installed();
    const location = "https://renamed.bitrix24.de/rest/crm.deal.list.json?x=1";
    assert.equal(await follow(made, location), "https://renamed.bitrix24.de/rest/");
    assert.equal((await made.app.credentials.get(MEMBER_ID)).clientEndpoint, "https://renamed.bitrix24.de/rest/");
    assert.equal(made.lines.filter((line) => line.includes("portal moved")).length, 1);
  });

  it("follows it to another host only if an OAuth host says that it is there", async () => {
    const made = await installed();
    const location = "https://crm.customer.com/rest/app.info";
    await assert.rejects(follow(made, location), { name: "AddressError" });
    assert.equal((await made.app.credentials.get(MEMBER_ID)).clientEndpoint, ENDPOINT);
    made.oauth.endpoint = "https://crm.customer.com/rest/";
    assert.equal(await follow(made, location), "https://crm.customer.com/rest/");
  });

  it("asks once for calls that are redirected together", async () => {
    const made = await installed();
    await made.app.credentials.get(MEMBER_ID);
    made.oauth.endpoint = "https://crm.customer.com/rest/";
    made.oauth.asked.length = 0;
    await Promise.all(Array.from({ length: 20 }, () => follow(made, "https://crm.customer.com/rest/profile")));
    assert.equal(made.oauth.asked.length, 1);
  });

  for (
    const location of [
      "http://renamed.bitrix24.de/rest/",
      "https://127.0.0.1/rest/",
      "https://user@renamed.bitrix24.de/rest/",
      "https://",
      "//attacker.example.org/",
      "https://bitrix24.de.evil.example/rest/",
    ]
  ) {
    it(`refuses ${JSON.stringify(location)}`, async () => {
      const made = await installed();
      await assert.rejects(follow(made, location), { name: "AddressError" });
      assert.equal((await made.app.credentials.get(MEMBER_ID)).clientEndpoint, ENDPOINT);
    });
  }
});

describe("tokens", () => {
  it("are in no log line and in no error", async () => {
    const at = fakeOAuthHost();
    const made = await installed({ oauth: at });
    const spent = await made.app.credentials.get(MEMBER_ID);
    at.expireAccessTokens();
    const seen: string[] = [];
    for (const text of ["expired_token", `no ${made.first}`]) {
      at.answer = ({ token }) =>
        Response.json({ error: text, error_description: `${token} or ${made.first}` }, { status: 400 });
      await made.app.credentials.refresh(MEMBER_ID, spent).catch((error) =>
        seen.push(String(error), String(error.stack))
      );
    }
    at.answer = ({ token }) => Promise.reject(new TypeError(`cannot send ${token}`));
    await made.app.credentials.refresh(MEMBER_ID, spent).catch((error) =>
      seen.push(String(error), JSON.stringify(error))
    );
    assert(seen.length >= 5);
    assert.doesNotMatch(`${seen.join()} ${made.lines.join()}`, /access-\d|refresh-\d|secret-of/);
  });
});
