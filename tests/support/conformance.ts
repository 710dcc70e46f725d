/** Registers and runs the tests of `storageConformance`, to test the suite itself. */
import { memoryStorage } from "@b24/onappupdate";
import type { Storage } from "@b24/onappupdate";
import {
  type Faults,
  faultyStorage,
  storageConformance,
  type StorageConformanceOptions,
} from "@b24/onappupdate/testing";

export type Tests = readonly { readonly name: string; readonly fn: () => Promise<void> }[];

/** Returns the tests for memory storage, or as `options` say. */
export function register(options: Partial<StorageConformanceOptions> = {}): Tests {
  const tests: { name: string; fn: () => Promise<void> }[] = [];
  storageConformance({
    name: "mine",
    test: (name, fn) => tests.push({ name, fn }),
    clock: "injected",
    create: (clock) => memoryStorage({ clock }),
    ...options,
  });
  return tests;
}

/** Runs tests and returns the error messages of those that fail, by the number of the requirement. */
export async function failedRequirements(tests: Tests): Promise<Map<string, string>> {
  const failed = new Map<string, string>();
  for (const { name, fn } of tests) {
    await fn().catch((error: Error) => failed.set(name.split(" ")[0]!, error.message));
  }
  return failed;
}

/** Returns options for storages in memory with faults that the suite injects. `make` returns what is tested. */
export function withFaults(
  make: (storage: Storage, faults: Faults) => Storage,
): Required<Pick<StorageConformanceOptions, "create" | "backend">> {
  const faultsOf = new WeakMap<Storage, Faults>();
  return {
    create: (clock) => {
      const faults: Faults = {};
      const storage = make(faultyStorage(memoryStorage({ clock }), faults, 1), faults);
      faultsOf.set(storage, faults);
      return storage;
    },
    backend: {
      can: ["stop", "start", "delay", "loseReply", "fill", "drain"],
      of: (storage) => {
        const set = (change: Faults): Promise<void> =>
          Promise.resolve(void Object.assign(faultsOf.get(storage)!, change));
        return {
          stop: () => set({ unavailable: 1 }),
          start: () => set({ unavailable: 0 }),
          delay: (delayMs) => set({ delayMs }),
          loseReply: () => set({ loseReplies: 1 }),
          fill: () => set({ full: 1 }),
          drain: () => set({ full: 0 }),
        };
      },
    },
  };
}
