/**
 * For tests: the battery that every storage passes, storages and apps that fail on demand, and a local Bitrix24.
 *
 * @module
 */
export { STORAGE_CLAUSES, storageConformance, type StorageConformanceOptions } from "./storage_conformance.ts";
export type { StorageBackend } from "./storage_clause.ts";
export { storageWorker, type StorageWorkerCommand } from "./storage_worker.ts";
export { type Faults, faulty } from "./faulty.ts";
export {
  type CrashEnvironment,
  crashEverywhere,
  type CrashEverywhereOptions,
  type CrashReport,
  type RepeatedCall,
} from "./crash_everywhere.ts";
export {
  type FakeBitrix24,
  fakeBitrix24,
  type FakeBitrix24Options,
  type FakePortal,
  type FakePortalOptions,
  type FakeUpdateOptions,
} from "./fake_bitrix24.ts";
