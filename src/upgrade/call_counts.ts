/** Counts the calls that the upgrades of a run make, by name. They are written with the next write of the portal's record. */
import { createAsyncContext } from "../net/runtime.ts";
import type { PortalRecord } from "../portal/record.ts";
import type { Installation } from "./installation.ts";
import { createStagedValue } from "./staged_value.ts";

/** Maximum number of names that a run counts, and their maximum length. */
const MAX_NAMES = 50;
const MAX_NAME_LENGTH = 100;
/** The name under which all calls with further names are counted. */
const OTHERS = "other";

const counters = createAsyncContext<(name: string) => void>();

/**
 * Counts a call, such as one of a method of REST, for the run of upgrades that the caller works for; does nothing outside of
 * upgrades. `app.admin.runs` has the counts of a run, of at most 50 names and `"other"`. Costs no write of its own: a crash
 * loses the calls that were counted since the portal's record was last written, 10 seconds at most with the default
 * `leaseMs`.
 *
 * @example
 * ```ts
 * import { countCall } from "@b24/onappupdate";
 *
 * export async function geocode(address: string): Promise<unknown> {
 *   countCall("geocoder");
 *   return await (await fetch(`https://geo.example/?q=${encodeURIComponent(address)}`)).json();
 * }
 * ```
 */
export function countCall(name: string): void {
  counters.getStore()?.(name);
}

/** The counts of calls by name. */
export type CallCounts = NonNullable<NonNullable<PortalRecord["run"]>["calls"]>;

/**
 * Runs one attempt at an upgrade, and adds the calls that it makes to the counts of the open run: until `work` ends, for a
 * handler that timed out may still be running.
 */
export async function runCounted<T>(
  installation: Pick<Installation, "record" | "stage">,
  work: () => Promise<T>,
): Promise<T> {
  let counts: CallCounts = installation.record().run?.calls ?? {};
  let hasEnded = false;
  const stage = createStagedValue(
    installation,
    (record, calls: CallCounts) => record.run === undefined ? record : { ...record, run: { ...record.run, calls } },
  );
  const count = (name: string): void => {
    if (hasEnded) return;
    const counted = nameIn(counts, name.slice(0, MAX_NAME_LENGTH));
    // Not what an object inherits.
    const before = Object.hasOwn(counts, counted) ? counts[counted]! : 0;
    stage(counts = { ...counts, [counted]: before + 1 });
  };
  try {
    return await counters.run(count, work);
  } finally {
    hasEnded = true;
  }
}

/** Returns the name under which a call is counted. */
function nameIn(counts: CallCounts, name: string): string {
  return Object.hasOwn(counts, name) || Object.keys(counts).length < MAX_NAMES ? name : OTHERS;
}
