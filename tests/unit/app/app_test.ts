import assert from "node:assert/strict";
import {
  coerced,
  createApp,
  deployed,
  mapped,
  memoryStorage,
  type Plugin,
  Secret,
  type Storage,
  type UpgradeContext,
  type UpgradeRange,
} from "@b24/onappupdate";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import {
  appliedUpgrades,
  CLIENT_ID,
  MEMBER_ID,
  post,
  quietLogger,
  recordingLogger,
  rig,
  trustAll,
} from "../../support/app.ts";
import { describe, test } from "../../support/test.ts";
import { until } from "../../support/until.ts";
import { changed } from "../../support/scene.ts";
import { waitingDeliveries } from "../../support/waiting.ts";
import { withoutWrite } from "../../support/without_write.ts";
import { OPERATOR } from "../../support/operator.ts";

describe("an app", () => {
  test("handles the installation, an update and the removal of a portal", async () => {
    // Within the hour of the last event's access token.
    const { app, portal, send, names } = rig({ clock: () => 1785303660_000 });
    const ran: string[] = [];
    app.upgrade("3", (ctx) => void ran.push(`${ctx.memberId} ${ctx.from} -> ${ctx.to} #${ctx.attempt}`))
      .on(["ONAPPINSTALL", "ONAPPUNINSTALL"], ({ event }) => void ran.push(event.name));
    assert.equal(await send(portal.install(2)), 200);
    assert.equal(await send(portal.update(3)), 200);
    const updated = (await app.portal(MEMBER_ID))!;
    assert.equal(updated.version, "3.0.0");
    assert.deepEqual(updated.applied, []);
    assert.deepEqual((await appliedUpgrades(app)).map(({ id, from, to }) => ({ id, from, to })), [
      { id: "3", from: "2.0.0", to: "3.0.0" },
    ]);
    assert.equal(updated.clientEndpoint, "https://example.bitrix24.de/rest/");
    assert((await app.credentials.get(MEMBER_ID)).accessToken instanceof Secret);
    assert.equal(await send(portal.uninstall()), 200);
    const removed = (await app.portal(MEMBER_ID))!;
    assert.equal(removed.status, "uninstalled");
    await assert.rejects(app.credentials.get(MEMBER_ID), { name: "NoCredentialsError", blockedOn: "installation" });
    assert.deepEqual(ran, ["ONAPPINSTALL", `${MEMBER_ID} 2.0.0 -> 3.0.0 #1`, "ONAPPUNINSTALL"]);
    assert.deepEqual(names(), [
      ...["eventReceived", "eventHandled"],
      ...["eventReceived", "runPlanned", "upgradeApplied", "portalUpgraded", "eventHandled"],
      ...["eventReceived", "eventHandled"],
    ]);
    await app.close();
  });

  test("runs nothing for a duplicate event, before and after the first copy is handled", async () => {
    const { app, portal, send, names } = rig();
    let runs = 0;
    app.upgrade("3", () => void runs++).on("ONAPPUPDATE", () => void runs++);
    await send(portal.install(2));
    const update = portal.update(3);
    assert.deepEqual(await Promise.all([send(update), send(update), send(update)]), [200, 200, 200]);
    assert.equal(await send(update), 200);
    assert.equal(await send(`${update}&event_handler_id=77`), 200);
    assert.equal(runs, 2);
    assert.equal(names().filter((name) => name === "duplicateReceived").length, 4);
  });

  test("runs each upgrade once if further updates arrive while it runs", async () => {
    const { app, portal, send } = rig();
    const ran: string[] = [];
    for (const version of ["3", "4"]) {
      app.upgrade(version, async ({ from, to }) => {
        ran.push(`${version}: ${from} -> ${to}`);
        await new Promise((resolve) => setTimeout(resolve, 1));
      });
    }
    await send(portal.install(2));
    await Promise.all([send(portal.update(3)), send(portal.update(4))]);
    assert.deepEqual(ran.map((text) => text.slice(0, 1)), ["3", "4"]);
    assert.equal((await app.portal(MEMBER_ID))?.version, "4.0.0");
  });

  test("writes nothing for a duplicate of a handled event", async () => {
    const storage = memoryStorage();
    let writes = 0;
    const counting: typeof storage = {
      ...withoutWrite(storage),
      put: (...args) => {
        writes++;
        return storage.put(...args);
      },
    };
    const { portal, send, names } = rig({ storage: counting });
    const body = portal.install(2);
    await send(body);
    const before = writes;
    assert.equal(await send(body), 200);
    assert.equal(writes, before);
    assert.equal(names().at(-1), "duplicateReceived");
  });

  test("does not run a copy that another process finishes between the read and the write of this one", async () => {
    const storage = memoryStorage();
    const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
    const body = bitrix24.portal({ memberId: MEMBER_ID }).install(2);
    let runs = 0;
    const make = (over: typeof storage) =>
      createApp({ storage: over, acknowledge: "handled", logger: quietLogger }).use(trustAll)
        .on("ONAPPINSTALL", () => void runs++);
    const other = make(storage);
    let overtaken = false;
    const slow: typeof storage = {
      ...storage,
      write: async (operations, options) => {
        if (!overtaken) {
          overtaken = true;
          assert.equal((await other.fetch(post(body))).status, 200);
        }
        return await storage.write!(operations, options);
      },
    };
    assert.equal((await make(slow).fetch(post(body))).status, 200);
    assert.equal(runs, 1);
    assert.deepEqual(await other.tick(), { handled: 0, failed: 0 });
  });

  test("redacts tokens that a handler's error quotes from logs, observers and storage", async () => {
    const storage = memoryStorage();
    const { app, portal, send, reports, lines } = rig({ storage });
    app.on("ONAPPINSTALL", ({ event }) => {
      throw new Error("refused", { cause: new Error(`auth=${event.auth.accessToken!.reveal()}`) });
    }).on("ONAPPTEST", ({ event }) => {
      throw new Error(`auth=${event.auth.refreshToken!.reveal()}`);
    });
    await send(portal.install(2));
    await send(portal.event("ONAPPTEST", {}));
    const failed = reports.filter((report) => report.name === "eventFailed");
    assert.equal(failed.length, 2);
    assert.equal((failed[0]!.error.cause as Error).message, "auth=[redacted]");
    assert.equal(failed[1]!.error.message, "auth=[redacted]");
    for (const { error } of failed) assert.doesNotMatch(`${error.stack} ${error.cause}`, /acce55|fe5fe5/);
    assert.doesNotMatch(lines.join(), /acce55|fe5fe5/);
    const waiting = await waitingDeliveries(storage, MEMBER_ID);
    assert.deepEqual(waiting.map(({ delivery }) => delivery.error).sort(), ["auth=[redacted]", "refused"]);
  });

  test("keeps a portal on its version while an upgrade fails, and retries", async () => {
    const { app, portal, send, reports, lines, later } = rig();
    let broken = true;
    const attempts: number[] = [];
    let token: string | null = null;
    app.upgrade("2.5", () => {}, { id: "before" }).upgrade("3", ({ attempt }) => {
      attempts.push(attempt);
      if (broken) throw new Error(`no answer to ${token}`);
    });
    await send(portal.install(2));
    const update = portal.update(3);
    token = new URLSearchParams(update).get("auth[access_token]");
    assert.equal(await send(update), 200);
    const failed = (await app.portal(MEMBER_ID))!;
    assert.equal(failed.version, "2.0.0");
    assert.equal(failed.target, "3.0.0");
    assert.deepEqual(failed.applied.map(({ id }) => id), ["before"]);
    assert.equal(failed.failure?.upgradeId, "3");
    assert.equal(failed.failure?.message, "no answer to [redacted]");
    assert.deepEqual(await app.tick(), { handled: 0, failed: 0 }, "not before its time");
    later();
    assert.deepEqual(await app.tick(), { handled: 0, failed: 1 });
    broken = false;
    later();
    assert.deepEqual(await app.tick(), { handled: 1, failed: 0 });
    assert.deepEqual(await app.tick(), { handled: 0, failed: 0 });
    const upgraded = (await app.portal(MEMBER_ID))!;
    assert.equal(upgraded.version, "3.0.0");
    assert.equal(upgraded.failure, undefined);
    assert.deepEqual((await appliedUpgrades(app)).map(({ id }) => id), ["before", "3"]);
    assert.deepEqual(attempts, [1, 2, 3]);
    const failures = reports.filter((report) => report.name === "upgradeRetryScheduled");
    assert.deepEqual(failures.map(({ attempt, error }) => [attempt, error.message]), [
      [1, "no answer to [redacted]"],
      [2, "no answer to [redacted]"],
    ]);
    for (const line of lines) assert.doesNotMatch(line, /acce55|fe5fe5/);
  });

  test("runs a failed upgrade at the next event of its portal", async () => {
    const { app, portal, send } = rig();
    let broken = true;
    app.upgrade("3", () => {
      if (broken) throw new Error("not yet");
    });
    await send(portal.install(2));
    await send(portal.update(3));
    broken = false;
    await send(portal.update(4));
    const record = (await app.portal(MEMBER_ID))!;
    assert.equal(record.version, "4.0.0");
    assert.deepEqual((await appliedUpgrades(app)).map(({ id, from, to }) => [id, from, to]), [["3", "2.0.0", "4.0.0"]]);
  });

  test("answers before the handlers with acknowledge stored, and after them with handled", async () => {
    for (const acknowledge of ["stored", "handled"] as const) {
      const { app, portal, send } = rig({ acknowledge });
      let done = false;
      const answered = Promise.withResolvers<void>();
      app.on("ONAPPINSTALL", async () => {
        if (acknowledge === "stored") await answered.promise;
        else await new Promise((resolve) => setTimeout(resolve, 1));
        done = true;
      });
      assert.equal(await send(portal.install(1)), 200);
      assert.equal(done, acknowledge === "handled");
      answered.resolve();
      await app.close();
      assert.equal(done, true);
    }
  });

  test("works on an event although the host refuses what continues after the answer", async () => {
    const { app, portal } = rig({ acknowledge: "stored", checks: {} });
    const platform = {
      waitUntil: (): never => {
        throw new TypeError("the event is over");
      },
    };
    assert.equal((await app.fetch(post(portal.install(2)), platform)).status, 200);
    await app.settled();
    for (const version of [3, 4]) assert.equal((await app.fetch(post(portal.update(version)), platform)).status, 200);
    await until("it is upgraded", async () => (await app.portal(MEMBER_ID))?.version === "4.0.0");
    await app.close();
  });

  test("passes work that continues after the answer to waitUntil()", async () => {
    const storage = memoryStorage();
    const { app, portal, names } = rig({ acknowledge: "stored", storage });
    const told: Promise<unknown>[] = [];
    const platform = { waitUntil: (work: Promise<unknown>): void => void told.push(work) };
    await app.fetch(post(portal.install(1)), "env", undefined, null, platform);
    // The installation is verified after the answer.
    assert.deepEqual([told.length, names()], [1, []]);
    await Promise.all(told);
    assert.deepEqual(names(), ["eventReceived", "eventHandled"]);
    // The host may end the program now: nobody is to wait for its lease, or to look for more.
    assert.equal((await storage.get<{ lease?: object }>(["portal", MEMBER_ID]))?.value.lease, undefined);
    for await (const { key } of storage.list(["due"])) assert.fail(`${key.join()} is left in the schedule`);
  });

  test("accepts hundreds of concurrent events of one portal", async () => {
    const { app, portal, send, reports } = rig();
    const seen = new Set<string>();
    app.on("ONCRMDEALADD", ({ event }) => void seen.add(String(event.data.extra.ID)));
    await send(portal.install(1));
    const events = Array.from({ length: 300 }, (_, i) => portal.event("ONCRMDEALADD", { ID: String(i) }));
    const statuses = await Promise.all(events.map(send));
    assert.deepEqual(new Set(statuses), new Set([200]));
    assert.equal(seen.size, 300);
    assert.equal(reports.filter(({ name }) => name === "eventHandled").length, 301);
  });

  test("distinguishes events of one second by their data, including data that looks like a token", async () => {
    const { app, portal, send } = rig();
    const seen: unknown[] = [];
    app.on("ONCRMDEALADD", ({ event }) => void seen.push(event.data.extra.ID));
    await send(portal.install(1));
    const first = portal.event("ONCRMDEALADD", { ID: "1" });
    assert.equal(await send(first), 200);
    assert.equal(await send(first.replace("%5BID%5D=1", "%5BID%5D=2")), 200);
    assert.deepEqual(seen, ["1", "2"]);
    // The work of the first is done: an equal event is about something that has happened since.
    assert.equal(await send(first), 200);
    assert.deepEqual(seen, ["1", "2", "1"]);
    const second = portal.event("ONCRMDEALADD", { TOKEN_ID: "1" });
    await send(second);
    await send(second.replace("TOKEN_ID%5D=1", "TOKEN_ID%5D=2"));
    assert.equal(seen.length, 5);
  });

  test("answers 200 if a handler fails, keeps the event, and does not delay other portals", async () => {
    const { app, bitrix24, portal, send, names, later } = rig();
    const other = bitrix24.portal({ memberId: "b".repeat(32) });
    app.on("ONAPPINSTALL", ({ event }) => {
      if (event.auth.memberId === MEMBER_ID) throw new Error("broken");
    });
    assert.equal(await send(portal.install(1)), 200);
    assert.equal(await send(other.install(1)), 200);
    assert.deepEqual(names(), ["eventReceived", "eventFailed", "eventReceived", "eventHandled"]);
    later();
    assert.deepEqual(await app.tick(), { handled: 0, failed: 1 });
  });

  test("tick() does not let failing events starve others", async () => {
    const { app, bitrix24, send, later } = rig();
    let broken = true;
    app.on("ONAPPINSTALL", ({ event }) => {
      if (broken || event.auth.memberId.startsWith("a")) throw new Error("broken");
    });
    for (const digit of "abc") await send(bitrix24.portal({ memberId: digit.repeat(32) }).install(1));
    broken = false;
    later();
    let handled = 0;
    for (let tick = 0; tick < 3; tick++) handled += (await app.tick({ limit: 1 })).handled;
    assert.equal(handled, 2);
    later();
    assert.deepEqual(await app.tick(), { handled: 0, failed: 1 });
  });

  test("finishes the work of a crashed process in another one", async () => {
    const storage = memoryStorage();
    const first = rig({ storage });
    await first.send(first.portal.install(2));
    // The process ends between the large delivery, with its entry in the schedule, and the portal's record.
    const crashing: typeof storage = {
      ...withoutWrite(storage),
      put: (key, ...args) =>
        key[0] === "portal" ? Promise.reject(new Error("the process ended")) : storage.put(key, ...args),
    };
    const crashed = createApp({ storage: crashing, logger: quietLogger }).use(trustAll);
    const update = changed(first.portal.update(3), { "data[EXTRA]": "x".repeat(5000) });
    assert.equal((await crashed.fetch(post(update))).status, 503);
    const ran: string[] = [];
    first.later();
    const second = createApp({ storage, clock: first.clock, logger: quietLogger }).use(trustAll)
      .upgrade("3", ({ from, to }) => void ran.push(`${from} -> ${to}`));
    assert.deepEqual(await second.tick(), { handled: 1, failed: 0 });
    assert.deepEqual(ran, ["2.0.0 -> 3.0.0"]);
    assert.equal((await second.portal(MEMBER_ID))?.version, "3.0.0");
  });

  test("finds a large delivery that a crash kept from the record, also if the portal is due earlier", async () => {
    const storage = memoryStorage();
    const first = rig({ storage });
    first.app.upgrade("4", ({ sleep }) => sleep("a second", 1000));
    await first.send(first.portal.install(3));
    await first.send(first.portal.update(4));
    const crashing: typeof storage = {
      ...withoutWrite(storage),
      put: (key, ...args) =>
        key[0] === "portal" ? Promise.reject(new Error("the process ended")) : storage.put(key, ...args),
    };
    const crashed = createApp({ storage: crashing, clock: first.clock, logger: quietLogger }).use(trustAll)
      .on("ONCRMDEALADD", () => {});
    const event = first.portal.event("ONCRMDEALADD", { MESSAGE: "x".repeat(5000) });
    assert.equal((await crashed.fetch(post(event))).status, 503);
    let seen = 0;
    const second = createApp({ storage, clock: first.clock, logger: quietLogger }).use(trustAll)
      .upgrade("4", ({ sleep }) => sleep("a second", 1000)).on("ONCRMDEALADD", () => void seen++);
    // Finds both entries.
    first.later();
    await second.tick();
    assert.equal(seen, 1);
    assert.deepEqual(await Array.fromAsync(storage.list(["due"])), []);
  });

  test("makes up for a lost update at the next one", async () => {
    const { app, portal, send } = rig();
    const ran: string[] = [];
    for (const version of ["2", "3", "4"]) app.upgrade(version, () => void ran.push(version));
    await send(portal.install(1));
    portal.update(2);
    portal.update(3);
    await send(portal.update(4));
    assert.deepEqual(ran, ["2", "3", "4"]);
  });

  test("reaches the same record if updates overtake each other", async () => {
    const { app, portal, send, names } = rig();
    const ran: string[] = [];
    for (const version of ["2", "3"]) app.upgrade(version, () => void ran.push(version));
    await send(portal.install(1));
    const early = portal.update(2);
    await send(portal.update(3));
    assert.equal(await send(early), 200);
    assert.deepEqual(ran, ["2", "3"]);
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
    assert(names().includes("downgradeIgnored"));
  });

  test("uses the stored version of a known portal, not PREVIOUS_VERSION", async () => {
    const { app, portal, send } = rig();
    const froms: string[] = [];
    app.upgrade("9", ({ from }) => void froms.push(from));
    await send(portal.install(3));
    await send(portal.update(9).replace("PREVIOUS_VERSION%5D=3", "PREVIOUS_VERSION%5D=7"));
    assert.deepEqual(froms, ["3.0.0"]);
  });

  test("uses PREVIOUS_VERSION for a portal whose first event is an update", async () => {
    const { app, portal, send } = rig();
    const ran: string[] = [];
    for (const version of ["3", "5"]) app.upgrade(version, ({ from }) => void ran.push(`${version} from ${from}`));
    portal.install(4);
    await send(portal.update(5));
    assert.deepEqual(ran, ["5 from 4.0.0"]);
  });

  test("runs no upgrades for a new installation; a second ONAPPINSTALL with a higher VERSION is an update", async () => {
    const { app, portal, send } = rig();
    const ran: string[] = [];
    for (const version of ["2", "3"]) app.upgrade(version, () => void ran.push(version));
    await send(portal.install(2));
    assert.deepEqual(ran, []);
    portal.update(3);
    await send(portal.event("ONAPPINSTALL", { VERSION: "3", ACTIVE: "Y", INSTALLED: "Y", LANGUAGE_ID: "ru" }));
    assert.deepEqual(ran, ["3"]);
  });

  test("treats an installation after a removal as new; late events of the old one change nothing", async () => {
    const { app, portal, send } = rig();
    const ran: number[] = [];
    app.upgrade("3", ({ portal }) => void ran.push(portal.generation)).on("ONAPPUNINSTALL", () => void ran.push(0));
    await send(portal.install(2));
    const lateUpdate = portal.event("ONAPPUPDATE", { VERSION: "3", PREVIOUS_VERSION: "2" }, { tokenless: true });
    const lateRemoval = portal.event("ONAPPUNINSTALL", { CLEAN: "1" }, { tokenless: true });
    await send(portal.uninstall());
    assert.equal(await send(lateUpdate), 200);
    assert.equal((await app.portal(MEMBER_ID))?.status, "uninstalled");
    assert.deepEqual((await app.plan({ memberId: MEMBER_ID })).direction, "none");
    await send(portal.install(2));
    assert.equal((await app.portal(MEMBER_ID))?.generation, 2);
    assert.equal(await send(lateRemoval), 403, "the application_token of an earlier installation");
    assert.equal((await app.portal(MEMBER_ID))?.status, "installed");
    await send(portal.update(3));
    assert.deepEqual(ran, [0, 2], "the handler of the removal ran for the first one only");
  });

  test("deployed(): every verified event raises the target to the version of the code", async () => {
    const storage = memoryStorage();
    const old = rig({ storage, versions: deployed("2.2.0") });
    await old.send(old.portal.install(1));
    assert.equal((await old.app.portal(MEMBER_ID))?.version, "2.2.0");
    const ran: string[] = [];
    const app = createApp({
      storage,
      versions: deployed("2.3.0"),
      logger: quietLogger,
      acknowledge: "handled",
    })
      .use(trustAll).upgrade("2.3.0", ({ from, to }) => void ran.push(`${from} -> ${to}`));
    await app.fetch(post(old.portal.event("ONAPPTEST", {})));
    assert.deepEqual(ran, ["2.2.0 -> 2.3.0"]);
  });

  test("mapped(): an event whose VERSION is not in the table waits for code that has it", async () => {
    const storage = memoryStorage();
    const secret = { clientId: CLIENT_ID, clientSecret: "client-secret-0123456789abcdef" };
    const first = rig({ storage, versions: mapped({ 2: "1.4.0" }), ...secret });
    await first.send(first.portal.install(2));
    assert.equal(await first.send(first.portal.update(3)), 200);
    assert.equal((await first.app.portal(MEMBER_ID))?.target, "1.4.0");
    const ran: string[] = [];
    first.later();
    const next = createApp({
      storage,
      clock: first.clock,
      versions: mapped({ 2: "1.4.0", 3: "2.0.0" }),
      logger: quietLogger,
      fetch: first.bitrix24.fetch,
      checks: false,
      ...secret,
    }).use(trustAll).upgrade("2.0.0", ({ from, to }) => void ran.push(`${from} -> ${to}`));
    assert.deepEqual(await next.tick(), { handled: 1, failed: 0 });
    assert.deepEqual(ran, ["1.4.0 -> 2.0.0"]);
  });

  test("timeoutMs ends an attempt and aborts its signal", async () => {
    const { app, portal, send } = rig();
    let reason: unknown;
    app.upgrade("2", ({ signal }) =>
      new Promise<void>((resolve) =>
        signal.addEventListener("abort", () => {
          reason = signal.reason;
          resolve();
        })
      ), { timeoutMs: 5 });
    await send(portal.install(1));
    await send(portal.update(2));
    assert.equal((reason as Error).name, "TimeoutError");
    assert.match((await app.portal(MEMBER_ID))!.failure!.message, /longer than 5 ms/);
  });

  test("close() waits for work in progress, then aborts it and leaves it in the inbox", async () => {
    const storage = { ...memoryStorage(), close: async () => {} };
    const { app, portal, send, names } = rig({ storage, acknowledge: "stored", limits: { closeMs: 5 } });
    let aborted = false;
    const begun = new Promise<void>((begin) => {
      app.upgrade("2", ({ signal }) => {
        begin();
        return new Promise<void>((_, reject) =>
          signal.addEventListener("abort", () => {
            aborted = true;
            reject(signal.reason);
          })
        );
      });
    });
    await send(portal.install(1));
    await send(portal.update(2));
    await begun;
    await app.close();
    assert.equal(aborted, true);
    assert(!names().includes("eventFailed"), "an attempt that the app itself interrupted is not a failure");
    assert.equal(await send(portal.update(3)), 503);
    const next = createApp({ storage, logger: quietLogger }).use(trustAll);
    assert.equal((await next.tick()).failed, 0);
    assert.equal((await next.portal(MEMBER_ID))?.version, "2.0.0");
    assert.deepEqual(await next.tick(), { handled: 0, failed: 0 });
  });

  test("close() waits for the plugin that is being set up, and no other one is set up afterwards", async () => {
    const log: string[] = [];
    const gate = Promise.withResolvers<void>();
    const plugin = (name: string): Plugin => ({
      name,
      setup: async () => {
        log.push(`setup ${name}`);
        await gate.promise;
        log.push(`set up ${name}`);
      },
      close: () => void log.push(`close ${name}`),
    });
    const storage: Storage = { ...memoryStorage(), close: () => Promise.resolve(void log.push("closed")) };
    const app = createApp({ storage, logger: quietLogger }).use(trustAll).use(plugin("a")).use(plugin("b"));
    const started = app.start();
    await until("the setup begins", () => log.length > 0);
    const closed = app.close();
    gate.resolve();
    await Promise.all([started, closed]);
    assert.deepEqual(log, ["setup a", "set up a", "close b", "close a", "closed"]);

    log.length = 0;
    const unused = createApp({ storage, logger: quietLogger, tickEveryMs: false }).use(trustAll).use(plugin("a"));
    await unused.close();
    await unused.start();
    assert.deepEqual(log, ["close a", "closed"]);
  });

  test("close() waits for a rollback in progress, and for its entry in the audit log", async () => {
    const log: string[] = [];
    const memory = memoryStorage();
    const storage: Storage = { ...memory, close: () => Promise.resolve(void log.push("closed")) };
    const { app, portal, send } = rig({ storage });
    const gate = Promise.withResolvers<void>();
    app.upgrade("3", async ({ step }) => {
      for (const name of ["first", "second"]) {
        await step(name, () => name, {
          undo: async () => {
            log.push(`undo ${name}`);
            await gate.promise;
          },
        });
      }
    });
    await send(portal.install(2));
    await send(portal.update(3));
    const rolledBack = app.admin.rollback(MEMBER_ID, OPERATOR);
    await until("the rollback has begun", () => log.length > 0);
    const closed = app.close();
    gate.resolve();
    const [{ undone }] = await Promise.all([rolledBack, closed]);
    assert.deepEqual([undone.length, log], [2, ["undo second", "undo first", "closed"]]);
    const [action] = await Array.fromAsync(memory.list<{ readonly outcome: string }>(["audit"]));
    assert.equal(action?.value.outcome, "done");
  });

  test("close() waits for an event that is being stored", async () => {
    const memory = memoryStorage();
    const [reached, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const log: string[] = [];
    const storage: Storage = {
      ...memory,
      write: async (operations, options) => {
        reached.resolve();
        await gate.promise;
        log.push("stored");
        return await memory.write!(operations, options);
      },
      close: () => Promise.resolve(void log.push("closed")),
    };
    const app = createApp({ storage, logger: quietLogger, limits: { closeMs: 3_600_000 } }).use(trustAll);
    await app.start();
    const answer = app.fetch(post(rig().portal.install(2)));
    await reached.promise;
    const closed = app.close();
    // The app is closing by then.
    assert.equal((await app.fetch(post(rig().portal.install(2)))).status, 503);
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setTimeout(resolve));
    assert.deepEqual(log, []);
    gate.resolve();
    assert.equal((await answer).status, 200);
    await closed;
    assert.deepEqual([log[0], log.at(-1)], ["stored", "closed"]);
  });

  test("plan() returns what would run, without running it", async () => {
    const { app, portal, send } = rig();
    app.upgrade("2", () => {}).upgrade("3", () => assert.fail("plan() ran it"), { id: "three" });
    assert.deepEqual(await app.plan({ from: "1", to: "v3.0" }), {
      from: "1.0.0",
      to: "3.0.0",
      direction: "up",
      upgrades: [{ id: "2", range: "2" }, { id: "three", range: "3" }],
      skipped: [],
    });
    await send(portal.install(1));
    await send(portal.update(2));
    assert.equal((await app.plan({ memberId: MEMBER_ID })).direction, "none");
    await assert.rejects(app.plan({ memberId: "0".repeat(32) }), {
      name: "UnknownPortalError",
      code: "unknown_portal",
    });
    await assert.rejects(app.plan({ from: "latest", to: "3" }), { name: "VersionError", raw: "latest" });
  });

  test("refuses records of a newer format and changes nothing", async () => {
    const storage = memoryStorage();
    const { portal, send } = rig({ storage });
    const future = { format: 2, memberId: MEMBER_ID, news: true };
    await storage.put(["portal", MEMBER_ID], future);
    assert.equal(await send(portal.install(1)), 503);
    assert.deepEqual((await storage.get(["portal", MEMBER_ID]))?.value, future);
  });
});

describe("createApp()", () => {
  const options = { storage: memoryStorage(), logger: quietLogger };

  test("refuses to start without a plugin that verifies, and suggests one", async () => {
    await assert.rejects(
      createApp(options).start(),
      /no plugin of phase "verify".*add one, such as applicationToken\(\)/,
    );
    const observer: Plugin = { name: "observer", phase: "verify", observe: {} };
    await assert.rejects(createApp(options).use(observer).start(), /no plugin of phase "verify"/);
    assert.equal((await createApp(options).fetch(post(""))).status, 503);
  });

  test("accepts events if the logger throws", async () => {
    const boom = (): void => {
      throw new Error("the log is full");
    };
    const { app, portal, send } = rig({ logger: { debug: boom, info: boom, warn: boom, error: boom } });
    assert.equal(await send(portal.install(1)), 200);
    assert.equal(await send("garbage"), 400);
    await app.close();
  });

  test("refuses limits that limit nothing", () => {
    for (const limits of [{ bodyBytes: NaN }, { depth: 0 }, { bodyTimeoutMs: -1 }]) {
      assert.throws(
        () => createApp({ ...options, limits }),
        /cannot create an app with limits\.\w+ (NaN|0|-1), wanted/,
      );
    }
  });

  test("does not count a step as attempted if the app closes during it", async () => {
    const storage = memoryStorage();
    let closes = 0;
    const attempts: number[] = [];
    const made = (): ReturnType<typeof rig> => {
      const one = rig({
        storage: { ...storage, close: () => Promise.resolve() },
        limits: { closeMs: 5 },
        retry: { maxAttempts: 2 },
      });
      one.app.upgrade("3", ({ step }) =>
        step("long", async ({ attempt, signal }) => {
          attempts.push(attempt);
          if (++closes > 4) return;
          await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
        }));
      return one;
    };
    const first = made();
    await first.send(first.portal.install(2));
    void first.send(first.portal.update(3));
    for (let one = first; closes < 5; one = made()) {
      if (one !== first) void one.app.tick();
      const before = closes;
      await until("the step begins", () => closes > before);
      if (closes < 5) await one.app.close();
      else await until("the portal is on 3", async () => (await one.app.portal(MEMBER_ID))?.version === "3.0.0");
    }
    assert.deepEqual(attempts, [1, 1, 1, 1, 1]);
  });

  test("refuses unknown values, and durations that timers do not support", () => {
    const mistakes: readonly (readonly [options: object, message: RegExp])[] = [
      [{ limits: { closeMs: Infinity } }, /limits\.closeMs Infinity, wanted a number from 1 to 2147483647/],
      [{ tickEveryMs: 2 ** 32 }, /tickEveryMs 4294967296, wanted a number from 1 to 2147483647, or false$/],
      [{ tickEveryMs: true }, /tickEveryMs true, wanted a number from 1 to/],
      [{ concurrency: 0 }, /concurrency 0, wanted a whole number from 1/],
      [{ concurrency: 2.5 }, /concurrency 2.5, wanted a whole number from 1/],
      [{ acknowledge: "handeld" }, /acknowledge "handeld", wanted "stored" or "handled"/],
      [{ versions: coerced }, /versions (a function|"2\.0\.0"), wanted a version scheme/],
      [{ clientId: "" }, /clientId "", wanted the client_id of the app, without spaces, or no clientId$/],
      [{ clientId: "app.5f3a " }, /clientId "app\.5f3a ", wanted the client_id/],
      [{ clientSecret: " " }, /clientSecret a string, wanted the client_secret/],
      [{ clientSecret: new Secret("a b") }, /clientSecret an object, wanted the client_secret/],
      [{ client_id: "app.5f3a" }, /the option client_id that does not exist, wanted clientId$/],
      [{ limits: { leasems: 1 } }, /the option limits\.leasems that does not exist, wanted leaseMs$/],
      [{ limits: 5 }, /limits 5, wanted an object with bodyBytes, /],
      [{ checks: true }, /checks true, wanted an object with afterContactMs, silentPortalMs, or false$/],
      [{ checks: { silentPortalMs: -1 } }, /checks\.silentPortalMs -1, wanted a number from 0$/],
      [{ retry: { maxAttempts: 0 } }, /retry\.maxAttempts 0, wanted a whole number from 1$/],
      [{ oauthHosts: "https://oauth.bitrix.info" }, /oauthHosts "https:.*", wanted addresses such as/],
      [{ extraPortalHosts: [7] }, /extraPortalHosts\.0 7, wanted a host$/],
      [{ logger: () => {} }, /logger a function, wanted a logger, such as consoleLogger\(\)$/],
      [{ clock: 5 }, /clock 5, wanted a function$/],
      [{ versions: "2.0.0" }, /versions (a function|"2\.0\.0"), wanted a version scheme/],
    ];
    for (const [mistake, message] of mistakes) assert.throws(() => createApp({ ...options, ...mistake }), message);
    assert.throws(() => deployed(undefined as never), { name: "VersionError", message: /"undefined"/ });
  });

  test("refuses to tick with options out of range", async () => {
    const { app } = rig();
    await assert.rejects(app.tick({ concurrency: 0 }), /cannot tick with concurrency 0, wanted a whole number from 1/);
    await assert.rejects(app.tick({ limit: NaN }), /cannot tick with limit NaN/);
    await assert.rejects(app.tick({ budgetMs: -1 }), /cannot tick with budgetMs -1, wanted a number from 0/);
    await app.close();
  });

  test("refuses to be called without options, and a handler that is no function", () => {
    assert.throws(() => createApp(undefined as never), {
      name: "TypeError",
      message: /^cannot create an app with options undefined, wanted an object with storage, clientId, /,
    });
    assert.throws(
      () => createApp(options).on("ONAPPTEST", undefined as never),
      /handler of ONAPPTEST that is undefined/,
    );
    assert.throws(() => createApp(options).upgrade("2", undefined as never), /its handler is undefined, wanted/);
    assert.throws(
      () => createApp(options).upgrade("2", () => {}, { timeout: 5 } as never),
      /cannot register upgrade "2" with the option timeout that does not exist, wanted timeoutMs$/,
    );
  });

  test("refuses a storage, a logger or a version scheme that lacks a part", () => {
    const { write: _, list: _list, ...incomplete } = memoryStorage();
    const wrong = (more: object, message: RegExp) =>
      assert.throws(() => createApp({ ...options, ...more } as never), { name: "TypeError", message });
    wrong({ storage: incomplete }, /with storage an object, wanted a storage, such as memoryStorage\(\)/);
    wrong({ storage: { ...memoryStorage(), capabilities: undefined } }, /with storage an object, wanted a storage/);
    wrong({ logger: { info: () => {} } }, /with logger an object, wanted a logger/);
    wrong({ versions: { parse: String } }, /with versions\.name undefined, wanted the name of the scheme, for logs$/);
    wrong({ versions: { ...coerced(), latest: "3" } }, /with versions\.latest "3", wanted a semantic version such as/);
    wrong({ versions: { ...coerced(), deployed: "v2" } }, /with versions\.deployed "v2", wanted a semantic version/);
    class Scheme {
      readonly name = "mine";
      parse(raw: string): string {
        return `${raw}.0.0`;
      }
    }
    createApp({ ...options, versions: new Scheme() });
  });

  test("refuses names of events that are none, and a call without names", () => {
    assert.throws(() => createApp(options).on([], () => {}), {
      message: "cannot add a handler with events [], wanted names of events in upper case",
    });
    assert.throws(
      () => createApp(options).on(5 as never, () => {}),
      /handler with events 5, wanted names of events/,
    );
    assert.throws(
      () => createApp(options).on(undefined as never, () => {}),
      /handler with events undefined, wanted/,
    );
  });

  test("refuses swapped arguments, and says what is wanted", () => {
    const handler = (): void => {};
    const swapped = createApp(options) as unknown as Record<"on" | "upgrade", (...args: unknown[]) => void>;
    assert.throws(() => swapped.on(handler, "ONAPPINSTALL"), {
      name: "TypeError",
      message: "cannot add a handler with events a function, wanted names of events in upper case: " +
        "app.on(events, handler, options)",
    });
    assert.throws(() => swapped.on("ONAPPINSTALL", { timeoutMs: 5 }, handler), {
      name: "TypeError",
      message:
        "cannot add a handler of ONAPPINSTALL that is object, wanted a function: app.on(events, handler, options)",
    });
    assert.throws(() => swapped.upgrade(handler, "2"), {
      name: "TypeError",
      message: /^cannot register an upgrade with range a function, .*: app\.upgrade\(range, handler, options\)$/,
    });
  });

  test("refuses names that no event has: misspelled ones of the app, and unknown ones that begin with ONAPP", () => {
    const ALL = "one of ONAPPUPDATE, ONAPPINSTALL, ONAPPUNINSTALL, ";
    const mistakes: readonly (readonly [name: string, wanted: string])[] = [
      ["ONAPPUDPATE", '"ONAPPUPDATE"'],
      ["APPINSTALL", '"ONAPPINSTALL"'],
      ["ONAPPUNINSTAL", '"ONAPPUNINSTALL"'],
      ["ONAPP_UPDATE", '"ONAPPUPDATE"'],
      [" ONAPPUPDATE", '"ONAPPUPDATE"'],
      ["onAppInstall", '"ONAPPINSTALL", in upper case'],
      ["OnAppUpdat", '"ONAPPUPDATE", in upper case'],
      ["onAppFoo", ALL],
      ["appUpdate", '"ONAPPUPDATE", in upper case'],
      ["update", '"ONAPPUPDATE", in upper case'],
      ["UPDATE", '"ONAPPUPDATE"'],
      ["onCrmDealAdd", '"ONCRMDEALADD", in upper case'],
      ["ONAPPREMOVE", ALL],
      ["ONAPP", ALL],
      ["", "an event name in upper case"],
      ["  ", "an event name in upper case"],
    ];
    for (const [name, wanted] of mistakes) {
      const app = createApp(options);
      assert.throws(() => app.on(["ONCRMDEALADD", name], () => {}), (error: Error) => {
        assert.ok(error instanceof TypeError);
        const start = `cannot add a handler of "${name}": no event has this name, wanted ${wanted}`;
        assert.ok(error.message.startsWith(start), error.message);
        return true;
      });
    }
  });

  test("accepts all other events, and knows the type of those of the app", () => {
    const app = createApp(options);
    for (const name of ["ONCRMDEALUPDATE", "ONTASKUPDATE", "ONIMBOTMESSAGEADD", "ONUSERADD", "ON_MY_OWN:EVENT"]) {
      app.on(name, () => {});
    }
    app.on("ONAPPUPDATE", ({ event }) => void (event.data.version satisfies string))
      // @ts-expect-error: an event of another name has no version
      .on("ONCRMDEALADD", ({ event }) => void (event.data.version satisfies string));
  });

  test("refuses a range that means the same as another one, unless one of them has an id", () => {
    const add = (...ranges: readonly (readonly [range: UpgradeRange, id?: string])[]) => () => {
      const app = createApp(options);
      for (const [range, id] of ranges) app.upgrade(range, () => {}, id === undefined ? {} : { id });
    };
    const message = 'cannot add upgrade "2.0.0": the range of upgrade "2" means the same; set the id of one of them';
    assert.throws(add(["2"], ["2.0.0"]), { name: "TypeError", message });
    assert.throws(add([2], ["3"], ["2.0.0"]), { name: "TypeError", message });
    assert.throws(add([2], ["2"]), /cannot add upgrade "2": another upgrade has this id; set the id of one of them/);
    assert.throws(add([{ from: "1.x", to: ">=2" }], [{ from: "1.*", to: ">= 2" }]), /means the same/);
    add(["2"], ["2.0.0", "robots"])();
    add(["2", "fields"], ["2.0.0"])();
    add(["2", "fields"], ["2", "robots"])();
    add(["2"], ["2.0.1"], ["<=2.0.0"])();
  });

  test("refuses to plan for what is neither a portal nor two versions", async () => {
    const { app } = rig();
    const mistakes: readonly (readonly [query: unknown, message: string])[] = [
      [undefined, "options undefined, wanted an object with memberId"],
      [MEMBER_ID, "options a string, wanted an object with memberId"],
      [{}, "memberId undefined, wanted the member_id of a portal, or from and to"],
      [{ memberID: MEMBER_ID }, "the option memberID that does not exist, wanted memberId"],
      [{ from: "1" }, 'to undefined, wanted a version such as "2.1.0"'],
      [{ from: 1, to: "2" }, 'from 1, wanted a version such as "2.1.0"'],
      [{ memberId: MEMBER_ID, from: "1", to: "2" }, "the option memberId that does not exist, wanted from or to"],
    ];
    for (const [query, message] of mistakes) {
      await assert.rejects(app.plan(query as never), { name: "TypeError", message: `cannot plan with ${message}` });
    }
    await app.close();
  });

  test("refuses requests of Node's servers, and tickets that are no strings", async () => {
    const { app } = rig();
    const node = { method: "POST", url: "/b24/events", headers: { host: "localhost" } } as never;
    const message = (action: string): RegExp =>
      new RegExp(`^${action} with request an object, wanted a Request of the`);
    await assert.rejects(app.fetch(node), { name: "TypeError", message: message("cannot answer") });
    await assert.rejects(app.open(node), { name: "TypeError", message: message("cannot open") });
    await assert.rejects(app.fetch(undefined as never), /cannot answer with request undefined, wanted a Request/);
    await assert.rejects(app.opening(null as never), {
      name: "TypeError",
      message: "cannot find an opening with ticket null, wanted the ticket of an opening",
    });
    await app.close();
  });

  test("refuses a member_id that is not a string, and says so", async () => {
    const { app } = rig();
    const none = undefined as never;
    const message = "cannot find a portal with memberId undefined, wanted the member_id of a portal";
    const { admin, credentials } = app;
    const calls: readonly (() => Promise<unknown>)[] = [
      () => app.check(none),
      () => app.portal(none),
      () => admin.retry(none, OPERATOR),
      () => admin.skip(none, "2", OPERATOR),
      () => admin.rollback(none, OPERATOR),
      () => admin.setTarget(none, "2", { by: "ada", reason: "test" }),
      () => admin.runs(none),
      () => admin.history(none),
      () => credentials.get(none),
      () => credentials.refresh(none, none),
      () => credentials.call(none, async () => {}),
    ];
    for (const call of calls) await assert.rejects(call, { name: "TypeError", message }, String(call));
    await app.close();
  });

  test("refuses a plugin factory in place of its result", () => {
    const factory = (): Plugin => trustAll;
    assert.throws(
      () => createApp(options).use(factory as never),
      /cannot add a function as a plugin, wanted the result of its function/,
    );
  });

  test("refuses a plugin that is null or has no name", () => {
    assert.throws(() => createApp(options).use(null as never), /cannot add null as a plugin/);
    assert.throws(() => createApp(options).use({ observe: {} } as never), /cannot add a plugin without a name/);
  });

  test("refuses options without a storage", () => {
    const message = /with storage undefined, wanted a storage, such as memoryStorage\(\) to try it out$/;
    assert.throws(() => createApp({} as never), { name: "TypeError", message });
  });

  for (
    const [mistake, build, message] of [
      [
        "two plugins with one name",
        () => createApp(options).use(trustAll).use(trustAll),
        /two plugins have the name "trustAll"/,
      ],
      [
        "two plugins that add one key",
        () =>
          createApp(options).use(trustAll).use({ name: "a", adds: ["b24"], extend: () => ({ b24: 1 }) })
            .use({ name: "b", adds: ["b24"], extend: () => ({ b24: 2 }) } as never),
        /plugin "b" adds "b24" to the context, which plugin "a" adds too/,
      ],
      [
        "a plugin that adds a key of the core",
        () =>
          createApp(options).use(trustAll).use({ name: "a", adds: ["event"], extend: () => ({ event: 1 }) } as never),
        /plugin "a" adds "event" to the context, which the core adds too/,
      ],
      [
        "a plugin that extends the context of phase verify",
        () => createApp(options).use({ ...trustAll, extend: () => ({ a: 1 }) }),
        /of phase "verify" has extend\(\)/,
      ],
    ] as const
  ) {
    test(`refuses to start with ${mistake}`, async () => {
      await assert.rejects(build().start(), message);
    });
  }

  test("refuses registrations after the start, duplicate upgrades, and invalid event names", async () => {
    const app = createApp(options).use(trustAll).upgrade("2", () => {});
    assert.throws(() => app.upgrade("2", () => {}), /another upgrade has this id/);
    assert.throws(() => app.on("onappupdate", () => {}), /upper case/);
    await app.start();
    assert.throws(() => app.use({ name: "late" }), /cannot add plugin "late": the app has started/);
    assert.throws(() => app.on("ONAPPTEST", () => {}), /the app has started/);
    assert.throws(() => app.upgrade("3", () => {}), /the app has started/);
  });

  test("answers 503 if a plugin cannot be set up", async () => {
    const { logger, lines } = recordingLogger();
    const app = createApp({ ...options, logger }).use(trustAll).use({
      name: "broken",
      setup: () => {
        throw new Error("no database");
      },
    });
    const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
    const response = await app.fetch(post(bitrix24.portal({ memberId: MEMBER_ID }).install(1)));
    assert.equal(response.status, 503);
    assert.match(lines.join(), /no database/);
  });
});

test("types: handlers receive what plugins add; unmet needs and conflicts do not compile", () => {
  const app = createApp({ storage: memoryStorage() });
  interface HasB24 {
    readonly b24: { readonly call: (method: string) => Promise<unknown> };
  }
  const rest: Plugin<object, HasB24> = { name: "rest", extend: () => ({ b24: { call: () => Promise.resolve(1) } }) };
  const notifier: Plugin<HasB24, { readonly notify: () => void }> = {
    name: "notifier",
    extend: ({ b24 }) => ({ notify: () => void b24.call("im.notify") }),
  };
  // @ts-expect-error no plugin before this one adds "b24"
  app.use(notifier);
  const grown = app.use(rest);
  // @ts-expect-error the context has "b24" already
  grown.use({ name: "other", extend: () => ({ b24: 1 }) });
  // @ts-expect-error the context has "event" already
  app.use({ name: "event", extend: () => ({ event: 1 }) });
  const whole = createApp({ storage: memoryStorage() }).use(rest).use(notifier);
  whole.upgrade("2", ({ b24, notify }) => {
    notify();
    void b24.call("app.info");
  });
  whole.on("ONAPPUPDATE", ({ event, b24 }) => {
    const version: string = event.data.version;
    void b24.call(version);
    // @ts-expect-error an update has no CLEAN
    event.data.clean;
  });
  whole.on("ONCRMDEALADD", ({ event }) => {
    const name: "UNKNOWN" = event.name;
    const wire: string = event.wireName;
    void [name, wire];
  });
  whole.on(["ONAPPINSTALL", "ONAPPUNINSTALL"], ({ event }) => {
    if (event.name === "ONAPPUNINSTALL") event.data.clean satisfies boolean;
    else event.data.version satisfies string;
  });
  // @ts-expect-error handlers of an app without the plugin have no b24
  createApp({ storage: memoryStorage() }).upgrade("2", ({ b24 }) => void b24);
  const needsMore = (_ctx: UpgradeContext & { readonly more: number }): void => {};
  // @ts-expect-error nobody adds "more"
  whole.upgrade("3", needsMore);
  assert(true);
});
