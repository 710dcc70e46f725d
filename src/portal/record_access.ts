/** Access to a portal's record for code that runs with the lease of the portal or without it. */
import { UnknownPortalError } from "../errors.ts";
import type { Storage } from "../storage/storage.ts";
import type { ChangeHeld } from "./held_record.ts";
import type { PortalLease } from "./lease.ts";
import type { PortalRecord } from "./record.ts";
import { type ChangeRecord, loadOpened, writeRecord } from "./record_store.ts";

/** Reads and changes the opened record of one portal. Every function rejects with `UnknownPortalError` if it is not stored. */
export interface RecordAccess {
  readonly memberId: string;
  /** The caller holds the lease: the record is not read, and changes ride with the next write of the lease. */
  readonly isLeased: boolean;
  readonly load: () => Promise<PortalRecord>;
  /** Applies `change`, which may be called several times. `onStored` is called once it is stored. */
  readonly change: (change: ChangeHeld, onStored?: () => void) => Promise<void>;
  /** Runs work that reads and writes the stored record by itself. It sees all changes so far, and `load` sees its changes. */
  readonly runOnStored: <T>(work: () => Promise<T>) => Promise<T>;
}

/** Returns the access to a record without the lease of its portal. */
export function storedRecord(storage: Storage, memberId: string): RecordAccess {
  return {
    memberId,
    isLeased: false,
    load: () => loadOpened(storage, memberId),
    change: async (change, onStored) => {
      const known = undefined;
      const changed: ChangeRecord = (record) => {
        if (record === undefined) throw new UnknownPortalError(memberId);
        return change(record);
      };
      await writeRecord(storage, memberId, changed, known, "reread");
      onStored?.();
    },
    runOnStored: (work) => work(),
  };
}

/** Returns the access to a record for the holder of the lease of its portal. */
export function leasedRecord(lease: PortalLease): RecordAccess {
  return {
    memberId: lease.record().memberId,
    isLeased: true,
    load: lease.open,
    change: async (change, onStored) => {
      await lease.open();
      lease.stage(change, onStored);
    },
    runOnStored: async (work) => {
      await lease.flush();
      try {
        return await work();
      } finally {
        await lease.reread();
      }
    },
  };
}
