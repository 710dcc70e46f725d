import assert from "node:assert/strict";
import { memoryStorage, type PluginOutbox, RetryAfterError } from "@b24/onappupdate";
import { describe, it } from "../../../support/test.ts";
import { type ConsoleRig, consoleRig, cookiesOf } from "./_console.ts";

interface Sending extends ConsoleRig {
  readonly outboxOf: (plugin: "notifications" | "mail") => PluginOutbox;
}

/** A console over an app with two plugins, which deliver nothing: they answer "busy" to what says so. */
async function sendingRig(ofConsole: Parameters<typeof consoleRig>[1] = {}): Promise<Sending> {
  const rig = consoleRig({ storage: memoryStorage() }, ofConsole);
  const outboxes = new Map<string, PluginOutbox>();
  for (const name of ["notifications", "mail"]) {
    rig.app.use({
      name,
      setup: ({ outbox }) => void outboxes.set(name, outbox),
      outbox: {
        deliver: (message) => {
          if (message === "busy") throw new RetryAfterError(3_600_000, "429 <b>busy</b>");
          throw new Error("403 <b>removed</b>");
        },
        retry: { maxAttempts: 1 },
      },
    });
  }
  await rig.app.setUp();
  return { ...rig, outboxOf: (plugin) => outboxes.get(plugin)! };
}

/** Returns the rows of the table of channels, as the texts of their cells. */
function channelsIn(text: string): readonly (readonly string[])[] {
  const [, section = ""] = /<section class="card" aria-labelledby="channels">([^]*?)<\/section>/.exec(text) ?? [];
  return [...section.matchAll(/<tr><th scope="row"[^]*?<\/tr>/g)].map(([row]) =>
    [...row.matchAll(/<t[hd][^>]*>([^]*?)<\/t[hd]>/g)].map(([, cell]) => cell!.replace(/<[^>]*>/g, ""))
  );
}

async function fail({ app, outboxOf }: Sending): Promise<void> {
  const own = outboxOf("notifications");
  for (const id of ["1", "2"]) await own.put("dead", { id, channel: "telegram" });
  await own.put("busy", { id: "3", channel: "slack" });
  await own.put("later", { id: "4", channel: "email", notBefore: Date.now() * 2 });
  await own.put("dead", { id: "5" });
  await outboxOf("mail").put("dead", { id: "6" });
  await app.start();
  await app.tick();
  await app.settled();
}

describe("the outbox in the console", () => {
  it("shows messages and dead letters by plugin and channel, those that fail first", async () => {
    const rig = await sendingRig();
    assert.deepEqual(channelsIn((await rig.open("/outbox")).text), []);
    await fail(rig);
    const rows = channelsIn((await rig.open("/outbox")).text);
    const removed = "403 &lt;b&gt;removed&lt;/b&gt;";
    assert.deepEqual(rows[0], ["notifications · telegram", "has given up", "0", "2", removed, "Deliver again"]);
    assert.deepEqual(rows.map(([name, ...cells]) => [name, cells[0], cells[1], cells[2]]).slice(1).sort(), [
      ["mail", "has given up", "0", "1"],
      ["notifications · email", "no error", "1", "0"],
      ["notifications · slack", "retries", "1", "0"],
      ["notifications", "has given up", "0", "1"],
    ]);
    assert.deepEqual(rows.slice(3).map(([name]) => name), ["notifications · slack", "notifications · email"]);
    assert.equal(rows.find(([name]) => name === "notifications")?.at(-1), "", "it would retry those of telegram, too");
    assert.match((await rig.open("/outbox?state=dead")).text, /<div>notifications · telegram<\/div>/);
    await rig.app.close();
  });

  it("retries the dead letters of one channel", async () => {
    const rig = await sendingRig();
    await fail(rig);
    const { text } = await rig.open("/outbox");
    const path = "/act/retryOutbox?plugin=notifications&amp;channel=telegram&amp;back=%2Foutbox";
    assert.ok(text.includes(`href="${path}"`));
    const form = await rig.open(path.replaceAll("&amp;", "&"));
    assert.match(form.text, /<dt>Channel<\/dt><dd>telegram<\/dd>/);
    const letters = { plugin: "notifications", channel: "telegram" };
    const done = await rig.send("/act/retryOutbox", { ...letters, reason: "the bot is back", back: "/outbox" });
    assert.equal(done.status, 303);
    assert.match((await rig.open("/outbox", { cookie: cookiesOf(done) })).text, /2 messages are delivered again/);
    const { items: [entry] } = await rig.app.admin.audit({ action: "outbox.retry" });
    assert.deepEqual([entry?.by, entry?.details, entry?.outcome], ["ada", letters, "done"]);
    await rig.app.close();
  });

  it("says so if it has not counted all messages that wait, and is shown to who may only read", async () => {
    const rig = await sendingRig({ guard: () => ({ name: "bob", role: "read" }) });
    const notBefore = Date.now() * 2;
    for (let i = 0; i < 1000; i++) await rig.outboxOf("notifications").put("x", { channel: "slack", notBefore });
    const { text } = await rig.open("/outbox");
    assert.deepEqual(channelsIn(text), [["notifications · slack", "no error", "1,000", "0", ""]]);
    assert.match(text, /Of the first 1,000 messages that wait; there are more/);
    assert.doesNotMatch(text, /\/act\//);
    await rig.app.close();
  });
});
