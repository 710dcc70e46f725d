/**
 * For tests: the conformance suite for storages, storages and apps that fail on demand, and a fake Bitrix24.
 *
 * @module
 */
export { STORAGE_REQUIREMENTS, storageConformance, type StorageConformanceOptions } from "./storage/conformance.ts";
export type { StorageBackend } from "./storage/requirement.ts";
export { storageWorker, type StorageWorkerCommand } from "./storage/worker.ts";
export { type Faults, faultyStorage } from "./faulty.ts";
export { crashEverywhere } from "./crash/crash_everywhere.ts";
export type { CrashEnvironment, CrashEverywhereOptions } from "./crash/options.ts";
export type { CrashReport, RepeatedCall } from "./crash/report.ts";
export { type FakeBitrix24, fakeBitrix24, type FakeBitrix24Options } from "./bitrix24/bitrix24.ts";
export type {
  FakeInstallOptions,
  FakePortal,
  FakePortalOptions,
  FakePortalState,
  FakeSends,
  FakeUninstallOptions,
  FakeUpdateOptions,
  FakeUserReadyOptions,
} from "./bitrix24/portal.ts";
export type { FakeListOptions } from "./bitrix24/list_state.ts";
export type { FakeUserOptions } from "./bitrix24/state.ts";
export type { FakeOpenOptions } from "./bitrix24/opening.ts";
export type { FakeEventOptions, FakeForgeOptions } from "./bitrix24/event.ts";
export type { FakeDelivery, FakeHandler, FakeSent } from "./bitrix24/sender.ts";
export { type FakeAnswers, fakeAnswers, type FakeFailOptions, type FakeFaultOptions } from "./bitrix24/faults.ts";
export { type FakeServer, forwardingFetch } from "./bitrix24/server.ts";
export type {
  FakeCall,
  FakeMethod,
  FakeOutage,
  FakeRateLimit,
  FakeRegistration,
  FakeRegistrations,
  FakeTokens,
} from "./bitrix24/state.ts";
export type { FakeParams } from "./bitrix24/request.ts";
