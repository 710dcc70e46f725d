import assert from "node:assert/strict";
import {
  memoryStorage,
  NonRetriableError,
  type Plugin,
  type PluginHost,
  type PluginOutbox,
  RetryAfterError,
  type Storage,
} from "@b24/onappupdate";
import { StorageError, UnknownPortalError } from "@b24/onappupdate/errors";
import { writeRecord } from "../../../src/portal/record_store.ts";
import { MEMBER_ID, OTHER_MEMBER_ID, rig } from "../../support/app.ts";
import { openedRecord } from "../../support/credentials.ts";
import { OPERATOR } from "../../support/operator.ts";
import { describe, it } from "../../support/test.ts";
import { withoutWrite } from "../../support/without_write.ts";

/** Returns everything that is stored, as JSON lines, without totals. */
async function stored(storage: Storage): Promise<string[]> {
  const lines: string[] = [];
  for await (const { key, value } of storage.list([])) {
    if (key[0] !== "total" && key[0] !== "audit") lines.push(JSON.stringify([key, value]));
  }
  return lines;
}

describe("admin.forget()", () => {
  it("deletes everything of a portal that has the app, but a tombstone without customer data", async () => {
    const storage = memoryStorage();
    const { app, send, portal, bitrix24, later } = rig({ storage });
    app.upgrade("3", async ({ step }) => void await step("one", () => "result of the customer ".repeat(50)))
      .on("ONAPPTEST", () => Promise.reject(new Error("no")))
      .on("ONAPPUPDATE", () => Promise.reject(new Error("words of the customer")));
    await send(portal.install(2));
    await send(portal.update(3));
    assert.equal((await app.admin.history(MEMBER_ID)).attempts.length, 1);
    await send(portal.event("ONAPPTEST", { text: "words of the customer" }));
    await app.settled();
    // An entry of a plugin about the portal.
    await storage.put(["plugin", "recorder", "portal", MEMBER_ID, "note"], "words of the customer");
    await storage.put(["plugin", "recorder", "portal", OTHER_MEMBER_ID, "note"], "kept");
    await storage.put(["adopt", MEMBER_ID], "acce55 of an adoption");
    const other = bitrix24.portal({ memberId: OTHER_MEMBER_ID, domain: "other.bitrix24.de" });
    await send(other.install(2));

    await app.admin.forget(MEMBER_ID, { by: "ada", reason: "the customer asks for it" });
    const left = await stored(storage);
    const own = left.filter((line) => line.includes(MEMBER_ID));
    for (const line of own) {
      assert.doesNotMatch(line, /customer|example\.bitrix24|acce55|fe5fe5|user|"runs?"|journal|result/, line);
    }
    assert.deepEqual(own.map((line) => JSON.parse(line)[0][0]).toSorted().filter((key) => key !== "due"), [
      "index",
      "portal",
    ]);
    assert.equal((await app.portal(MEMBER_ID))?.status, "uninstalled");
    assert.equal(left.filter((line) => line.includes(OTHER_MEMBER_ID)).length > 2, true);
    assert.equal((await app.portal(OTHER_MEMBER_ID))?.version, "2.0.0");

    // It stays so.
    later();
    await app.tick();
    assert.equal((await app.portal(MEMBER_ID))?.domain, "");
    await app.close();
  });

  it("is not undone by events of the forgotten installation, nor by openings; an installation is a new portal", async () => {
    const { app, send, portal } = rig({ clock: Date.now });
    const upgraded: string[] = [];
    app.upgrade("3", ({ from }) => void upgraded.push(from));
    await send(portal.install(2));
    await app.admin.forget(MEMBER_ID, OPERATOR);
    assert.equal(await send(portal.update(3)), 200);
    assert.equal(await send(portal.event("ONAPPTEST", {})), 200);
    await app.open(portal.open());
    await app.settled();
    const { status, domain, version } = (await app.portal(MEMBER_ID))!;
    assert.deepEqual([status, domain, version, upgraded], ["uninstalled", "", undefined, []]);

    await send(portal.uninstall());
    await send(portal.install(3));
    await app.settled();
    const again = (await app.portal(MEMBER_ID))!;
    assert.deepEqual([again.status, again.version, again.generation], ["installed", "3.0.0", 2]);
    await app.close();
  });

  it("deletes reports that wait, which quote errors, and still reports the removal", async () => {
    const storage = memoryStorage();
    const { app, send, portal } = rig({ storage });
    const told: string[] = [];
    app.use({
      name: "observer",
      observe: { portalParked: () => void told.push("parked"), portalRemoved: () => void told.push("removed") },
    });
    await send(portal.install(2));
    // A process has ended before it has notified observers.
    await writeRecord(storage, MEMBER_ID, (record) => {
      const failure = { attempts: 1, message: "words of the customer" };
      const change = { kind: "portalParked", from: "2.0.0", to: "3.0.0", failure } as const;
      return { record: { ...record!, reports: [{ id: "r", changedAt: 1, change }] } };
    });
    await app.admin.pause(OPERATOR);
    await app.admin.forget(MEMBER_ID, OPERATOR);
    // After a crash, the operator calls it again.
    await app.admin.forget(MEMBER_ID, OPERATOR);
    assert.deepEqual((await stored(storage)).filter((line) => line.includes("words of the customer")), []);
    await app.admin.resume(OPERATOR);
    await app.settled();
    assert.deepEqual(told, ["removed"]);
    await app.close();
  });

  it("deletes messages and dead letters of the outbox that name the portal, also by a former domain", async () => {
    const storage = memoryStorage();
    const { app, send, portal, bitrix24 } = rig({ storage });
    let put: PluginOutbox["put"];
    app.use({
      name: "crm",
      setup: (host) => void (put = host.outbox.put),
      outbox: {
        deliver: (message) => {
          throw JSON.stringify(message).includes("dead") ? new NonRetriableError("gone") : new Error("down");
        },
      },
    });
    await send(portal.install(2));
    await send(bitrix24.portal({ memberId: MEMBER_ID, domain: "renamed.bitrix24.de" }).update(3));
    await app.settled();
    assert.equal((await app.portal(MEMBER_ID))?.domain, "renamed.bitrix24.de");
    for (const [i, text] of [MEMBER_ID, "example.bitrix24.de", "see https://Renamed.bitrix24.de/rest"].entries()) {
      await put!({ text }, { id: `waits-${i}` });
      await put!({ deep: [{ dead: text }] }, { id: `dead-${i}` });
    }
    await put!({ text: "hello" }, { id: `of-${MEMBER_ID}` });
    for (const text of [OTHER_MEMBER_ID, "someexample.bitrix24.de", "example.bitrix24.de.example.org"]) {
      await put!({ text }, { id: `kept-${text}` });
    }
    await app.tick();
    const ids = async (state: "waiting" | "dead") => (await app.admin.outbox.list({ state })).items.map(({ id }) => id);
    assert.equal((await ids("waiting")).length, 7);
    assert.deepEqual(await ids("dead"), ["dead-0", "dead-1", "dead-2"]);

    await app.admin.forget(MEMBER_ID, OPERATOR);
    assert.deepEqual(await ids("dead"), []);
    assert.deepEqual((await ids("waiting")).toSorted(), [
      ...["kept-example.bitrix24.de.example.org", "kept-someexample.bitrix24.de", `kept-${OTHER_MEMBER_ID}`].toSorted(),
    ]);
    assert.equal((await Array.fromAsync(storage.list(["outbox", "due"]))).length, 3);
    await app.close();
  });

  for (const final of [true, false]) {
    it(`leaves nothing of a message that fails while the portal is forgotten${final ? ", for good" : ""}`, async () => {
      const storage = withoutWrite(memoryStorage());
      const { app, send, portal } = rig({ storage });
      const fails = Promise.withResolvers<void>();
      const began = Promise.withResolvers<void>();
      let put: PluginOutbox["put"];
      app.use({
        name: "crm",
        setup: (host) => void (put = host.outbox.put),
        outbox: {
          deliver: async () => {
            began.resolve();
            await fails.promise;
          },
        },
      });
      await send(portal.install(2));
      await put!({ text: MEMBER_ID });
      await began.promise;
      await app.admin.forget(MEMBER_ID, OPERATOR);
      fails.reject(final ? new NonRetriableError("gone") : new Error("down"));
      await app.close();
      assert.deepEqual((await stored(storage)).filter((line) => line.startsWith('[["outbox"')), []);
    });
  }

  it("lets a plugin change its messages, and erase what else it stores, also in an app that is not set up", async () => {
    const storage = memoryStorage();
    const { app, send, portal, later } = rig({ storage });
    const delivered: unknown[] = [];
    let isDown = true;
    const asked: unknown[] = [];
    const plugin: Plugin = {
      name: "crm",
      outbox: {
        deliver: (message) => {
          if (isDown) throw new RetryAfterError(1000, `portal ${MEMBER_ID} is down`);
          delivered.push(message);
        },
        forget: (message, { without }) => {
          const { text } = message as { readonly text: string };
          return text.startsWith("drop") ? undefined : { text: without(text) };
        },
      },
    };
    let host: PluginHost;
    app.use({ ...plugin, setup: (given) => void (host = given) });
    await send(portal.install(2));
    for (const text of [`drop ${MEMBER_ID}`, `${MEMBER_ID} of example.bitrix24.de, and others`, "others"]) {
      await host!.outbox.put({ text });
    }
    await app.tick();
    await app.close();

    const operators = rig({ storage });
    operators.app.use({
      ...plugin,
      setup: () => void asked.push("set up"),
      forget: ({ memberId }) => void asked.push(memberId),
    });
    await operators.app.admin.forget(MEMBER_ID, OPERATOR);
    assert.deepEqual(asked, ["set up", MEMBER_ID]);
    assert.deepEqual(
      (await stored(storage)).filter((line) => line.includes("outbox") && /example\.bitrix24/.test(line)),
      [],
    );
    await operators.app.close();

    isDown = false;
    const next = rig({ storage });
    next.app.use(plugin);
    next.later();
    later();
    await next.app.tick();
    await next.app.settled();
    assert.deepEqual(delivered.map((message) => (message as { readonly text: string }).text).toSorted(), [
      "[forgotten] of [forgotten], and others",
      "others",
    ]);
    await next.app.close();
  });

  it("deletes events that a process received whose clock is ahead", async () => {
    const storage = memoryStorage();
    const ahead = rig({ storage, retry: { maxAttempts: 1 }, clock: () => Date.now() + 120_000, acknowledge: "stored" });
    ahead.app.on("ONAPPTEST", () => Promise.reject(new Error("no")));
    await ahead.send(ahead.portal.install(2));
    await ahead.send(ahead.portal.event("ONAPPTEST", { text: "words of the customer" }));
    await ahead.app.settled();
    ahead.bitrix24.outage("down");
    await ahead.send(ahead.portal.update(3).replace(/application_token%5D=\w+/, "application_token%5D=another"));
    await ahead.settled();
    const has = async (text: string): Promise<boolean> => (await stored(storage)).some((line) => line.includes(text));
    assert.deepEqual([await has("words+of+the+customer"), await has("unverified-event")], [true, true]);

    const { app } = rig({ storage });
    await app.admin.forget(MEMBER_ID, OPERATOR);
    const left = [await has("words+of+the+customer"), await has("unverified-event"), await has("acce55")];
    assert.deepEqual(left, [false, false, false]);
    await app.close();
    await ahead.app.close();
  });

  it("deletes an event that was received before it and is stored meanwhile", async () => {
    const memory = memoryStorage();
    let ahead = 0;
    let isSent = false;
    const storage: Storage = {
      ...withoutWrite(memory),
      put: async (key, value, options) => {
        if (!isSent && key[0] === "portal" && (value as { forgottenAt?: number }).forgottenAt !== undefined) {
          isSent = true;
          bitrix24.outage("down");
          ahead = -1000;
          await send(portal.update(3).replace(/application_token%5D=\w+/, "application_token%5D=another"));
          ahead = 0;
          assert.equal((await stored(memory)).some((line) => line.includes("unverified-event")), true);
        }
        return await memory.put(key, value, options);
      },
    };
    const { app, send, portal, bitrix24 } = rig({ storage, clock: () => Date.now() + ahead, acknowledge: "stored" });
    await send(portal.install(2));
    await app.settled();
    await app.admin.forget(MEMBER_ID, OPERATOR);
    assert.equal(isSent, true);
    const left = (await stored(memory)).filter((line) => line.includes("unverified-event") || line.includes("acce55"));
    assert.deepEqual(left, []);
    await app.close();
  });

  it("is not undone by an installation from before it, also if the clock of its process is behind", async () => {
    let ahead = 0;
    const { app, send, portal } = rig({ clock: () => Date.now() + ahead });
    await send(portal.install(2));
    const late = portal.update(3, { as: "ONAPPINSTALL" });
    ahead = 10_000;
    await send(portal.update(4));
    ahead = -3 * 60 * 60 * 1000;
    await app.admin.forget(MEMBER_ID, OPERATOR);
    ahead = 20_000;
    assert.equal(await send(late), 200);
    await app.settled();
    const { status, domain } = (await app.portal(MEMBER_ID))!;
    assert.deepEqual([status, domain], ["uninstalled", ""]);
    await app.close();
  });

  it("deletes a removal that waits for Bitrix24, whatever the clock of the process says that received it", async () => {
    let ahead = 0;
    const { app, send, portal, bitrix24 } = rig({ clock: () => Date.now() + ahead });
    let removals = 0;
    app.on("ONAPPUNINSTALL", () => void removals++);
    await send(portal.install(2));
    bitrix24.outage("down");
    await send(portal.forge("ONAPPUNINSTALL", { CLEAN: "1" }));
    await app.settled();
    assert.equal((await app.portal(MEMBER_ID))?.claims?.length, 1);

    ahead = -10_000;
    bitrix24.outage();
    await app.admin.forget(MEMBER_ID, OPERATOR);
    ahead = 60_000;
    await app.settled();
    assert.deepEqual([(await app.portal(MEMBER_ID))?.status, removals], ["uninstalled", 0]);
    await app.close();
  });

  it("lets a new installation be known, also if its update comes first", async () => {
    const { app, send, portal } = rig({ clock: Date.now });
    await send(portal.install(2));
    await app.admin.forget(MEMBER_ID, OPERATOR);
    portal.uninstall();
    const install = portal.install(3);
    await send(portal.update(4));
    assert.equal((await app.portal(MEMBER_ID))?.status, "uninstalled");
    await send(install);
    await app.settled();
    assert.equal((await app.portal(MEMBER_ID))?.status, "installed");
    await app.close();
  });

  it("runs no handlers of the removal", async () => {
    const { app, send, portal } = rig();
    let removals = 0;
    app.on("ONAPPUNINSTALL", () => void removals++);
    await send(portal.install(2));
    await app.admin.forget(MEMBER_ID, OPERATOR);
    await app.settled();
    assert.equal(removals, 0);
    await app.close();
  });

  it("refuses a portal that is not stored, and one that is being processed", async () => {
    const { app, send, portal } = rig();
    const running = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    app.on("ONAPPTEST", async () => {
      running.resolve();
      await ended.promise;
    });
    await assert.rejects(app.admin.forget(MEMBER_ID, OPERATOR), UnknownPortalError);
    await send(portal.install(2));
    const sent = send(portal.event("ONAPPTEST", {}));
    await running.promise;
    await assert.rejects(app.admin.forget(MEMBER_ID, OPERATOR), { code: "busy" });
    ended.resolve();
    await sent;
    await app.admin.forget(MEMBER_ID, OPERATOR);
    assert.equal((await app.portal(MEMBER_ID))?.status, "uninstalled");
    await app.close();
  });
});

describe("admin.forget() and a crash at any write", () => {
  it("leave no pair once it is called again", async () => {
    let isWhole = false;
    for (let crashAt = 0; !isWhole; crashAt++) {
      assert(crashAt < 100);
      const inner = memoryStorage();
      let left = Infinity;
      const failing = <T>(run: () => Promise<T>): Promise<T> =>
        left-- > 0 ? run() : Promise.reject(new StorageError("crash"));
      const storage: Storage = {
        ...withoutWrite(inner),
        put: (...args) => failing(() => inner.put(...args)),
        delete: (...args) => failing(() => inner.delete(...args)),
      };
      const first = rig({ storage });
      await first.send(first.portal.install(2));
      assert.equal((await openedRecord(inner, MEMBER_ID))?.tokens?.length, 1);
      left = crashAt;
      isWhole = await first.app.admin.forget(MEMBER_ID, OPERATOR).then(() => true, () => false);
      left = Infinity;
      await first.app.close();
      const second = rig({ storage: withoutWrite(inner), clock: () => Date.now() + 3_600_000 });
      await second.app.admin.forget(MEMBER_ID, OPERATOR);
      const lines = await Array.fromAsync(inner.list([]), ({ key, value }) => JSON.stringify([key, value]));
      assert.deepEqual(
        lines.filter((line) => /accessToken|acce55|fe5fe5/.test(line)),
        [],
        `a crash after ${crashAt} writes`,
      );
      await second.app.close();
    }
  });
});
