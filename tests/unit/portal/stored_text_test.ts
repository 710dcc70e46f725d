import assert from "node:assert/strict";
import { B24Error, memoryStorage, NonRetriableError, type Plugin } from "@b24/onappupdate";
import { storedText } from "../../../src/portal/stored_text.ts";
import { MEMBER_ID, rig } from "../../support/app.ts";
import { installPortal, scene } from "../../support/scene.ts";
import { describe, it } from "../../support/test.ts";

describe("storedText()", () => {
  it("keeps 4,000 characters, and no half of one", () => {
    assert.equal(storedText("x".repeat(4000)), "x".repeat(4000));
    assert.equal(storedText("x".repeat(4001)), `${"x".repeat(3999)}…`);
    assert.equal(storedText(`${"x".repeat(3998)}😀😀`), `${"x".repeat(3998)}…`);
  });
});

const LONG = "long text, ".repeat(100_000);

describe("a text of 1 MB is cut where it is stored, and whole in the log, if it is", () => {
  const ERRORS: Readonly<Record<string, () => Error>> = {
    "the message of an error": () => new Error(LONG),
    "the message of a NonRetriableError": () => new NonRetriableError(LONG),
    "the message of a cause": () => new Error("no", { cause: new Error(LONG) }),
    "the description of an error that blocks the portal": () =>
      new B24Error({ code: "PAYMENT_REQUIRED", description: LONG, status: 402, method: "profile" }),
  };
  for (const [name, error] of Object.entries(ERRORS)) {
    it(`${name}, of a step and of a handler`, async () => {
      const storage = memoryStorage();
      const { app, portal, send, lines } = rig({ storage });
      app.upgrade("3", ({ step }) => step("one", () => Promise.reject(error())))
        .on("ONCRMDEALADD", () => Promise.reject(error()));
      await send(portal.install(2));
      await send(portal.update(3));
      await send(portal.event("ONCRMDEALADD", { "FIELDS[ID]": "7" }));
      for await (const { key, value } of storage.list([])) {
        const { length } = JSON.stringify(value);
        assert(length < 20_000, `${key}: ${length}`);
      }
      assert(lines.some((line) => line.includes(LONG)));
      const { failure, blocked } = (await app.portal(MEMBER_ID))!;
      assert((failure ?? blocked)!.message.length <= 4000);
      if (name.includes("NonRetriableError")) assert.equal(failure?.retryAt, undefined);
      await app.close();
    });
  }

  it("the message of an error that was thrown by a plugin", async () => {
    const { app, portal, send } = rig();
    const around: Plugin["around"] = ({ event }, next) =>
      event.name === "ONAPPUPDATE" ? Promise.reject(new Error(LONG)) : next();
    app.use({ name: "broken", around });
    await send(portal.install(2));
    await send(portal.update(3));
    assert.equal((await app.portal(MEMBER_ID))?.failure?.message.length, 4000);
    await app.close();
  });

  it("a note of progress", async () => {
    const { app, portal, send } = rig();
    app.upgrade("3", async ({ progress, sleep }) => {
      await progress(1, 2, LONG);
      await sleep("a while", 60_000);
    });
    await send(portal.install(2));
    await send(portal.update(3));
    assert.equal((await app.portal(MEMBER_ID))?.run?.progress?.note?.length, 4000);
    await app.close();
  });

  it("the description of a portal's refusal outside of handlers", async () => {
    const made = scene();
    await installPortal(made);
    const options = { code: "PAYMENT_REQUIRED", description: LONG, status: 402, method: "profile" };
    const call = made.app.credentials.call(MEMBER_ID, () => Promise.reject(new B24Error(options)));
    await assert.rejects(call, B24Error);
    const { blocked } = (await made.app.portal(MEMBER_ID))!;
    assert.equal(blocked?.on, "payment");
    assert(blocked.message.length <= 4000);
    assert(JSON.stringify(await made.stored()).length < 20_000);
    await made.app.close();
  });
});
