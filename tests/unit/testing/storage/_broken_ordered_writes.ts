/** Storages whose `write` has one bug each, and the requirements that must detect it. */
import type { Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import type { WriteOperation, WriteResult } from "@b24/onappupdate/storage";
import type { Broken, BrokenUnderFaults } from "./_broken_storages.ts";

type Write = NonNullable<Storage["write"]>;

/** Applies one operation with `put` or `delete`. */
async function apply(storage: Storage, operation: WriteOperation): Promise<{ ok: boolean; version?: string }> {
  if (!("put" in operation)) {
    return await storage.delete(operation.delete, operation.ifVersion ? { ifVersion: operation.ifVersion } : {});
  }
  const { put: key, value, ...options } = operation;
  return await storage.put(key, value, options);
}

/** A correct `write` for storages that replace parts of it. */
const writeOf = (storage: Storage): Write => storage.write!;

export const BROKEN_WRITES: readonly Broken[] = [
  {
    does: "returns from `write` no versions of its puts",
    make: (storage) => ({
      write: async (operations, options) => {
        const result = await writeOf(storage)(operations, options);
        return result.ok ? { ok: true, versions: operations.map(() => undefined) } : result;
      },
    }),
    caught: ["11.1"],
  },
  {
    does: "forgets the deletions of a `write`",
    make: (storage) => ({
      write: async (operations, options) => {
        const result = await writeOf(storage)(operations.filter((operation) => "put" in operation), options);
        if (!result.ok) return result;
        const versions = [...result.versions];
        return { ok: true, versions: operations.map((operation) => "put" in operation ? versions.shift() : undefined) };
      },
    }),
    caught: ["11.1", "11.2"],
  },
  {
    does: "goes on in a `write` after a condition that does not hold",
    make: (storage) => ({
      write: async (operations, options) => {
        const result = await writeOf(storage)(operations, options);
        if (!result.ok) { for (const operation of operations) await apply(storage, operation); }
        return result;
      },
    }),
    caught: ["11.2"],
  },
  {
    does: "counts the operations of a `write` from 1",
    make: (storage) => ({
      write: async (operations, options) => {
        const result = await writeOf(storage)(operations, options);
        return result.ok ? result : { ok: false, failedAt: result.failedAt + 1 };
      },
    }),
    caught: ["11.2"],
  },
  {
    does: "applies the operations of a `write` in another order, up to the one that fails",
    make: (storage) => ({
      write: async (operations, options) => {
        const result = await writeOf(storage)(operations, options);
        if (!result.ok && result.failedAt > 1) await apply(storage, operations[result.failedAt - 1]!);
        return result;
      },
    }),
    caught: ["11.2"],
  },
  {
    does: "checks the conditions of a `write`, and then writes",
    make: (storage) => ({
      write: async (operations, options) => {
        for (const [i, operation] of operations.entries()) {
          if (operation.ifVersion === undefined) continue;
          const entry = await storage.get("put" in operation ? operation.put : operation.delete);
          if ((entry?.version ?? null) !== operation.ifVersion) return { ok: false, failedAt: i };
        }
        return await writeOf(storage)(operations.map(withoutCondition), options);
      },
    }),
    caught: ["11.3"],
  },
  {
    does: "ignores ttlMs in `write`",
    make: (storage) => ({
      write: (operations, options) =>
        writeOf(storage)(
          operations.map((operation) => {
            if (!("put" in operation)) return operation;
            const { ttlMs: _, ...others } = operation;
            return others;
          }),
          options,
        ),
    }),
    caught: ["11.4"],
  },
  {
    does: "checks an operation of a `write` only when it applies it",
    make: (storage) => ({
      write: async (operations, options): Promise<WriteResult> => {
        options?.signal?.throwIfAborted();
        const copies = operations.map((operation) => structuredClone(operation));
        const versions: (string | undefined)[] = [];
        for (const [i, operation] of copies.entries()) {
          const { ok, version } = await apply(storage, operation);
          if (!ok) return { ok: false, failedAt: i };
          versions.push(version);
        }
        return { ok: true, versions };
      },
    }),
    caught: ["11.5"],
  },
  {
    does: "copies the operations after `write` has returned",
    make: (storage) => ({
      write: async (operations, options) => {
        await Promise.resolve();
        return await writeOf(storage)(operations, options);
      },
    }),
    caught: ["11.6"],
  },
  {
    does: "accepts values above its maxValueBytes in `write`",
    make: ({ capabilities, put }) => ({
      capabilities: { ...capabilities, maxValueBytes: 60_000 },
      put: async (key, value, options) => {
        const bytes = JSON.stringify(value)?.length ?? 0;
        if (bytes > 60_000) throw new RangeError(`cannot put ${bytes} bytes: wanted 60000 at most`);
        return await put(key, value, options);
      },
    }),
    caught: ["11.7"],
  },
  {
    does: "rejects a `write` of many operations",
    make: (storage) => ({
      write: (operations, options) =>
        operations.length > 1000
          ? Promise.reject(new StorageError("cannot write: too many mutations"))
          : writeOf(storage)(operations, options),
    }),
    caught: ["11.8"],
  },
  {
    does: "rejects a `write` with many conditions",
    make: (storage) => ({
      write: (operations, options) =>
        operations.filter(({ ifVersion }) => ifVersion !== undefined).length > 10
          ? Promise.reject(new StorageError("cannot write: too many checks"))
          : writeOf(storage)(operations, options),
    }),
    caught: ["11.8"],
  },
  {
    does: "rejects a large `write`",
    make: (storage) => ({
      write: (operations, options) =>
        JSON.stringify(operations.map((operation) => "put" in operation && operation.value) ?? "").length > 800_000
          ? Promise.reject(new StorageError("cannot write: the operation is too large"))
          : writeOf(storage)(operations, options),
    }),
    caught: ["11.8"],
  },
  {
    does: "splits a long `write`, and sends the parts at once",
    make: (storage) => ({
      write: async (operations, options) => {
        const parts = [operations.slice(0, 1000), operations.slice(1000)] as const;
        const [first, second] = await Promise.all(parts.map((part) => writeOf(storage)(part, options)));
        if (!first!.ok) return first!;
        if (!second!.ok) return { ok: false, failedAt: second!.failedAt };
        return { ok: true, versions: [...first!.versions, ...second!.versions] };
      },
    }),
    caught: ["11.8"],
  },
];

function withoutCondition(operation: WriteOperation): WriteOperation {
  const { ifVersion: _, ...others } = operation;
  return others as WriteOperation;
}

export const BROKEN_WRITES_UNDER_FAULTS: readonly BrokenUnderFaults[] = [
  {
    does: "tries a `write` again after a lost reply, and returns the second result",
    make: (storage) => ({
      write: (operations, options) =>
        writeOf(storage)(operations, options).catch(() => writeOf(storage)(operations, options)),
    }),
    caught: ["9.6"],
  },
  {
    does: "reports a lost reply to a `write` as a refusal",
    make: (storage) => ({
      write: (operations, options) => writeOf(storage)(operations, options).catch(() => ({ ok: false, failedAt: 0 })),
    }),
    caught: ["9.6"],
  },
  {
    does: "takes a lost reply to a `write` for a success, without the versions",
    make: (storage) => ({
      write: (operations, options) =>
        writeOf(storage)(operations, options).catch(() => ({ ok: true, versions: operations.map(() => "") })),
    }),
    caught: ["9.6", "10.9"],
  },
  {
    does: "leaves out the operations of a `write` that there is no space for",
    make: (storage, faults) => ({
      write: async (operations) => {
        let failure: unknown;
        for (const operation of operations) {
          const isLarge = JSON.stringify(operation).length > 1000;
          const { full = 0 } = faults;
          faults.full = isLarge ? full : 0;
          await apply(storage, operation).catch((error) => failure = error);
          faults.full = full;
        }
        throw failure;
      },
    }),
    caught: ["10.9"],
  },
  {
    does: "applies a `write` from its end",
    make: (storage) => ({
      write: async (operations) => {
        const versions: (string | undefined)[] = [];
        for (const operation of operations.toReversed()) versions.unshift((await apply(storage, operation)).version);
        return { ok: true, versions };
      },
    }),
    caught: ["10.10"],
  },
  {
    does: "returns from `write` before it is done",
    make: (storage) => ({
      write: (operations) => {
        (async () => {
          for (const operation of operations) await apply(storage, operation);
        })().catch(() => {});
        return Promise.resolve({ ok: true, versions: operations.map(() => "soon") });
      },
    }),
    caught: ["10.10"],
  },
];
