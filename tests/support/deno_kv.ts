/** Opens Deno KV as the users of each runtime do, and injects faults. */
import type { KvAtomicLike, KvEntryLike, KvLike } from "@b24/onappupdate/deno-kv-storage";
import type { StorageBackend } from "@b24/onappupdate/testing";

/** An open database. The handles of both libraries have this type without a cast. */
export interface OpenKv extends KvLike {
  readonly close: () => void;
}

/** Opens `:memory:`, or a file, which several processes may open. */
export async function openKv(path: string): Promise<OpenKv> {
  if ("Deno" in globalThis) return await Deno.openKv(path);
  const { openKv } = await import("@deno/kv");
  return await openKv(path);
}

type Committed = Awaited<ReturnType<KvAtomicLike["commit"]>>;

/** Faults of a database. They may change while it is used. */
export interface KvFaults {
  /** Runs before a request. May throw, or delay the request. */
  before?: ((method: "get" | "list" | "commit") => unknown) | undefined;
  /** Runs after a commit. May throw: the reply is lost then. */
  after?: ((committed: Committed) => unknown) | undefined;
}

/** Returns `kv` with `faults`. */
export function faultyKv(kv: KvLike, faults: KvFaults): KvLike {
  const withFaults = (operation: KvAtomicLike): KvAtomicLike => ({
    check: (check) => withFaults(operation.check(check)),
    set: (key, value, options) => withFaults(operation.set(key, value, options)),
    delete: (key) => withFaults(operation.delete(key)),
    commit: async () => {
      await faults.before?.("commit");
      const committed = await operation.commit();
      await faults.after?.(committed);
      return committed;
    },
  });
  return {
    get: async (key) => {
      await faults.before?.("get");
      return await kv.get(key);
    },
    list: async function* (range, options): AsyncGenerator<KvEntryLike> {
      await faults.before?.("list");
      yield* kv.list(range, options);
    },
    atomic: () => withFaults(kv.atomic()),
  };
}

/** Returns the backend of the conformance suite, which sets `faults`. */
export function kvBackend(faults: KvFaults): Required<StorageBackend> {
  const before = (run: KvFaults["before"]) => (): Promise<void> => {
    faults.before = run;
    return Promise.resolve();
  };
  return {
    stop: before(() => {
      throw new Error("connection refused");
    }),
    start: before(undefined),
    delay: (ms) => before(() => new Promise((resolve) => setTimeout(resolve, ms)))(),
    loseReply: () => {
      faults.after = ({ ok }) => {
        if (!ok) return;
        faults.after = undefined;
        throw new Error("connection reset");
      };
      return Promise.resolve();
    },
    fill: before((method) => {
      if (method === "commit") throw new Error("database or disk is full");
    }),
    drain: before(undefined),
  };
}
