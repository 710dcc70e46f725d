/** Registers and runs the tests of `storageConformance`, to test the suite itself. */
import { memoryStorage } from "@b24/onappupdate";
import { storageConformance, type StorageConformanceOptions } from "@b24/onappupdate/testing";

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
