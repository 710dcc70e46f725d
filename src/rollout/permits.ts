/** The slots that this process has taken for portals, until their work ends here. */
import type { AppRuntime } from "../plugin/runtime.ts";
import type { Slot } from "./breaker.ts";

/** A slot of a portal. */
interface Permit {
  readonly to: string;
  /** Monotonic time until which no other process may free the slot. */
  readonly until: number;
  /** The lease under which the portal was admitted; absent until it is. */
  readonly fencingToken?: number;
}

/** The slots of this process. */
export interface Permits {
  /** Returns a slot that is to be taken. */
  readonly newSlot: (to: string) => Slot;
  /** Notes a slot that was taken, unless it is known. Returns whether it was not. */
  readonly add: (memberId: string, upgradeId: string, to: string) => boolean;
  /** Returns whether the portal was admitted under this lease. */
  readonly isAdmitted: (memberId: string, upgradeId: string, fencingToken: number) => boolean;
  /** Admits a portal that has a slot and was not admitted yet. Returns whether it has one. */
  readonly admit: (memberId: string, upgradeId: string, fencingToken: number) => boolean;
  /** Forgets the slots of a portal, and returns them. */
  readonly remove: (memberId: string) => readonly { readonly upgradeId: string; readonly to: string }[];
  /** Returns whether the portal has a slot here. */
  readonly has: (memberId: string) => boolean;
  /** Number of portals, without those that another process works on. */
  readonly size: () => number;
}

/** Length of the name of a process in slots. */
const OWNER_LENGTH = 8;

/** Part of the time of a slot that its holder relies on: the clocks of two processes may differ by the rest. */
const HELD_PART = 2 / 3;

/** Returns the slots of a process that has none. */
export function createPermits(
  { clock, time, random, leaseMs }: Pick<AppRuntime, "clock" | "time" | "random" | "leaseMs">,
): Permits {
  const byPortal = new Map<string, Map<string, Permit>>();
  const owner = random().slice(0, OWNER_LENGTH);
  /** A portal that was not admitted in time is processed by another process. */
  const isOfUse = ({ fencingToken, until }: Permit): boolean => fencingToken !== undefined || until > time.monotonic();
  return {
    newSlot: (to) => ({ owner, until: clock() + leaseMs, to }),
    add: (memberId, upgradeId, to) => {
      const permits = byPortal.get(memberId) ?? new Map<string, Permit>();
      const known = permits.get(upgradeId);
      if (known !== undefined && isOfUse(known)) return false;
      byPortal.set(memberId, permits);
      permits.set(upgradeId, { to, until: time.monotonic() + leaseMs * HELD_PART });
      return true;
    },
    isAdmitted: (memberId, upgradeId, fencingToken) =>
      byPortal.get(memberId)?.get(upgradeId)?.fencingToken === fencingToken,
    admit: (memberId, upgradeId, fencingToken) => {
      const permits = byPortal.get(memberId);
      const permit = permits?.get(upgradeId);
      if (permit === undefined || permit.fencingToken !== undefined || permit.until <= time.monotonic()) return false;
      permits!.set(upgradeId, { ...permit, fencingToken });
      return true;
    },
    remove: (memberId) => {
      const permits = byPortal.get(memberId);
      byPortal.delete(memberId);
      return Array.from(permits ?? [], ([upgradeId, { to }]) => ({ upgradeId, to }));
    },
    has: (memberId) => byPortal.has(memberId),
    size: () => {
      for (const [memberId, permits] of byPortal) {
        if (!Array.from(permits.values()).some(isOfUse)) byPortal.delete(memberId);
      }
      return byPortal.size;
    },
  };
}
