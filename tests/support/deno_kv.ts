/** Deno KV as users of either runtime open it, and a way to hurt it. */
import type { KvAtomicLike, KvEntryLike, KvLike } from "@b24/onappupdate/deno-kv-storage";
import type { StorageBackend } from "@b24/onappupdate/testing";

/** A database that is open. The handles of both libraries fit, without a cast. */
export interface OpenKv extends KvLike {
  readonly close: () => void;
}

/** `:memory:`, or a file that several processes may open. */
export async function openKv(path: string): Promise<OpenKv> {
  if ("Deno" in globalThis) return await Deno.openKv(path);
  const { openKv } = await import("@deno/kv");
  return await openKv(path);
}

type Committed = Awaited<ReturnType<KvAtomicLike["commit"]>>;

/** What happens to requests on their way to the database and back. */
export interface Way {
  /** Before a request; throws, waits, or lets it through. */
  before?: ((method: "get" | "list" | "commit") => unknown) | undefined;
  /** After a commit was done. */
  after?: ((committed: Committed) => unknown) | undefined;
}

/** `kv` at the end of a way that changes while it is used. */
export function kvBehind(kv: KvLike, way: Way): KvLike {
  const behind = (operation: KvAtomicLike): KvAtomicLike => ({
    check: (check) => behind(operation.check(check)),
    set: (key, value, options) => behind(operation.set(key, value, options)),
    delete: (key) => behind(operation.delete(key)),
    commit: async () => {
      await way.before?.("commit");
      const committed = await operation.commit();
      await way.after?.(committed);
      return committed;
    },
  });
  return {
    get: async (key) => {
      await way.before?.("get");
      return await kv.get(key);
    },
    list: async function* (range, options): AsyncGenerator<KvEntryLike> {
      await way.before?.("list");
      yield* kv.list(range, options);
    },
    atomic: () => behind(kv.atomic()),
  };
}

/** What the battery does to the database, by what happens on the way to it. */
export function hurting(way: Way): Required<StorageBackend> {
  const before = (run: Way["before"]) => (): Promise<void> => {
    way.before = run;
    return Promise.resolve();
  };
  return {
    stop: before(() => {
      throw new Error("connection refused");
    }),
    start: before(undefined),
    delay: (ms) => before(() => new Promise((resolve) => setTimeout(resolve, ms)))(),
    loseReply: () => {
      way.after = ({ ok }) => {
        if (!ok) return;
        way.after = undefined;
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
