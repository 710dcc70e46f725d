import assert from "node:assert/strict";
import process from "node:process";
import {
  addressesOf,
  createAsyncContext,
  findOtherThreads,
  hasherOf,
  onUnhandledRejection,
  runtimeEnvironment,
  threadsChannel,
} from "../../../src/net/runtime.ts";
import { describe, it } from "../../support/test.ts";

const denied = (): never => {
  throw new Error("denied");
};
const env = { A: "1" };

/** A Deno that has the variable, and that asks its user when it is read without a permission. */
function deno(state: string): { Deno: NonNullable<NonNullable<Parameters<typeof runtimeEnvironment>[0]>["Deno"]> } {
  return {
    Deno: {
      env: { get: (name) => state === "granted" ? `${name} of Deno` : denied() },
      permissions: {
        querySync: (wanted) => {
          assert.deepEqual(wanted, { name: "env", variable: "A" });
          return { state };
        },
      },
    },
  };
}

describe("runtimeEnvironment()", () => {
  it("reads this process's environment", () => {
    process.env["ONAPPUPDATE_TEST"] = "here";
    assert.equal(runtimeEnvironment().variable("ONAPPUPDATE_TEST"), "here");
    delete process.env["ONAPPUPDATE_TEST"];
    assert.equal(runtimeEnvironment().variable("ONAPPUPDATE_TEST"), undefined);
    assert.equal(runtimeEnvironment().isWorker, false);
  });

  it("reads the variables of Node, and node:cluster", () => {
    const getBuiltinModule = (name: string): unknown => name === "node:cluster" ? { isWorker: true } : denied();
    const { variable, isWorker } = runtimeEnvironment({ process: { env, getBuiltinModule } });
    assert.deepEqual([variable("A"), variable("B"), isWorker], ["1", undefined, true]);
  });

  it("reads the variables of Deno only with the permission, which it does not prompt for", () => {
    assert.equal(runtimeEnvironment({ ...deno("granted"), process: { env } }).variable("A"), "A of Deno");
    for (const state of ["prompt", "denied"]) {
      let read = 0;
      const runtime = deno(state);
      const counting = { ...runtime.Deno, env: { get: (): string => String(++read) } };
      assert.equal(runtimeEnvironment({ Deno: counting, process: { env } }).variable("A"), undefined);
      assert.equal(read, 0);
    }
  });

  it("recognizes Cloudflare Workers", () => {
    const on = (userAgent: string): boolean => runtimeEnvironment({ navigator: { userAgent } }).isCloudflareWorker;
    assert.deepEqual([on("Cloudflare-Workers"), on("Deno/2.9.6"), runtimeEnvironment({}).isCloudflareWorker], [
      true,
      false,
      false,
    ]);
  });

  it("says which hosts Deno allows, without prompting, and allows all in Node", () => {
    const permissions = {
      querySync: (wanted: { name: string; host?: string }) => ({
        state: wanted.host === "a:443" ? "granted" : "prompt",
      }),
    };
    const { mayConnect } = runtimeEnvironment({ Deno: { env: { get: denied }, permissions } });
    assert.deepEqual([mayConnect("a:443"), mayConnect("b:443")], [true, false]);
    assert.equal(runtimeEnvironment({ process: { env } }).mayConnect("b:443"), true);
    assert.equal(runtimeEnvironment().mayConnect("oauth.bitrix.info:443"), true);
  });

  it("says which permissions Deno has granted, without prompting, and that Node has none", () => {
    const states: Readonly<Record<string, { readonly state: string; readonly partial?: boolean }>> = {
      ...{
        net: { state: "granted", partial: true },
        env: { state: "granted" },
        read: { state: "granted", partial: false },
      },
      ...{ write: { state: "prompt" }, run: { state: "denied" } },
    };
    const permissions = {
      querySync: ({ name }: { name: string }) => states[name] ?? denied(),
    };
    assert.deepEqual(runtimeEnvironment({ Deno: { env: { get: denied }, permissions } }).permissions(), [
      { name: "net", state: "partial" },
      { name: "env", state: "granted" },
      { name: "read", state: "granted" },
      { name: "write", state: "withheld" },
      { name: "run", state: "withheld" },
    ]);
    assert.equal(runtimeEnvironment({ process: { env } }).permissions(), undefined);
  });

  it("is empty if the runtime shows nothing or throws", () => {
    const throwing = {
      get env(): never {
        return denied();
      },
      getBuiltinModule: denied,
    };
    const lacking = { env: { get: denied } } as unknown as NonNullable<ReturnType<typeof deno>["Deno"]>;
    for (const runtime of [{}, { process: {} }, { process: throwing }, { Deno: lacking, process: { env } }]) {
      const { variable, isWorker } = runtimeEnvironment(runtime);
      assert.deepEqual([variable("A"), isWorker], [undefined, false]);
    }
  });
});

describe("findOtherThreads()", () => {
  it("is about one program, and a channel that throws harms nothing", () => {
    const names = [{ process: { argv: ["node", "a.js"] } }, { process: { argv: ["node", "b.js"] } }, {}].map(
      threadsChannel,
    );
    assert.deepEqual(names, ["@b24/onappupdate a.js", "@b24/onappupdate b.js", "@b24/onappupdate "]);
    let channel: Broken | undefined;
    class Broken {
      onmessage: ((event: { readonly data: unknown }) => void) | null = null;
      readonly postMessage = denied;
      readonly close = denied;
      constructor() {
        channel = this;
      }
    }
    let found = 0;
    const end = findOtherThreads(() => void found++, { BroadcastChannel: Broken });
    for (let i = 0; i < 2; i++) channel!.onmessage!({ data: "another" });
    end();
    channel!.onmessage!({ data: "another" });
    assert.equal(found, 1);
  });

  it("finds nothing in its own thread, or without BroadcastChannel", async () => {
    const found: string[] = [];
    const ends = ["a", "b"].map((name) => findOtherThreads(() => void found.push(name)));
    const probe = new BroadcastChannel(threadsChannel());
    const heard = new Promise((resolve) => probe.onmessage = resolve);
    ends.push(findOtherThreads(() => void found.push("c")), findOtherThreads(() => void found.push("d"), {}));
    await heard;
    for (const end of ends) end();
    probe.close();
    assert.deepEqual(found, []);
  });
});

describe("addressesOf()", () => {
  const found = [{ address: "93.184.216.34" }, { address: "2606:4700::1111" }];
  const process = (lookup: () => Promise<unknown>) => ({
    getBuiltinModule: (name: string) => name === "node:dns" ? { promises: { lookup } } : denied(),
  });
  const asked = (state: string) => ({
    env: { get: denied },
    permissions: {
      querySync: (wanted: object): { state: string } => {
        assert.deepEqual(wanted, { name: "net", host: "crm.customer.com" });
        return { state };
      },
    },
  });

  it("returns all addresses of the resolver", async () => {
    const runtime = { process: process(() => Promise.resolve(found)) };
    const addresses = ["93.184.216.34", "2606:4700::1111"];
    assert.deepEqual(await addressesOf("crm.customer.com", runtime), addresses);
    assert.deepEqual(await addressesOf("crm.customer.com", { ...runtime, Deno: asked("granted") }), addresses);
  });

  it("resolves localhost", async () => {
    for (const address of (await addressesOf("localhost"))!) assert.match(address, /^(127\.|::1$)/);
  });

  it("returns undefined if lookups are not possible, without a prompt", async () => {
    const runtime = { process: process(() => Promise.reject(new Error("not implemented"))) };
    assert.equal(await addressesOf("crm.customer.com", runtime), undefined);
    assert.equal(await addressesOf("crm.customer.com", {}), undefined);
    assert.equal(await addressesOf("crm.customer.com", { process: { getBuiltinModule: denied } }), undefined);
    const never = { process: process(denied), Deno: asked("prompt") };
    assert.equal(await addressesOf("crm.customer.com", never), undefined);
  });

  it("rejects for an unknown host", async () => {
    const lookup = (): Promise<never> => Promise.reject(Object.assign(new Error("no"), { code: "ENOTFOUND" }));
    await assert.rejects(addressesOf("crm.customer.com", { process: process(lookup) }), { code: "ENOTFOUND" });
  });
});

describe("createAsyncContext()", () => {
  it("follows asynchronous calls", async () => {
    const context = createAsyncContext<string>();
    const stores = await Promise.all(["a", "b"].map((store) =>
      context.run(store, async () => {
        await new Promise((resolve) => setTimeout(resolve, 1));
        return context.getStore();
      })
    ));
    assert.deepEqual([stores, context.getStore()], [["a", "b"], undefined]);
  });

  it("runs the work, and has no data, in an environment without contexts", () => {
    for (const runtime of [{}, { process: {} }, { process: { getBuiltinModule: denied } }]) {
      const context = createAsyncContext<string>(runtime);
      assert.deepEqual([context.run("a", () => context.getStore() ?? "none"), context.getStore()], ["none", undefined]);
    }
  });
});

describe("onUnhandledRejection()", () => {
  it("ends the process on Node as if nobody listened, unless the rejection was handled or others listen", () => {
    let listener: ((reason: unknown) => void) | undefined;
    let listeners = 1;
    const runtime = {
      process: {
        on: (_name: string, added: typeof listener) => listener = added,
        off: (_name: string, removed: typeof listener) => assert.equal(removed, listener),
        listenerCount: () => listeners,
      },
    };
    const undo = onUnhandledRejection((reason) => reason === "ours", runtime);
    listener!("ours");
    assert.throws(() => listener!(new RangeError("foreign")), RangeError);
    listeners = 2;
    listener!(new RangeError("foreign"));
    undo();
  });

  it("prevents the end of the process elsewhere, if the rejection was handled", () => {
    const target = new EventTarget();
    const undo = onUnhandledRejection((reason) => reason === "ours", target as object);
    const isPrevented = (reason: string): boolean => {
      const event = Object.assign(new Event("unhandledrejection", { cancelable: true }), { reason });
      return !target.dispatchEvent(event);
    };
    assert.deepEqual([isPrevented("ours"), isPrevented("foreign")], [true, false]);
    undo();
    assert.equal(isPrevented("ours"), false);
  });
});

describe("hasherOf()", () => {
  const ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

  it("hashes at once where node:crypto is", () => {
    assert.equal(hasherOf()("abc"), ABC);
  });

  it("hashes elsewhere too, also if node:crypto may not be loaded", async () => {
    const forbidden = (): never => {
      throw new Error("not available");
    };
    assert.equal(await hasherOf({})("abc"), ABC);
    assert.equal(await hasherOf({ process: { getBuiltinModule: forbidden } })("abc"), ABC);
    assert.equal(await hasherOf({ process: { getBuiltinModule: () => undefined } })("Ключ"), await hasherOf()("Ключ"));
  });
});
