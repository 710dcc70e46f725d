import assert from "node:assert/strict";
import { type AppOptions, createApp, memoryStorage, NonRetriableError } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import {
  type CrashEnvironment,
  crashEverywhere,
  type CrashEverywhereOptions,
  type FakeBitrix24,
  fakeBitrix24,
  type FakePortal,
} from "@b24/onappupdate/testing";
import { writeInOrder } from "@b24/onappupdate/storage";
import { CLIENT_ID, MEMBER_ID } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { withoutWrite } from "../../../support/without_write.ts";

/** A new portal in each execution, which is installed at version 2 and updated to 3 and 4. */
function scene(): Required<Pick<CrashEverywhereOptions, "events" | "fetch" | "reset">> {
  let bitrix24: FakeBitrix24;
  let portal: FakePortal;
  return {
    reset: () => {
      bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
      portal = bitrix24.portal({ memberId: MEMBER_ID });
    },
    events: [() => portal.install(2), () => portal.update(3), () => portal.update(4)],
    fetch: (request) => request.url.includes("app.info") ? bitrix24.fetch(request) : new Response(),
  };
}

function app(
  environment: CrashEnvironment,
  { acknowledge = "handled", checks = false }: Pick<Partial<AppOptions>, "acknowledge" | "checks"> = {},
): ReturnType<typeof createApp> {
  return createApp({ ...environment, acknowledge, checks, clientId: CLIENT_ID }).use(applicationToken());
}

describe("crashEverywhere()", () => {
  for (const acknowledge of ["stored", "handled"] as const) {
    it(`finds no harmful crash point in an app with acknowledge "${acknowledge}"`, async () => {
      const report = await crashEverywhere({
        ...scene(),
        pairs: 10,
        app: (environment) =>
          app(environment, { acknowledge, checks: {} })
            .on(
              "ONAPPUPDATE",
              async () => void await environment.fetch("https://mail.example/told", { method: "POST" }),
            )
            .upgrade("3", async ({ step, sleep }) => {
              const id = await step("create", async ({ idempotencyKey }) => {
                await environment.fetch(`https://crm.example/${idempotencyKey}`, { method: "PUT" });
                return 7;
              });
              assert.equal(id, 7);
              await sleep("until it is there", 60_000);
              await step("use", () => {});
            })
            .upgrade("4", async ({ pages }) => {
              const all = await pages("deals", 0, async (cursor, { idempotencyKey }) => {
                await environment.fetch(`https://crm.example/deals/${cursor}?${idempotencyKey}`);
                return { next: cursor < 1 ? cursor + 1 : null, done: 1 };
              });
              assert.equal(all, 2);
            }),
      });
      assert(report.operations > 40 && report.executions > 2 * report.operations, JSON.stringify(report));
      const crm = report.repeated.filter(({ call }) => call.includes("crm.example"));
      assert.deepEqual(crm.map(({ step }) => step), ["create", "deals", "deals"]);
      for (const { idempotencyKey, times } of crm) assert(idempotencyKey !== undefined && times <= 3);
      assert.deepEqual(report.unsafe.map(({ call, step }) => [call, step]), [
        ["POST https://mail.example/told", undefined],
      ]);
    });
  }

  describe("with ordered writes", () => {
    /** Options of an app whose upgrade makes one ordered write, and records what was stored at its beginning. */
    const writing = (seen: Set<string>, atomicWrites?: boolean): CrashEverywhereOptions => ({
      ...scene(),
      ...(atomicWrites === undefined ? {} : { atomicWrites }),
      pairs: 20,
      app: (environment) =>
        app(environment).upgrade("3", async () => {
          const { storage } = environment;
          const parts = ["a", "b", "c"];
          const stored = await Promise.all(parts.map(async (part) => await storage.get(["mine", part]) && part));
          seen.add(stored.map((part) => part ?? "").join(""));
          await writeInOrder(storage, parts.map((part) => ({ put: ["mine", part], value: 1 })));
        }),
    });

    it("crashes before and after an atomic one, and not within", async () => {
      const seen = new Set<string>();
      await crashEverywhere(writing(seen));
      assert.deepEqual([...seen].sort(), ["", "abc"]);
    });

    it("crashes between the operations if they are not atomic", async () => {
      const seen = new Set<string>();
      await crashEverywhere(writing(seen, false));
      assert.deepEqual([...seen].sort(), ["", "a", "ab", "abc"]);
    });

    /** Options of an app whose upgrade fails permanently if the first and the second entry are there or not, as given. */
    const failingAt = (first: boolean, second: boolean, atomicWrites: boolean): CrashEverywhereOptions => ({
      ...scene(),
      ...{ atomicWrites, pairs: 0 },
      app: (environment) =>
        app(environment).upgrade("3", async () => {
          const { storage } = environment;
          const [a, b] = await Promise.all(["a", "b"].map((part) => storage.get(["mine", part])));
          if ((a !== null) === first && (b !== null) === second) throw new NonRetriableError("cannot go on");
          await writeInOrder(storage, [{ put: ["mine", "a"], value: 1 }, { delete: ["mine", "c"] }, {
            put: ["mine", "b"],
            value: 1,
          }]);
        }),
    });

    it("finds an app that does not survive a crash after an atomic one, and names its operations", async () => {
      await assert.rejects(
        crashEverywhere(failingAt(true, true, true)),
        /^Error: a crash after write put mine\/a, delete mine\/c, put mine\/b \(/,
      );
    });

    it("finds an app that relies on an atomic one", async () => {
      await crashEverywhere(failingAt(true, false, true));
      await assert.rejects(crashEverywhere(failingAt(true, false, false)), /^Error: a crash after put mine\/a \(/);
    });
  });

  it("reports the repeated calls that the receiver cannot recognize, and why", async () => {
    const { unsafe, repeated, text } = await crashEverywhere({
      ...scene(),
      pairs: 0,
      app: ({ fetch, ...environment }) => {
        const post = async (path: string, key?: string, body = ""): Promise<void> => {
          const headers: Record<string, string> = key === undefined ? {} : { "idempotency-key": key };
          await fetch(`https://crm.example/${path}`, { method: "POST", headers, body });
        };
        return app({ ...environment, fetch }).upgrade("3", async ({ step, memberId }) => {
          await post("outside");
          await post("outside, with a key", `greeting of ${memberId}`);
          await step("without a key", () => post("add"));
          await step("two in one", async ({ idempotencyKey }) => {
            await post("first", idempotencyKey);
            await post("second", idempotencyKey);
            await post("third", `${idempotencyKey}:third`);
          });
          await step("two of a kind", async ({ idempotencyKey }) => {
            for (const deal of ["a", "b"]) await post("deals", undefined, JSON.stringify({ deal, idempotencyKey }));
          });
          await step("elsewhere", async ({ idempotencyKey }) => {
            await post("here", idempotencyKey);
            await fetch("https://mail.example/", { method: "POST", body: idempotencyKey });
          });
          await step("no harm", async () => {
            for (const method of ["GET", "PUT", "DELETE"]) await fetch("https://crm.example/", { method });
            await fetch("https://example.bitrix24.de/rest/crm.deal.list.json", { method: "POST" });
          });
        });
      },
    });
    assert.deepEqual(unsafe.map(({ call, step, problem }) => [call.slice(25), step, problem]), [
      ["outside", undefined, "it has no idempotency key"],
      ["add", "without a key", "it has no idempotency key"],
      ["second", "two in one", "it has the idempotency key of another call, POST https://crm.example/first"],
      ["deals", "two of a kind", "it has the idempotency key of another call, POST https://crm.example/deals"],
    ]);
    for (const call of ["first", "third", "here", "outside,%20with%20a%20key"]) {
      assert(repeated.some((found) => found.call === `POST https://crm.example/${call}` && found.idempotencyKey), call);
    }
    assert.equal(repeated.filter(({ step }) => step === "no harm").length, 4);
    assert(text.includes(`
Repeated, and the receiver cannot recognize it:
- POST https://crm.example/outside, outside steps: it has no idempotency key
  up to 2 times instead of 1, as with a crash after POST https://crm.example/outside
- POST https://crm.example/add, in step "without a key": it has no idempotency key
  up to 2 times instead of 1, as with a crash after POST https://crm.example/add in step "without a key"
`));
  });

  it("lists no call as unsafe that the option says is safe", async () => {
    const asked: string[] = [];
    const { unsafe, repeated } = await crashEverywhere({
      ...scene(),
      pairs: 0,
      safe: async (request) => {
        asked.push(request.url);
        return (await request.text()).includes("upsert");
      },
      app: ({ fetch, ...environment }) =>
        app({ ...environment, fetch }).upgrade("3", async ({ step }) => {
          await step("add", async () => {
            for (const body of ["upsert", "insert"]) await fetch("https://crm.example/", { method: "POST", body });
          });
        }),
    });
    assert.deepEqual(unsafe.map(({ call, problem }) => [call, problem]), [
      ["POST https://crm.example/", "it has no idempotency key"],
    ]);
    assert.equal(repeated.filter(({ step }) => step === "add").length, 2);
    assert(asked.length > 2);
  });

  it("finds a handler that behaves differently when it is repeated, and names the difference", async () => {
    await assert.rejects(
      crashEverywhere({
        ...scene(),
        app: (environment) =>
          app(environment).upgrade("4", ({ attempt }) => {
            if (attempt > 1) throw new NonRetriableError("it was started before");
          }),
      }),
      new RegExp(
        `^Error: a crash \\w+ write put portal/${MEMBER_ID} \\(\\w+ operation \\d+\\) results in portal ${MEMBER_ID} with ` +
          `version "3\\.0\\.0" instead of "4\\.0\\.0", applied \\[\\] instead of \\["4"\\], ` +
          `failure "4: it was started before" instead of undefined`,
      ),
    );
  });

  it("does not send an event again that was answered with 200", async () => {
    const made = scene();
    let answers: number[] = [];
    const answered: number[] = [];
    await crashEverywhere({
      ...made,
      reset: () => {
        made.reset();
        answers = [];
      },
      app: (environment) => {
        const real = app(environment, { acknowledge: "stored" }).upgrade("3", () => {});
        const fetch = async (request: Request, ...platform: unknown[]): Promise<Response> => {
          const ts = Number(new URLSearchParams(await request.clone().text()).get("ts"));
          const response = await real.fetch(request, ...platform);
          if (response.status === 200) answers.push(ts);
          return response;
        };
        return Object.create(real, { fetch: { value: fetch } });
      },
      check: () => void answered.push(answers.length),
      pairs: 0,
    });
    assert.deepEqual([...new Set(answered)], [3]);
  });

  it("finds an app that loses an event that it answered with 200", async () => {
    const forgetful = ({ storage, ...environment }: CrashEnvironment): CrashEnvironment => ({
      ...environment,
      storage: {
        ...withoutWrite(storage),
        put: async (key, value, options) => {
          if (key[0] === "due") return { ok: true, version: "1" }; // no tick will find the portal
          return await storage.put(key, value, options);
        },
      },
    });
    await assert.rejects(
      crashEverywhere({
        ...scene(),
        app: (environment) => app(forgetful(environment), { acknowledge: "stored" }).upgrade("4", () => {}),
      }),
      /results in portal \w+ with .*version "\d\.0\.0" instead of "4\.0\.0"/,
    );
  });

  it("ends for an app that would check silent portals forever", async () => {
    const { executions } = await crashEverywhere({
      ...scene(),
      app: (environment) =>
        createApp({ ...environment, clientId: CLIENT_ID, clientSecret: "secret" }).use(applicationToken()),
      // Reads in `check` are not operations.
      check: async (app) => assert.equal((await app.portal(MEMBER_ID))?.version, "4.0.0"),
      pairs: 0,
    });
    assert(executions > 0);
  });

  it("throws if the app was started", async () => {
    const started = (environment: CrashEnvironment): ReturnType<typeof createApp> => {
      const made = app(environment);
      made.start();
      return made;
    };
    await assert.rejects(crashEverywhere({ ...scene(), app: started }), /"crashEverywhere".*has started/);
  });

  it("finds a step with an effect that a crash repeats", async () => {
    const made = (): CrashEverywhereOptions => {
      let invoices = 0;
      const made = scene();
      return {
        ...made,
        pairs: 0,
        reset: () => {
          made.reset();
          invoices = 0;
        },
        app: (environment) =>
          app(environment).upgrade("3", async ({ step }) => {
            await step("bill", () => void invoices++); // a mistake: an effect without the idempotency key
          }),
        check: () => assert.equal(invoices, 1, `${invoices} invoices`),
      };
    };
    await assert.rejects(
      crashEverywhere(made()),
      /^Error: a crash before write put journal\/\S+ in step "bill" \(before operation \d+\): 2 invoices/,
    );
  });

  it("throws if the app does not use the storage of the environment", async () => {
    await assert.rejects(
      crashEverywhere({
        ...scene(),
        app: (environment) =>
          createApp({ ...environment, clientId: CLIENT_ID, storage: memoryStorage() }).use(applicationToken()),
      }),
      /stored no portal in the storage of the environment/,
    );
  });
});
