import assert from "node:assert/strict";
import { B24Error, deployed, memoryStorage, NonRetriableError, RetryAfterError, type Storage } from "@b24/onappupdate";
import { StorageError, UnknownPortalError } from "@b24/onappupdate/errors";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { appliedUpgrades, CLIENT_ID, MEMBER_ID, OTHER_MEMBER_ID, rig } from "../../support/app.ts";
import { openedRecord } from "../../support/credentials.ts";
import { scene } from "../../support/scene.ts";
import { describe, it } from "../../support/test.ts";
import { until } from "../../support/until.ts";
import { withoutWrite } from "../../support/without_write.ts";
import { OPERATOR } from "../../support/operator.ts";

type Made = ReturnType<typeof rig>;

async function updated(made: Made): Promise<void> {
  await made.send(made.portal.install(2));
  await made.send(made.portal.update(3));
}

/** Makes a call and waits for the work that it starts: its last report is `eventHandled`. */
async function worked({ names }: Made, call: () => Promise<unknown>): Promise<void> {
  const handled = (): number => names().filter((name) => name === "eventHandled").length;
  const before = handled();
  await call();
  await until("the work of the call is done", () => handled() > before);
}

describe("admin.retry()", () => {
  it("retries a parked portal now, with its attempts at zero", async () => {
    const made = rig();
    let broken = true;
    const attempts: number[] = [];
    made.app.upgrade("3", async ({ step }) => {
      await step("one", ({ attempt }) => {
        attempts.push(attempt);
        if (broken) throw new NonRetriableError("no");
      });
    });
    await updated(made);
    assert.equal((await made.app.portal(MEMBER_ID))?.failure?.retryAt, undefined);
    broken = false;
    await worked(made, () => made.app.admin.retry(MEMBER_ID, OPERATOR));
    assert.equal((await made.app.portal(MEMBER_ID))?.version, "3.0.0");
    assert.deepEqual(attempts, [1, 1]);
  });

  it("retries a parked event", async () => {
    const made = rig({ retry: { maxAttempts: 1 } });
    let broken = true;
    let runs = 0;
    made.app.on("ONAPPTEST", () => {
      runs++;
      if (broken) throw new Error("no");
    });
    await made.send(made.portal.install(2));
    await made.send(made.portal.event("ONAPPTEST", {}));
    made.later();
    assert.deepEqual(await made.app.tick(), { handled: 0, failed: 0 });
    broken = false;
    await worked(made, () => made.app.admin.retry(MEMBER_ID, OPERATOR));
    assert.equal(runs, 2);
  });

  it("retries waiting events now, after counted and uncounted failures", async () => {
    const errors = [
      new Error("counted"),
      new RetryAfterError(3_600_000),
      new B24Error({ code: "PAYMENT_REQUIRED", description: "", status: 402, method: "profile" }),
    ];
    for (const error of errors) {
      const made = rig();
      let runs = 0;
      made.app.on("ONAPPTEST", () => {
        if (++runs === 1) throw error;
      });
      await made.send(made.portal.install(2));
      await made.send(made.portal.event("ONAPPTEST", {}));
      assert.deepEqual([await made.app.tick(), runs], [{ handled: 0, failed: 0 }, 1]);
      await worked(made, () => made.app.admin.retry(MEMBER_ID, OPERATOR));
      assert.equal(runs, 2, String(error));
      await made.app.close();
    }
  });

  it("rejects for an unknown portal", async () => {
    await assert.rejects(rig().app.admin.retry(MEMBER_ID, OPERATOR), UnknownPortalError);
  });
});

describe("admin.skip()", () => {
  it("marks an upgrade as done and continues with the next", async () => {
    const made = rig();
    const ran: string[] = [];
    made.app.upgrade("2.5", () => Promise.reject(new NonRetriableError("no")), { id: "broken" })
      .upgrade("3", () => void ran.push("3"));
    await updated(made);
    await assert.rejects(made.app.admin.skip(MEMBER_ID, "another", OPERATOR), { code: "not_due" });
    await worked(made, () => made.app.admin.skip(MEMBER_ID, "broken", OPERATOR));
    const { version, failure } = (await made.app.portal(MEMBER_ID))!;
    assert.deepEqual([version, failure, ran], ["3.0.0", undefined, ["3"]]);
    const applied = await appliedUpgrades(made.app);
    assert.deepEqual(applied.map(({ id, skipped }) => [id, skipped]), [["broken", true], ["3", undefined]]);
  });

  /** An app whose upgrade to 3 has begun and goes on until `end` is called; then it throws `error`, if there is one. */
  async function running(): Promise<{ readonly made: Made; readonly end: (error?: Error) => Promise<void> }> {
    const made = rig({ acknowledge: "stored" });
    const begun = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<Error | undefined>();
    made.app.upgrade("3", async ({ step }) => {
      await step("one", () => {});
      begun.resolve();
      const error = await gate.promise;
      if (error !== undefined) throw error;
      await step("two", () => {});
    });
    await made.send(made.portal.install(2));
    await made.send(made.portal.update(3));
    await begun.promise;
    const end = async (error?: Error): Promise<void> => {
      gate.resolve(error);
      await made.app.settled();
    };
    return { made, end };
  }

  it("lists an upgrade once that is skipped while it runs, and goes on to its end", async () => {
    const { made, end } = await running();
    await made.app.admin.skip(MEMBER_ID, "3", OPERATOR);
    await assert.rejects(made.app.admin.skip(MEMBER_ID, "3", OPERATOR), { code: "not_due" });
    await end();
    assert.equal((await made.app.portal(MEMBER_ID))?.version, "3.0.0");
    const applied = await appliedUpgrades(made.app);
    assert.deepEqual(applied.map(({ id, skipped }) => [id, skipped]), [["3", true]]);
    const [run] = await made.app.admin.runs(MEMBER_ID);
    assert.deepEqual(run?.applied.map(({ id }) => id), ["3"]);
    await made.app.close();
  });

  for (const error of [new NonRetriableError("no"), new Error("no")]) {
    it(`is not undone by a ${error.name} of the upgrade that runs`, async () => {
      const { made, end } = await running();
      await made.app.admin.skip(MEMBER_ID, "3", OPERATOR);
      await end(error);
      const { version, failure } = (await made.app.portal(MEMBER_ID))!;
      assert.deepEqual([version, failure], ["3.0.0", undefined]);
      assert.deepEqual((await appliedUpgrades(made.app)).map(({ id }) => id), ["3"]);
      await made.app.close();
    });
  }
});

describe("admin.rollback()", () => {
  it("undoes finished steps in reverse, and reports those without undo", async () => {
    const made = rig();
    const done: string[] = [];
    let fails = true;
    made.app.upgrade("2.5", async ({ step, mode }) => {
      done.push(`begin, mode ${mode}`);
      await step("a", () => ({ id: 1 }), { undo: ({ id }) => void done.push(`undo a ${id}`) });
    }).upgrade("3", async ({ step }) => {
      await step("b", () => "B", { undo: (result) => void done.push(`undo b ${result}`) });
      await step("c", () => {});
      await step("d", () => {
        done.push("d");
        if (fails) throw new NonRetriableError("no");
      }, { undo: () => void done.push("undo d") });
    });
    await updated(made);
    assert.deepEqual(await made.app.admin.rollback(MEMBER_ID, OPERATOR), {
      undone: [{ upgradeId: "3", step: "b" }, { upgradeId: "2.5", step: "a" }],
      without: [{ upgradeId: "3", step: "c" }],
    });
    assert.deepEqual(done, [
      ...["begin, mode run", "d", "undo b B"],
      ...["begin, mode rollback", "undo a 1"],
    ]);
    const portal = (await made.app.portal(MEMBER_ID))!;
    assert.deepEqual([portal.version, portal.target, portal.failure?.message], ["2.0.0", "3.0.0", "rolled back"]);
    made.later();
    assert.deepEqual(await made.app.tick(), { handled: 0, failed: 0 }, "it is parked");
    fails = false;
    await worked(made, () => made.app.admin.retry(MEMBER_ID, OPERATOR));
    assert.equal((await made.app.portal(MEMBER_ID))?.version, "3.0.0");
  });

  it("calls no undo once another process has taken the lease while this one was paused", async () => {
    const storage = memoryStorage();
    let ahead = 0;
    const made = rig({ storage, clock: () => Date.now() + ahead });
    const undone: string[] = [];
    made.app.upgrade("3", async ({ step, mode }) => {
      await step("a", () => {}, { undo: () => void undone.push("a") });
      if (mode === "run") throw new NonRetriableError("no");
      ahead += 60 * 60 * 1000;
      const { value } = (await storage.get<{ lease: object }>(["portal", MEMBER_ID]))!;
      await storage.put(["portal", MEMBER_ID], { ...value, lease: { ...value.lease, owner: "other" } });
    });
    await updated(made);
    await assert.rejects(made.app.admin.rollback(MEMBER_ID, OPERATOR), /lost the lease/);
    assert.deepEqual(undone, []);
  });

  for (const isReached of [true, false]) {
    it(`does not report sleeps, which have nothing to undo, ${isReached ? "reached" : "not reached"} by the replay`, async () => {
      const made = rig();
      made.app.upgrade("3", async ({ step, sleep, mode }) => {
        if (mode === "rollback" && !isReached) throw new Error("another way");
        await step("a", () => {});
        await sleep("nap", 0);
        throw new NonRetriableError("no");
      });
      await updated(made);
      assert.deepEqual(await made.app.admin.rollback(MEMBER_ID, OPERATOR), {
        undone: [],
        without: [{ upgradeId: "3", step: "a" }],
      });
    });
  }

  it("undoes the last finished run, and continues where an undo failed", async () => {
    const made = rig();
    const done: string[] = [];
    let fails = true;
    made.app.upgrade("3", async ({ step }) => {
      await step("a", () => {}, {
        undo: () => {
          if (fails) throw new Error("the portal is down");
          done.push("a");
        },
      });
      await step("b", () => {}, { undo: () => void done.push("b") });
    });
    await updated(made);
    assert.equal((await made.app.portal(MEMBER_ID))?.version, "3.0.0");
    await assert.rejects(made.app.admin.rollback(MEMBER_ID, OPERATOR), /the portal is down/);
    fails = false;
    assert.deepEqual((await made.app.admin.rollback(MEMBER_ID, OPERATOR)).undone, [{ upgradeId: "3", step: "a" }]);
    assert.deepEqual(done, ["b", "a"]);
    const { version, applied } = (await made.app.portal(MEMBER_ID))!;
    assert.deepEqual([version, applied], ["2.0.0", []]);
  });

  it("updates the index, and schedules what arrived meanwhile", async () => {
    const made = rig();
    const { app, portal } = made;
    const begun = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    app.upgrade("3", async ({ step }) => {
      await step("a", () => {}, { undo: () => (begun.resolve(), goOn.promise) });
    });
    const heard: string[] = [];
    app.on("ONCRMDEALADD", () => void heard.push("deal"));
    await updated(made);
    const rollback = app.admin.rollback(MEMBER_ID, OPERATOR);
    await begun.promise;
    const received = (): number => made.names().filter((name) => name === "eventReceived").length;
    const before = received();
    const sent = made.send(portal.event("ONCRMDEALADD", { ID: "7" }));
    await until("the event is stored", () => received() > before);
    assert.deepEqual(await app.tick(), { handled: 0, failed: 0 });
    assert.deepEqual(heard, []);
    goOn.resolve();
    await rollback;
    assert.deepEqual(await app.admin.counts(), [{ status: "parked", version: "2.0.0", count: 1 }]);
    assert.deepEqual((await app.admin.portals({ status: "parked" })).items.map(({ memberId }) => memberId), [
      MEMBER_ID,
    ]);
    assert.equal(await sent, 200);
    assert.deepEqual(heard, ["deal"]);
  });

  it("lets a retry repeat what was undone, including upgrades finished before the run was parked", async () => {
    const made = rig();
    const done: string[] = [];
    let broken = true;
    made.app.upgrade(
      "3",
      ({ step }) => step("a", () => void done.push("do 3"), { undo: () => void done.push("undo 3") }),
    )
      .upgrade("4", () => {
        if (broken) throw new NonRetriableError("no");
        done.push("do 4");
      });
    await made.send(made.portal.install(2));
    await made.send(made.portal.update(4));
    await made.app.admin.rollback(MEMBER_ID, OPERATOR);
    assert.deepEqual((await made.app.portal(MEMBER_ID))?.applied, []);
    broken = false;
    await worked(made, () => made.app.admin.retry(MEMBER_ID, OPERATOR));
    assert.deepEqual(done, ["do 3", "undo 3", "do 3", "do 4"]);
  });

  it("parks a waiting run, even if an undo fails", async () => {
    const made = rig();
    made.app.upgrade("3", async ({ step }) => {
      await step("a", () => {}, {
        undo: () => {
          throw new Error("the portal is down");
        },
      });
      throw new RetryAfterError(1000);
    });
    await updated(made);
    await assert.rejects(made.app.admin.rollback(MEMBER_ID, OPERATOR), /the portal is down/);
    made.later();
    assert.deepEqual(await made.app.tick(), { handled: 0, failed: 0 });
    const { version, failure } = (await made.app.portal(MEMBER_ID))!;
    assert.deepEqual([version, failure?.message, failure?.retryAt], ["2.0.0", "rollback in progress", undefined]);
  });

  for (const end of ["its second undo throws", "the process ends between two undos"]) {
    it(`is continued by itself alone after ${end}: neither a retry nor a new target passes it`, async () => {
      const storage = memoryStorage();
      const shared = { ...storage, close: () => Promise.resolve() };
      const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, accessTokenSeconds: 86_400 });
      const portal = bitrix24.portal({ memberId: MEMBER_ID });
      const done: string[] = [];
      const keys: string[] = [];
      let isBroken = true;
      let ended = false;
      const start = (storage: Storage): ReturnType<typeof rig> => {
        const made = rig({ storage, fetch: bitrix24.fetch });
        made.app.upgrade("3", async ({ step, portal: { run }, attempt }) => {
          done.push(`attempt ${attempt} ${run?.current?.attempt}`);
          for (const name of ["a", "b"]) {
            await step(name, ({ idempotencyKey }) => void keys.push(`${name} ${idempotencyKey}`), {
              undo: (_, { idempotencyKey }) => {
                if (name === "a" && isBroken && end.startsWith("its")) throw new Error("the portal is down");
                if (name === "a" && isBroken) ended = true;
                done.push(`undo ${name}`);
                keys.push(`undo ${name} ${idempotencyKey}`);
              },
            });
          }
          if (isBroken) throw new NonRetriableError("no");
        }).upgrade("4", () => {});
        return made;
      };
      const alive = <A extends unknown[], R>(call: (...args: A) => Promise<R>) => (...args: A): Promise<R> =>
        ended ? Promise.reject(new StorageError("the process has ended")) : call(...args);
      const first = start({ ...shared, put: alive(shared.put), write: alive(shared.write!) } as Storage);
      await first.send(portal.install(2));
      await first.send(portal.update(3));
      await assert.rejects(first.app.admin.rollback(MEMBER_ID, OPERATOR));
      await first.app.close();
      ended = false;

      const second = start(shared);
      second.later();
      await assert.rejects(second.app.admin.retry(MEMBER_ID, OPERATOR), { code: "rollback_unfinished" });
      await second.send(portal.update(4));
      await second.app.tick();
      const { version, target, run, failure } = (await second.app.portal(MEMBER_ID))!;
      assert.deepEqual([version, target, failure?.message], ["2.0.0", "4.0.0", "rollback in progress"]);
      assert.deepEqual(Object.keys(run!).sort(), ["current", "from", "id", "startedAt"]);
      assert.deepEqual((await second.app.admin.portals({ status: "parked" })).items.length, 1);
      isBroken = false;
      await second.app.admin.rollback(MEMBER_ID, OPERATOR);
      assert.deepEqual(keys.map((key) => key.split(" ").slice(0, -1).join(" ")), [
        ...["a", "b", "undo b", ...end.startsWith("its") ? [] : ["undo a"], "undo a"],
      ]);
      // An undo that is repeated is the same one.
      assert.equal(new Set(keys.filter((key) => key.startsWith("undo a"))).size, 1);
      await worked(second, () => second.app.admin.retry(MEMBER_ID, OPERATOR));
      assert.equal((await second.app.portal(MEMBER_ID))?.version, "4.0.0");
      const steps = keys.filter((key) => !key.startsWith("undo"));
      assert.equal(new Set(steps).size, 4);
      assert.equal(done.at(-1), "attempt 1 1");
      await second.app.close();
    });
  }

  it("undoes nothing of an earlier installation", async () => {
    const made = rig();
    made.app.upgrade("3", ({ step }) => step("a", () => {}, { undo: () => assert.fail("it was undone") }));
    await updated(made);
    await made.send(made.portal.uninstall());
    await made.send(made.portal.install(3));
    await assert.rejects(made.app.admin.rollback(MEMBER_ID, OPERATOR), { code: "nothing_to_roll_back" });
    assert.equal((await made.app.portal(MEMBER_ID))?.version, "3.0.0");
  });

  it("logs no token that a replayed handler throws", async () => {
    const made = rig({ clientSecret: "client-secret-0123456789abcdef" });
    let token = "";
    made.app.upgrade("3", async ({ step, mode }) => {
      token = (await made.app.credentials.get(MEMBER_ID)).accessToken.reveal();
      if (mode === "rollback") throw new Error(`refused ${token}`);
      await step("a", () => {});
    });
    await updated(made);
    assert.deepEqual(await made.app.admin.rollback(MEMBER_ID, OPERATOR), {
      undone: [],
      without: [{ upgradeId: "3", step: "a" }],
    }, "a step that the replay did not reach is reported");
    const line = made.lines.find((text) => text.includes("rollback.replay_failed"))!;
    assert.match(line, /refused/);
    assert.doesNotMatch(made.lines.join(), new RegExp(token));
  });

  it("changes the idempotency keys of steps that run again afterwards", async () => {
    const made = rig();
    const keys: string[] = [];
    made.app.upgrade("3", async ({ step }) => {
      await step("a", ({ idempotencyKey }) => void keys.push(idempotencyKey));
    });
    await updated(made);
    await made.app.admin.rollback(MEMBER_ID, OPERATOR);
    await worked(made, () => made.app.admin.retry(MEMBER_ID, OPERATOR));
    assert.equal(keys.length, 2);
    assert.notEqual(keys[0], keys[1]);
  });

  it("rejects if the app was removed, and records a refusal", async () => {
    const made = rig();
    made.app.upgrade("3", ({ step }) => step("a", () => {}, { undo: () => assert.fail("it was undone") }));
    await updated(made);
    await made.send(made.portal.uninstall());
    await assert.rejects(made.app.admin.rollback(MEMBER_ID, OPERATOR), {
      code: "nothing_to_roll_back",
      message: `cannot roll back portal ${MEMBER_ID}: the app was removed from it`,
    });
    assert.equal((await made.app.admin.audit()).items[0]?.outcome, "refused");
  });

  it("rejects if there is nothing to roll back", async () => {
    const made = rig();
    await made.send(made.portal.install(2));
    await assert.rejects(made.app.admin.rollback(MEMBER_ID, OPERATOR), { code: "nothing_to_roll_back" });
  });
});

describe("admin.setTarget()", () => {
  const WHY = { by: "ada", reason: "withdrawn" };

  it("raises and lowers the target, and the upgrades to it run", async () => {
    const made = rig();
    const ran: string[] = [];
    for (const version of ["3", "4"]) made.app.upgrade(version, () => void ran.push(version));
    await made.send(made.portal.install(2));
    await worked(made, () => made.app.admin.setTarget(MEMBER_ID, "4", WHY));
    assert.deepEqual(ran, ["3", "4"]);
    const line = made.lines.map((line) => JSON.parse(line)).find(({ event }) => event === "target.set");
    assert.deepEqual([line.from, line.to], ["2.0.0", "4.0.0"]);
    const acted = made.lines.map((line) => JSON.parse(line)).find(({ event }) => event === "admin.acted");
    assert.deepEqual([acted.action, acted.by, acted.reason], ["setTarget", "ada", "withdrawn"]);
    await made.app.close();
  });

  it("lowers a target on whose way the portal is parked; a later event raises it again", async () => {
    const made = rig();
    const ran: string[] = [];
    made.app.upgrade("3", () => void ran.push("3"))
      .upgrade("4", () => {
        throw new NonRetriableError("no");
      })
      .on("ONAPPUPDATE", ({ event }) => void ran.push(`update ${event.data.version}`));
    await made.send(made.portal.install(2));
    await made.send(made.portal.update(4));
    assert.deepEqual(ran, ["3"]);
    await worked(made, () => made.app.admin.setTarget(MEMBER_ID, "3", WHY));
    const { version, target } = (await made.app.portal(MEMBER_ID))!;
    assert.deepEqual([version, target], ["3.0.0", "3.0.0"]);
    await made.send(made.portal.update(5));
    assert.equal((await made.app.portal(MEMBER_ID))?.target, "5.0.0");
    await made.app.close();
  });

  it("is refused if it makes no sense", async () => {
    const made = rig();
    await assert.rejects(made.app.admin.setTarget(MEMBER_ID, "3", WHY), UnknownPortalError);
    await made.send(made.portal.install(2));
    const { setTarget } = made.app.admin;
    const below = /cannot set the target of portal \w+ to 1\.0\.0: it is below its version 2\.0\.0/;
    await assert.rejects(setTarget(MEMBER_ID, "1", WHY), { code: "invalid_target", message: below });
    await assert.rejects(setTarget(MEMBER_ID, "latest", WHY), { code: "version" });
    await assert.rejects(setTarget(MEMBER_ID, "3", { by: " ", reason: "x" }), TypeError);
    await assert.rejects(setTarget(MEMBER_ID, "3", undefined as never), {
      name: "TypeError",
      message: "cannot set a target with options undefined, wanted an object with by, reason",
    });
    await made.send(made.portal.uninstall());
    await assert.rejects(setTarget(MEMBER_ID, "3", WHY), { code: "invalid_target", message: /was removed/ });
    const local = rig({ versions: deployed("2.0.0") });
    await local.send(local.portal.install(1));
    await assert.rejects(local.app.admin.setTarget(MEMBER_ID, "3", WHY), {
      code: "invalid_target",
      message: /deployed/,
    });
    await Promise.all([made.app.close(), local.app.close()]);
  });
});

describe("admin.portals(), counts() and runs()", () => {
  it("distinguish portals by version and state", async () => {
    const made = rig();
    made.app.upgrade("3", ({ memberId }) => {
      if (memberId.startsWith("c")) throw new NonRetriableError("no");
      if (memberId.startsWith("d")) throw new Error("not yet");
    });
    const ids = [..."abcde"].map((digit) => digit.repeat(32));
    for (const memberId of ids) {
      const portal = made.bitrix24.portal({ memberId });
      await made.send(portal.install(2));
      if (!memberId.startsWith("a")) await made.send(portal.update(3));
      if (memberId.startsWith("e")) await made.send(portal.uninstall());
    }
    const { admin } = made.app;
    assert.deepEqual(await admin.counts(), [
      { status: "current", count: 1, version: "2.0.0" },
      { status: "current", count: 1, version: "3.0.0" },
      { status: "parked", count: 1, version: "2.0.0" },
      { status: "uninstalled", count: 1, version: "3.0.0" },
      { status: "upgrading", count: 1, version: "2.0.0" },
    ]);
    const members = async (filter: Parameters<typeof admin.portals>[0]): Promise<string> =>
      (await admin.portals(filter)).items.map(({ memberId }) => memberId[0]).join("");
    assert.equal(await members({}), "abcde");
    assert.equal(await members({ version: "2.0.0" }), "acd");
    assert.equal(await members({ status: "parked" }), "c");
    assert.equal(await members({ after: ids[1]!, limit: 2 }), "cd");
    assert.equal(await members({ after: ids[4]! }), "");
    const [run] = await admin.runs(ids[1]!);
    assert.deepEqual([run?.from, run?.to, run?.upgrades], ["2.0.0", "3.0.0", [{ upgradeId: "3", steps: [] }]]);
  });
});

describe("data of a removed portal", () => {
  it("loses its tokens at once, and the rest after retentionMs", async () => {
    const storage = memoryStorage();
    let now = Date.now();
    const made = rig({ storage, clock: () => now, limits: { retentionMs: 1000 } });
    made.app.upgrade("3", async ({ step }) => {
      await step("large", () => "x".repeat(50_000));
    });
    await updated(made);
    await made.send(made.portal.uninstall());
    const keys = async (): Promise<string[]> => {
      const found: string[] = [];
      for await (const { key } of storage.list([])) found.push(key[0]);
      return [...new Set(found)];
    };
    await assert.rejects(made.app.credentials.get(MEMBER_ID), /the app was removed from it/);
    for (const kind of ["run", "journal", "result"]) assert((await keys()).includes(kind), kind);
    now += 1000;
    await made.app.tick();
    assert.deepEqual(await keys(), ["app", "index", "portal", "recount", "snapshot", "total"]);
    const { status, generation, applied, applicationToken } = (await made.app.portal(MEMBER_ID))!;
    assert.deepEqual([status, generation, applied], ["uninstalled", 1, []]);
    assert(applicationToken?.current);
    const { value } = (await storage.get<{ runs?: unknown }>(["portal", MEMBER_ID]))!;
    assert(!("runs" in value));
    await made.send(made.portal.install(3));
    assert.equal((await made.app.portal(MEMBER_ID))?.generation, 2);
  });

  it("is not deleted if the app is installed again meanwhile", async () => {
    const storage = memoryStorage();
    let now = Date.now();
    let meanwhile: (() => Promise<unknown>) | undefined;
    const stripped: unknown[] = [];
    const hooked: Storage = {
      ...withoutWrite(storage),
      put: async (key, value, options) => {
        const next = meanwhile;
        // The record of what is purged has no address.
        if (next !== undefined && key[0] === "portal" && (value as { domain: string }).domain === "") {
          meanwhile = undefined;
          await next();
        }
        const result = await storage.put(key, value, options);
        const { status, version } = value as { status?: string; version?: string };
        if (result.ok && key[0] === "portal" && status === "installed" && version === undefined) stripped.push(value);
        return result;
      },
    };
    const options = { clock: () => now, limits: { retentionMs: 1000 } };
    const made = rig({ ...options, storage: hooked });
    const other = rig({ ...options, storage, acknowledge: "stored", fetch: made.bitrix24.fetch });
    await made.send(made.portal.install(2));
    await made.send(made.portal.uninstall());
    now += 1000;
    meanwhile = async () => {
      await other.send(made.portal.install(3));
      // It is verified after the answer.
      while ((await other.app.portal(MEMBER_ID))?.status !== "installed") {
        await new Promise((done) => setTimeout(done, 1));
      }
    };
    await made.app.tick();
    assert.equal(meanwhile, undefined);
    const { status, generation, version, domain } = (await made.app.portal(MEMBER_ID))!;
    assert.deepEqual([status, generation, version, domain], ["installed", 2, "3.0.0", "example.bitrix24.de"]);
    assert.deepEqual(stripped, []);
    assert.equal((await openedRecord(storage, MEMBER_ID))?.tokens?.length, 1);
  });
});

describe("lists of admin refuse", () => {
  const page: readonly (readonly [filter: unknown, message: string])[] = [
    [{ after: 5 }, "after 5, wanted the last member_id of a page"],
    [{ limit: "10" }, 'limit "10", wanted a whole number from 1 to 1000'],
    [{ limit: -1 }, "limit -1, wanted a whole number from 1 to 1000"],
    [{ limit: 1.5 }, "limit 1.5, wanted a whole number from 1 to 1000"],
    [{ limit: NaN }, "limit NaN, wanted a whole number from 1 to 1000"],
    [null, "options null, wanted an object with"],
  ];
  const states = '"current" or "upgrading" or "blocked" or "parked" or "uninstalled"';
  const filters: readonly (readonly [filter: unknown, message: string])[] = [
    ...page,
    [{ verison: "2.0.0" }, "the option verison that does not exist, wanted version"],
    [{ state: "parked" }, "the option state that does not exist, wanted status"],
    [{ version: 2 }, "version 2, wanted a version as in portal.version"],
    [{ status: "failed" }, `status "failed", wanted ${states}`],
    [{ domain: "" }, 'domain "", wanted a domain as in portal.domain'],
    [{ blockedOn: "scopes" }, 'blockedOn "scopes", wanted "scope" or "payment" or'],
    [{ upgradeId: 3 }, "upgradeId 3, wanted the id of an upgrade"],
  ];
  for (const [filter, message] of filters) {
    it(`portals(): ${message}`, async () => {
      const { app } = rig();
      await assert.rejects(app.admin.portals(filter as never), (error: Error) => {
        assert(error instanceof TypeError);
        assert(error.message.startsWith(`cannot list portals with ${message}`), error.message);
        return true;
      });
      await app.close();
    });
  }
  for (const [filter, message] of page) {
    it(`unverified(): ${message}`, async () => {
      const { app } = rig();
      await assert.rejects(app.admin.unverified(filter as never), (error: Error) => {
        assert(error instanceof TypeError);
        assert(error.message.startsWith(`cannot list unverified events with ${message}`), error.message);
        return true;
      });
      await app.close();
    });
  }

  it("portals() accepts every state and every block", async () => {
    const { app } = rig();
    for (const status of ["current", "upgrading", "blocked", "parked", "uninstalled"] as const) {
      assert.deepEqual(await app.admin.portals({ status }), { items: [] });
    }
    await app.close();
  });
});

describe("admin.unverified()", () => {
  it("lists the events that wait, also of unknown portals, without tokens and bodies", async () => {
    const made = scene();
    const { app, portal, send } = made;
    await send(portal.install(2));
    assert.deepEqual([(await app.admin.unverified()).items, (await app.portal(MEMBER_ID))?.unverifiedEvents], [
      [],
      undefined,
    ]);
    made.answer = () => Response.json({ error: "INTERNAL_SERVER_ERROR" }, { status: 500 });
    const update = portal.update(3, { rotateToken: true });
    await send(update);
    const install = made.bitrix24.portal({ memberId: OTHER_MEMBER_ID }).install(1);
    await send(install);
    const receivedAt = made.now;
    made.now += 30_000;
    await app.tick();
    const error = (await app.admin.unverified()).items[0]?.events[0]?.error;
    assert.match(error!, /INTERNAL_SERVER_ERROR/);
    const event = { receivedAt, attempts: 2, isTrusted: false, nextTryAt: made.now + 60_000, error };
    const [installed, updated] = [
      { ...event, name: "ONAPPINSTALL", size: install.length },
      { ...event, name: "ONAPPUPDATE", size: update.length },
    ];
    const [unknown, known] = [
      { memberId: OTHER_MEMBER_ID, isKnown: false, events: [installed] },
      { memberId: MEMBER_ID, isKnown: true, events: [updated] },
    ];
    assert.deepEqual(await app.admin.unverified(), { items: [unknown, known] });
    assert.deepEqual(await app.admin.unverified({ limit: 1 }), { items: [unknown], next: OTHER_MEMBER_ID });
    assert.deepEqual(await app.admin.unverified({ after: OTHER_MEMBER_ID }), { items: [known] });
    assert.deepEqual(await app.admin.unverified({ after: MEMBER_ID }), { items: [] });
    assert.equal((await app.portal(MEMBER_ID))?.unverifiedEvents, 1);
    assert.equal(await app.portal(OTHER_MEMBER_ID), undefined, "the portal is not stored");
    const { items: [listed] } = await app.admin.portals();
    assert.equal("unverifiedEvents" in listed!, false);
    await app.close();
  });
});
