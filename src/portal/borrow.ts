/** Taking a portal for something other than its work: nobody works on it meanwhile, and what comes is taken up after. */
import { censusOf, enter } from "./census.ts";
import { type HeldPortal, holdPortal, type LeaseOptions } from "./lease.ts";

/** What portals are borrowed with. */
export interface Borrower extends LeaseOptions {
  /** Has the work of a portal begun. */
  readonly wake: (memberId: string) => void;
}

/** Runs `use` while no worker is at the portal; resolves to `undefined`, and does nothing, when one is. */
export async function borrowPortal<T>(
  borrower: Borrower,
  memberId: string,
  use: (held: HeldPortal) => Promise<T>,
): Promise<{ readonly result: T } | undefined> {
  const held = await holdPortal(borrower, memberId);
  if (held === undefined) return undefined;
  const { arrivals } = held.record();
  try {
    return { result: await use(held) };
  } finally {
    // One that was lost is another's.
    await giveBack(borrower, held, arrivals).catch(() => {});
    held.stop();
  }
}

/** Gives a portal back as it is now, counted, and has what has come since `arrivals` taken up. */
async function giveBack(
  { storage, wake }: Borrower,
  held: HeldPortal,
  arrivals: number | undefined,
): Promise<void> {
  const census = censusOf(held.record());
  if (census !== held.counted) await enter(storage, held.record());
  await held.release((record) => ({ ...record, census }));
  if (held.record().arrivals !== arrivals) wake(held.record().memberId);
}
