/**
 * For tests: the battery that every storage passes.
 *
 * @module
 */
export { STORAGE_CLAUSES, storageConformance, type StorageConformanceOptions } from "./storage_conformance.ts";
export {
  type FakeBitrix24,
  fakeBitrix24,
  type FakeBitrix24Options,
  type FakePortal,
  type FakePortalOptions,
  type FakeUpdateOptions,
} from "./fake_bitrix24.ts";
