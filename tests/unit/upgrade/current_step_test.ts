import assert from "node:assert/strict";
import { currentStep, type StepScope } from "@b24/onappupdate";
import { MEMBER_ID } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { OPERATOR } from "../../support/operator.ts";
import { portalOn2 } from "./_portal_on_2.ts";

describe("currentStep()", () => {
  it("returns the scope of the step, page or undo that the caller runs in, also after it has waited", async () => {
    const seen: [name: string, scope: StepScope, current: StepScope | undefined][] = [];
    const note = async (name: string, scope: StepScope): Promise<void> => {
      await new Promise((resolve) => setTimeout(resolve));
      seen.push([name, scope, currentStep()]);
    };
    let outside: unknown = "not called";
    const { app, update } = await portalOn2(async ({ step, pages }) => {
      await step("a", (scope) => note("step", scope), { undo: (_result, scope) => note("undo", scope) });
      outside = currentStep();
      await pages("b", 0, async (cursor, scope) => {
        await note(`page ${cursor}`, scope);
        return { next: cursor === 0 ? 1 : null, done: 1 };
      });
    });
    await update();
    await app.admin.rollback(MEMBER_ID, OPERATOR);
    assert.deepEqual(seen.map(([name]) => name), ["step", "page 0", "page 1", "undo"]);
    for (const [, scope, current] of seen) assert.equal(current, scope);
    assert.equal(outside, undefined);
    assert.equal(new Set(seen.map(([, { idempotencyKey }]) => idempotencyKey)).size, 4);
    assert.equal(currentStep(), undefined);
  });
});
