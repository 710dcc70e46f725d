/** Values that change often and are written with whatever else is written of the portal's record. */
import type { PortalRecord } from "../portal/record.ts";
import type { Installation } from "./installation.ts";

/**
 * Returns a function that sets a value, which is written with the next write of the portal's record. `apply` returns the
 * record with the value; it may be called several times.
 */
export function createStagedValue<T>(
  installation: Pick<Installation, "stage">,
  apply: (record: PortalRecord, value: T) => PortalRecord,
): (value: T) => void {
  let latest: T;
  let isStaged = false;
  return function set(value): void {
    latest = value;
    if (isStaged) return;
    isStaged = true;
    let written = value;
    installation.stage((record) => ({ record: apply(record, written = latest) }), () => {
      isStaged = false;
      if (written !== latest) set(latest);
    });
  };
}
