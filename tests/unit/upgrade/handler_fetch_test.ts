import assert from "node:assert/strict";
import { MEMBER_ID, type Rig, rig } from "../../support/app.ts";
import { OPERATOR } from "../../support/operator.ts";
import { describe, it } from "../../support/test.ts";

type Ask = (url: string, signal: AbortSignal) => Promise<Response>;

/** Returns an app, and answers its requests to the vendor's host by `ask`. */
function rigWith(ask: Ask): Rig {
  const made: Rig = rig({
    fetch: async (input, init) => {
      const { url } = new Request(input, init);
      return await (url.startsWith("https://vendor.example/")
        ? ask(url, init!.signal!)
        : made.bitrix24.fetch(input as string, init));
    },
  });
  return made;
}

/** Updates a portal from version 2 to 3. */
async function update({ portal, send }: Rig): Promise<void> {
  for (const body of [portal.install(2), portal.update(3)]) assert.equal(await send(body), 200);
}

describe("ctx.fetch", () => {
  it("is the fetch of the app, with the signal of the step that calls it, in runs and rollbacks", async () => {
    const asked: { readonly path: string; readonly signal: AbortSignal }[] = [];
    const made = rigWith((url, signal) => {
      asked.push({ path: new URL(url).pathname, signal });
      return Promise.resolve(Response.json({}));
    });
    const signals: AbortSignal[] = [];
    made.app.upgrade("3", async ({ fetch, step, signal, mode }) => {
      signals.push(signal);
      await fetch(`https://vendor.example/${mode}`);
      await step("one", async (scope) => {
        signals.push(scope.signal);
        await fetch("https://vendor.example/step", { method: "POST" });
      }, { undo: async () => void await fetch("https://vendor.example/undo") });
    });
    await update(made);
    await made.app.admin.rollback(MEMBER_ID, OPERATOR);
    assert.deepEqual(asked.map(({ path }) => path), ["/run", "/step", "/rollback", "/undo"]);
    assert.equal(asked[0]!.signal, signals[0]);
    assert.equal(asked[1]!.signal, signals[1]);
    assert.notEqual(signals[0], signals[1]);
    assert.ok(asked.every(({ signal }) => signal instanceof AbortSignal));
    await made.app.close();
  });

  it("is aborted with the step, and by the caller's own signal", async () => {
    const reasons: unknown[] = [];
    const made = rigWith((_url, signal) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }))
    );
    made.app.upgrade("3", async ({ fetch, step }) => {
      for (const isRequest of [false, true]) {
        const { signal, abort } = controlled();
        const url = "https://vendor.example/";
        const call = isRequest ? fetch(new Request(url, { signal })) : fetch(url, { signal });
        const failed = call.catch((error) => reasons.push(error.message));
        abort();
        await failed;
      }
      await step("times out", () => fetch("https://vendor.example/").then(() => {}), { timeoutMs: 5 });
    }, { retry: { maxAttempts: 1 } });
    await update(made);
    assert.deepEqual(reasons, ["own", "own"]);
    assert.equal((await made.app.portal(MEMBER_ID))?.failure?.message, "it took longer than 5 ms");
    await made.app.close();
  });
});

function controlled(): { readonly signal: AbortSignal; readonly abort: () => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort(new Error("own")) };
}
