/**
 * The record of a portal as the holder of its lease last read or wrote it, and the changes that ride with the next write.
 * `lease.ts` sees to it that only the holder writes, one write after the other.
 */
import type { Entry, Storage } from "../storage/storage.ts";
import { knownCredentials, openKnown, readCredentials } from "./credentials_record.ts";
import { type PortalRecord, readRecord } from "./record.ts";
import { inOrder, type RecordChange, writeRecord } from "./record_store.ts";

/** A change of the record by the holder of its lease. Like that of {@linkcode ChangeRecord}, it may be called several times. */
export type ChangeHeld = (record: PortalRecord) => RecordChange;

/** A record that the holder of its lease changes. */
export interface HeldRecord {
  /** Returns the record with the staged changes. */
  readonly record: () => PortalRecord;
  /** Returns the record as it is stored. */
  readonly stored: () => PortalRecord;
  /** Applies `change` with the next write. `onStored` is called once it is stored. */
  readonly stage: (change: ChangeHeld, onStored?: () => void) => void;
  readonly hasStaged: () => boolean;
  /** Opens the record: reads the portal's credentials if they are not in memory. Resolves to it with the staged changes. */
  readonly open: () => Promise<PortalRecord>;
  /**
   * Writes the staged changes and `change`. `check` is called with the record before each attempt, and may throw. Resolves to
   * a function that calls the `onStored` of the staged changes. One call at a time.
   */
  readonly write: (
    change: (record: PortalRecord) => RecordChange | undefined,
    check: (record: PortalRecord | undefined) => void,
  ) => Promise<() => void>;
  /** Reads the record again, and resolves to it with the staged changes. `check` may throw. Not during a write. */
  readonly reread: (check: (record: PortalRecord | undefined) => void) => Promise<PortalRecord>;
}

/** A change that waits for the next write. */
interface Staged {
  readonly change: ChangeHeld;
  readonly onStored: (() => void) | undefined;
}

/** Returns the record that was written with its lease. */
export function createHeldRecord(storage: Storage, acquired: Entry<PortalRecord>): HeldRecord {
  let entry = acquired;
  let staged: readonly Staged[] = [];
  let writes = 0;
  /** The last writes, if they failed: how many of the staged changes they had, by number. */
  const tried = new Map<number, number>();
  /** Something relies on it that the record is opened. */
  let isOpened = false;
  /** The record of `entry` with the staged changes, opened if the credentials are in memory. */
  let view = opened(entry.value);

  function opened(record: PortalRecord): PortalRecord {
    return openKnown(storage, record);
  }

  /** Returns the staged changes that a record lacks: the reply of a write may have been lost. */
  function unstored({ lease }: PortalRecord): readonly Staged[] {
    return staged.slice(tried.get(lease?.writes ?? 0) ?? 0);
  }

  function withStaged(stored: PortalRecord): PortalRecord {
    const record = opened(stored);
    return inOrder(record, unstored(stored).map(({ change }) => change))?.record ?? record;
  }

  return {
    record: () => view,
    stored: () => entry.value,
    stage: (change, onStored) => {
      staged = [...staged, { change, onStored }];
      view = change(view).record;
    },
    hasStaged: () => staged.length > 0,
    open: async () => {
      if (knownCredentials(storage, entry.value) === undefined) await readCredentials(storage, entry.value.memberId);
      isOpened = true;
      return view = withStaged(entry.value);
    },
    write: async (change, check) => {
      const number = ++writes;
      let written: readonly Staged[] = [];
      try {
        entry = (await writeRecord(
          storage,
          acquired.value.memberId,
          (record) => {
            check(record);
            written = staged;
            return numbered(inOrder(record!, [...unstored(record!).map(({ change }) => change), change]), number);
          },
          entry,
          isOpened ? "opened" : undefined,
        ))!;
      } catch (error) {
        tried.set(number, written.length);
        throw error;
      }
      tried.clear();
      staged = staged.slice(written.length);
      view = withStaged(entry.value);
      return () => {
        for (const { onStored } of written) onStored?.();
      };
    },
    reread: async (check) => {
      const read = await storage.get<PortalRecord>(entry.key);
      check(readRecord(read));
      entry = read!;
      return view = withStaged(entry.value);
    },
  };
}

/** Returns the change with the number of the holder's write, unless it releases the lease. */
function numbered(change: RecordChange | undefined, writes: number): RecordChange | undefined {
  const lease = change?.record.lease;
  return lease === undefined ? change : { ...change!, record: { ...change!.record, lease: { ...lease, writes } } };
}
