import assert from "node:assert/strict";
import { createApp, type FinishedRun, memoryStorage } from "@b24/onappupdate";
import { readJournals } from "../../../src/portal/journal.ts";
import { resultPrefix } from "../../../src/portal/keys.ts";
import { MEMBER_ID, movableClock, post, quietLogger, rig, trustAll } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { withoutWrite } from "../../support/without_write.ts";
import { OPERATOR } from "../../support/operator.ts";

/** Numbers of steps around the ends of the first two chunks of a journal, and all between them. */
const STEPS = Array.from({ length: 34 }, (_, i) => i);

interface Outcome {
  /** The process and number of each step that ran, in order. */
  readonly ran: readonly string[];
  /** The process whose result is recorded, by number of the step. */
  readonly recorded: readonly string[];
  /** Number of stored results. */
  readonly results: number;
}

/**
 * Process "a" is paused in step `paused`. Process "b" takes the lease and resumes the run. While it is in the same step, "a"
 * continues.
 */
async function takeOver(paused: number, hasWrite: boolean): Promise<Outcome> {
  const inner = memoryStorage();
  const storage = hasWrite ? inner : withoutWrite(inner);
  const { clock, later } = movableClock();
  const ran: string[] = [];
  const make = (name: string, during: () => Promise<unknown>) =>
    createApp({ storage, clock, acknowledge: "handled", checks: false, tickEveryMs: false, logger: quietLogger })
      .use(trustAll).upgrade("3", async ({ step }) => {
        for (let i = 0; i <= paused + 1; i++) {
          await step(`${i}`, async () => {
            ran.push(`${name}${i}`);
            if (i === paused) await during();
            return [name, "x".repeat(300)];
          });
        }
      });
  const begun = Promise.withResolvers<void>();
  const resumed = Promise.withResolvers<void>();
  const a = make("a", async () => {
    begun.resolve();
    await resumed.promise;
  });
  const { portal } = rig();
  await a.fetch(post(portal.install(2)));
  const ended = a.fetch(post(portal.update(3)));
  await begun.promise;
  later();
  const b = make("b", async () => {
    resumed.resolve();
    await ended;
  });
  await b.tick();
  assert.equal((await b.portal(MEMBER_ID))?.version, "3.0.0");
  const recorded: string[] = [];
  const [{ id: runId }] = await b.admin.runs(MEMBER_ID) as [FinishedRun];
  for (const [name, , , unique] of (await readJournals(storage, MEMBER_ID, runId)).get("3")!) {
    const result = await storage.get<[string]>([...resultPrefix(MEMBER_ID), runId, unique as string]);
    recorded[Number(name)] = result!.value[0];
  }
  const results = (await Array.fromAsync(storage.list(resultPrefix(MEMBER_ID)))).length;
  await Promise.all([a.close(), b.close()]);
  return { ran, recorded, results };
}

describe("a process that lost the lease while it was paused in a step", () => {
  for (const hasWrite of [true, false]) {
    it(`records nothing and starts no step, on a storage with${hasWrite ? "" : "out"} write()`, async () => {
      for (const paused of STEPS) {
        const { ran, recorded, results } = await takeOver(paused, hasWrite);
        const before = Array.from({ length: paused }, (_, i) => `a${i}`);
        assert.deepEqual(ran, [...before, `a${paused}`, `b${paused}`, `b${paused + 1}`], `in step ${paused}`);
        assert.deepEqual(recorded, [...before.map(() => "a"), "b", "b"], `in step ${paused}`);
        // Without write(), "a" has stored a result that nobody records.
        assert.equal(results, paused + 2, `in step ${paused}`);
      }
    });
  }
});

describe("a process that was paused in an upgrade that an operator skipped", () => {
  it("records nothing", async () => {
    const storage = memoryStorage();
    const { clock, later } = movableClock();
    const begun = Promise.withResolvers<void>();
    const resumed = Promise.withResolvers<void>();
    const make = () =>
      createApp({ storage, clock, acknowledge: "handled", checks: false, tickEveryMs: false, logger: quietLogger })
        .use(trustAll).upgrade("3", async ({ step }) => {
          await step("before", () => {});
          await step("skipped", async () => {
            begun.resolve();
            await resumed.promise;
          });
        });
    const [a, b] = [make(), make()];
    const { portal } = rig();
    await a.fetch(post(portal.install(2)));
    const ended = a.fetch(post(portal.update(3)));
    await begun.promise;
    later();
    await b.admin.skip(MEMBER_ID, "3", OPERATOR);
    await b.tick();
    assert.equal((await b.portal(MEMBER_ID))?.version, "3.0.0");
    resumed.resolve();
    await ended;
    const [run] = await b.admin.runs(MEMBER_ID);
    assert.deepEqual(run?.upgrades.map(({ upgradeId, steps }) => [upgradeId, ...steps.map(({ name }) => name)]), [
      ["3", "before"],
    ]);
    await Promise.all([a.close(), b.close()]);
  });
});
