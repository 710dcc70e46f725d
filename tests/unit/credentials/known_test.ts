import assert from "node:assert/strict";
import { B24Error, memoryStorage, type PortalCredentials, type Storage } from "@b24/onappupdate";
import { writeInOrder } from "@b24/onappupdate/storage";
import { type Faults, faultyStorage } from "@b24/onappupdate/testing";
import { createCredentials } from "../../../src/credentials/provider.ts";
import type { CredentialsSettings } from "../../../src/credentials/settings.ts";
import { createKnownCredentials } from "../../../src/credentials/known.ts";
import type { PortalRecord } from "../../../src/portal/record.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { fakeOAuthHost, NOW, type TestApp, testApp, tokenFields } from "../../support/fake_oauth_host.ts";
import { describe, it } from "../../support/test.ts";

/** Two processes on one storage, and a portal that was installed through the first. `reads` counts those of the first. */
async function processes(): Promise<{ readonly one: TestApp; readonly two: TestApp; readonly reads: () => number }> {
  const shared = memoryStorage();
  let reads = 0;
  const counted: Storage = {
    ...shared,
    get: (key, options) => {
      reads++;
      return shared.get(key, options);
    },
  };
  const oauth = fakeOAuthHost();
  const [one, two] = [testApp({ storage: counted, oauth }), testApp({ storage: shared, oauth })];
  await one.send("ONAPPINSTALL", { "data[VERSION]": "2", ...tokenFields(oauth.issueTokens()) });
  return { one, two, reads: () => reads };
}

/** Calls the portal, which accepts only `accepted`, and returns the token that it accepted. */
async function callWith({ app }: TestApp, accepted: (token: string) => boolean): Promise<string> {
  return await app.credentials.call(MEMBER_ID, ({ accessToken }) => {
    if (accepted(accessToken.reveal())) return Promise.resolve(accessToken.reveal());
    const refusal = { code: "expired_token", description: "", status: 401, method: "profile" };
    return Promise.reject(new B24Error(refusal));
  });
}

const any = (): boolean => true;

describe("credentials in memory", () => {
  it("cost no storage reads while the token is known to be good", async () => {
    const { one, reads } = await processes();
    const first = await callWith(one, any);
    const before = reads();
    for (let i = 0; i < 100; i++) assert.equal(await callWith(one, any), first);
    assert.equal(reads() - before, 0);
  });

  it("are not used once the token is within a minute of its end", async () => {
    const { one } = await processes();
    const first = await callWith(one, any);
    one.now += 3_600_000 - 60_001;
    assert.equal(await callWith(one, any), first);
    one.now += 1;
    assert.notEqual(await callWith(one, any), first);
  });

  it("are replaced by the pair of another process when the portal refuses the token, without another refresh", async () => {
    const { one, two } = await processes();
    const first = await callWith(one, any);
    const second = await callWith(two, (token) => token !== first);
    assert.equal(await callWith(one, (token) => token === second), second);
    assert.equal(await callWith(one, any), second);
    assert.equal(one.oauth.asked.filter(({ kind }) => kind === "token").length, 1);
  });

  it("are forgotten when the app is removed", async () => {
    const { one } = await processes();
    await callWith(one, any);
    await one.send("ONAPPUNINSTALL", { "data[CLEAN]": "0" });
    await assert.rejects(callWith(one, any), { name: "NoCredentialsError", blockedOn: "installation" });
  });

  it("are forgotten after a refusal if another process has removed the app", async () => {
    const { one, two } = await processes();
    const first = await callWith(one, any);
    await two.send("ONAPPUNINSTALL", { "data[CLEAN]": "0" });
    for (let i = 0; i < 2; i++) {
      await assert.rejects(callWith(one, (token) => token !== first), {
        name: "NoCredentialsError",
        blockedOn: "installation",
      });
    }
  });

  it("do not block a portal that another process has seen installed again", async () => {
    const { one, two } = await processes();
    const first = await callWith(one, any);
    await two.send("ONAPPUNINSTALL", { "data[CLEAN]": "0" });
    two.now += 60_000;
    const second = two.oauth.issueTokens();
    await two.send("ONAPPINSTALL", { "data[VERSION]": "2", ...tokenFields(second), ts: String(NOW / 1000 + 60) });
    const call = one.app.credentials.call(MEMBER_ID, ({ accessToken }) => {
      assert.equal(accessToken.reveal(), first);
      const refusal = { code: "NOT_INSTALLED", description: "", status: 401, method: "profile" };
      return Promise.reject(new B24Error(refusal));
    });
    await assert.rejects(call, { b24Code: "NOT_INSTALLED" });
    assert.equal((await one.app.portal(MEMBER_ID))?.blocked, undefined);
    assert.equal(await callWith(one, any), second.access);
  });

  it("are read again after a minute, also if the portal still accepts the token", async () => {
    const { one, two, reads } = await processes();
    await callWith(one, any);
    await two.send("ONAPPUNINSTALL", { "data[CLEAN]": "0" });
    one.now += 59_999;
    const before = reads();
    await callWith(one, any);
    assert.equal(reads(), before);
    one.now += 1;
    await assert.rejects(callWith(one, any), { blockedOn: "installation" });
  });

  it("are read again if the clock was set back", async () => {
    const { one, two } = await processes();
    await callWith(one, any);
    await two.send("ONAPPUNINSTALL", { "data[CLEAN]": "0" });
    one.now -= 1;
    await assert.rejects(callWith(one, any), { blockedOn: "installation" });
  });

  it("are forgotten once this process reads a record that another has changed", async () => {
    const { one, two } = await processes();
    await callWith(one, any);
    await two.send("ONAPPUNINSTALL", { "data[CLEAN]": "0" });
    assert.equal((await one.app.portal(MEMBER_ID))?.status, "uninstalled");
    await assert.rejects(callWith(one, any), { blockedOn: "installation" });
  });
});

describe("credentials.get() with credentials in memory", () => {
  it("tries a better pair that could not be verified again after a minute, not at each call", async () => {
    const { one } = await processes();
    const first = await callWith(one, any);
    const system = one.oauth.issueTokens(9);
    one.oauth.answer = ({ token }) => token === first ? undefined : Promise.reject(new TypeError("down"));
    await one.send("ONAPPUSERREADY", {
      "data[access_token]": system.access,
      "data[refresh_token]": system.refresh,
      "data[expires_in]": "3600",
      "data[user_id]": "9",
      ...tokenFields({ access: first }),
    });
    const questions = one.oauth.asked.length;
    for (let i = 0; i < 3; i++) assert.equal(await callWith(one, any), first);
    one.oauth.answer = undefined;
    const hosts = new Set(one.oauth.asked.slice(questions).map(({ host }) => host));
    assert.equal(one.oauth.asked.length - questions, hosts.size);
    one.now += 59_999;
    assert.equal(await callWith(one, any), first);
    one.now += 1;
    assert.equal(await callWith(one, any), system.access);
  });

  it("remembers the token as issued, so that errors that quote it are redacted", async () => {
    const storage = memoryStorage();
    const known = createKnownCredentials(() => NOW);
    const settings = { storage: known.watch(storage), clock: () => NOW, extraPortalHosts: [] };
    const { provider, issued } = createCredentials(settings as unknown as CredentialsSettings, known);
    for (let i = 0; i <= 1000; i++) {
      const accessToken = `access of portal ${i}`;
      const tokens = [{ owner: "user", accessToken, expiresAt: NOW + 3_600_000, scope: [], ts: 1, isVerified: true }];
      const record = {
        format: 1,
        memberId: `p${i}`,
        status: "installed",
        clientEndpoint: "https://a.example/rest/",
        tokens,
      };
      await storage.put(["portal", `p${i}`], record);
      await provider.get(`p${i}`);
    }
    assert.equal(issued("p0").length, 0);
    await provider.get("p0");
    assert.deepEqual(issued("p0").map((token) => token.reveal()), ["access of portal 0"]);
  });
});

describe("createKnownCredentials()", () => {
  const credentials = { expiresAt: NOW + 3_600_000 } as PortalCredentials;
  const record = (memberId: string, more: object = {}): PortalRecord =>
    ({ memberId, status: "installed", tokens: [], ...more }) as unknown as PortalRecord;

  /** A watched storage, with the credentials of portal `a` in memory. `write`: whether the storage has one. */
  function watched(options: { readonly write: boolean } = { write: true }): {
    readonly storage: Storage;
    readonly inner: Storage;
    readonly isKnown: () => boolean;
    readonly faults: Faults;
  } {
    const known = createKnownCredentials(() => NOW);
    const faults: Faults = {};
    const { write, ...four } = faultyStorage(memoryStorage(), faults, 1);
    const inner: Storage = options.write ? { ...four, write: write! } : four;
    known.keep(record("a"), credentials);
    return { storage: known.watch(inner), inner, isKnown: () => known.get("a") === credentials, faults };
  }

  const PORTAL = ["portal", "a"] as const;
  const CREDENTIALS = ["credentials", "a"] as const;
  const PAIR = { accessToken: "other" };

  it("keeps credentials through writes that do not concern them", async () => {
    const { storage, isKnown } = watched();
    await storage.put(PORTAL, record("a", { target: "3.0.0" }));
    await storage.put(["run", "a"], {});
    await storage.get(["portal", "b"]);
    await storage.get(PORTAL);
    await storage.write!([{ put: ["run", "a"], value: {} }, { put: PORTAL, value: record("a", { version: "2" }) }]);
    await storage.put(CREDENTIALS, { tokens: [], refreshing: { id: "1", until: 1 } });
    await storage.get(CREDENTIALS);
    await storage.put(["credentials", "b"], { tokens: [PAIR] });
    assert(isKnown());
  });

  const CHANGES: Readonly<Record<string, (made: ReturnType<typeof watched>) => Promise<unknown>>> = {
    "a put of a removal": ({ storage }) => storage.put(PORTAL, record("a", { status: "uninstalled" })),
    "an ordered write of other tokens": ({ storage }) =>
      storage.write!([{ put: CREDENTIALS, value: { tokens: [PAIR] } }, { put: PORTAL, value: record("a") }]),
    "a put of a record with a new pair": ({ storage }) => storage.put(PORTAL, record("a", { tokens: [PAIR] })),
    "a get of other tokens": async ({ storage, inner }) => {
      await inner.put(CREDENTIALS, { tokens: [PAIR] });
      await storage.get(CREDENTIALS);
    },
    "a get of no tokens": ({ storage }) => storage.get(CREDENTIALS),
    "a delete of the tokens": ({ storage }) => storage.write!([{ delete: CREDENTIALS }]),
    "a get of another address": async ({ storage, inner }) => {
      await inner.put(PORTAL, record("a", { clientEndpoint: "https://b.example/rest/" }));
      await storage.get(PORTAL);
    },
    "a get of nothing": ({ storage }) => storage.get(PORTAL),
    "a delete": ({ storage }) => storage.delete(PORTAL),
    "a delete in an ordered write": ({ storage }) => storage.write!([{ delete: PORTAL }]),
    "a put that another process was faster than": ({ storage }) =>
      storage.put(PORTAL, record("a"), { ifVersion: "other" }),
    "an ordered write that another process was faster than": ({ storage }) =>
      storage.write!([{ put: PORTAL, value: record("a"), ifVersion: "other" }]),
    "a put whose reply is lost": async ({ storage, faults }) => {
      faults.loseReplies = 1;
      await assert.rejects(storage.put(PORTAL, record("a")));
    },
    "an ordered write whose reply is lost": async ({ storage, faults }) => {
      faults.loseReplies = 1;
      await assert.rejects(storage.write!([{ put: PORTAL, value: record("a") }]));
    },
  };
  for (const [what, change] of Object.entries(CHANGES)) {
    it(`forgets credentials after ${what}`, async () => {
      const made = watched();
      await change(made);
      assert(!made.isKnown());
    });
  }

  it("watches a storage without ordered writes", async () => {
    const { storage, isKnown } = watched({ write: false });
    assert.equal("write" in storage, false);
    await writeInOrder(storage, [{ put: PORTAL, value: record("a", { status: "uninstalled" }) }]);
    assert(!isKnown());
  });

  it("keeps those of at most 10,000 portals", () => {
    const known = createKnownCredentials(() => NOW);
    for (let i = 0; i <= 10_000; i++) known.keep(record(`portal ${i}`), credentials);
    assert.deepEqual([0, 1, 10_000].map((i) => known.get(`portal ${i}`) !== undefined), [false, true, true]);
  });
});
