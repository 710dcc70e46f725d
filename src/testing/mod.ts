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
export { type FakeBitrix24, fakeBitrix24, type FakeBitrix24Options } from "./fake_bitrix24.ts";
export type {
  FakeInstallOptions,
  FakePortal,
  FakePortalOptions,
  FakePortalState,
  FakeSends,
  FakeUninstallOptions,
  FakeUpdateOptions,
  FakeUserOptions,
  FakeUserReadyOptions,
} from "./fake_portal.ts";
export type { FakeEventOptions } from "./fake_event.ts";
export type { FakeDelivery, FakeHandler, FakeSent } from "./fake_sender.ts";
export { type FakeAnswers, fakeAnswers, type FakeFailOptions, type FakeFaultOptions } from "./fake_faults.ts";
export { type FakeServer, forwardingFetch } from "./fake_server.ts";
export type {
  FakeCall,
  FakeMethod,
  FakeRateLimit,
  FakeRegistration,
  FakeRegistrations,
  FakeTokens,
} from "./fake_state.ts";
export type { FakeParams } from "./fake_request.ts";
