import assert from "node:assert/strict";
import { createApp, memoryStorage, type PluginHost, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { writeInOrder } from "@b24/onappupdate/storage";
import { storageConformance } from "@b24/onappupdate/testing";
import { pluginStorage } from "../../../src/plugin/plugin_storage.ts";
import { quietLogger, trustAll } from "../../support/app.ts";
import { describe, it, test } from "../../support/test.ts";
import { withoutWrite } from "../../support/without_write.ts";

for (const [name, inner] of [["with", (s: Storage) => s], ["without", withoutWrite]] as const) {
  storageConformance({
    name: `the storage of a plugin, ${name} write`,
    test,
    clock: "injected",
    create: (clock) => pluginStorage(inner(memoryStorage({ clock })), "chat"),
  });
}

/** Returns all keys of a storage. */
async function keysOf(storage: Storage): Promise<string[]> {
  return await Array.fromAsync(storage.list([]), ({ key }) => key.join("/"));
}

describe("the storage of a plugin", () => {
  it("has the keys under its prefix only, whatever they are", async () => {
    const storage = memoryStorage();
    await storage.put(["portal", "a"], 1);
    await storage.put(["plugin", "chatty", "a"], 1);
    await storage.put(["plugin", "cha", "t"], 1);
    const own = pluginStorage(storage, "chat");
    const keys = [["portal", "a"], [".."], ["", "portal"], ["\0"], ["chatty", "a"]] as const;
    for (const key of keys) {
      assert.equal(await own.get(key), null);
      await own.put(key, 2);
    }
    await writeInOrder(own, [{ put: ["written"], value: 3 }, { delete: ["\0"] }]);
    assert.deepEqual(await keysOf(own), ["/portal", "..", "chatty/a", "portal/a", "written"]);
    assert.deepEqual((await keysOf(storage)).filter((key) => !key.startsWith("plugin/chat/")), [
      ...["plugin/cha/t", "plugin/chatty/a", "portal/a"],
    ]);
    const after = await Array.fromAsync(own.list(["portal"], { after: ["portal", "0"] }), ({ key }) => key);
    assert.deepEqual(after, [["portal", "a"]]);
    assert.equal(own.close, undefined);
  });

  it("refuses a key without parts, which would be its prefix", async () => {
    const own = pluginStorage(memoryStorage(), "chat");
    const empty = [] as unknown as [string];
    for (const run of [() => own.get(empty), () => own.put(empty, 1), () => own.delete(empty)]) {
      await assert.rejects(run, TypeError);
    }
    await assert.rejects(() => writeInOrder(own, [{ put: empty, value: 1 }]), TypeError);
  });

  it("names an entry that cannot be read by its own key", async () => {
    const unreadable: Storage = {
      ...memoryStorage(),
      // deno-lint-ignore require-yield
      list: async function* (): AsyncGenerator<never> {
        await Promise.resolve();
        throw new StorageError("unreadable", { unreadableKey: ["plugin", "chat", "a", "b"] });
      },
    };
    const listed = Array.fromAsync(pluginStorage(unreadable, "chat").list(["a"]));
    await assert.rejects(listed, { name: "StorageError", unreadableKey: ["a", "b"] });
  });

  it("is passed to setup()", async () => {
    const storage = memoryStorage();
    const hosts: PluginHost[] = [];
    const app = createApp({ storage, logger: quietLogger, tickEveryMs: false }).use(trustAll)
      .use({ name: "one", setup: (host) => void hosts.push(host) })
      .use({ name: "two", setup: (host) => void hosts.push(host) });
    await app.setUp();
    for (const host of hosts) await host.storage.put(["portal", "a", "seen"], true);
    assert.deepEqual(await keysOf(storage), ["plugin/one/portal/a/seen", "plugin/two/portal/a/seen"]);
    // With the operators' functions of the app.
    assert.deepEqual(await hosts[0]!.admin.portals(), { items: [] });
    await app.close();
  });
});

describe("app.setUp()", () => {
  it("sets plugins up once, also before a start, and works on no portal", async () => {
    const calls: string[] = [];
    const app = createApp({ storage: memoryStorage(), logger: quietLogger, tickEveryMs: 1 }).use(trustAll).use({
      name: "plugin",
      setup: () => void calls.push("setup"),
      observe: { tickFinished: () => void calls.push("tick") },
      close: () => void calls.push("close"),
    });
    const first = app.setUp();
    assert.equal(app.setUp(), first);
    await first;
    await new Promise((resolve) => setTimeout(resolve, 5));
    assert.throws(() => app.use({ name: "late" }), TypeError);
    assert.deepEqual(calls, ["setup"]);
    await app.tick();
    await app.close();
    assert.deepEqual([calls[0], calls.at(-1), calls.filter((call) => call === "setup").length], ["setup", "close", 1]);
  });

  it("rejects as start() does", async () => {
    const app = createApp({ storage: memoryStorage(), logger: quietLogger });
    await assert.rejects(app.setUp(), /no plugin of phase "verify"/);
    await assert.rejects(app.start(), /no plugin of phase "verify"/);
    await app.close();
  });
});
