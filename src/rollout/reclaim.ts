/** Frees the slots of processes that have ended: the record of a portal shows its outcome. */
import type { AppRuntime } from "../plugin/runtime.ts";
import { findRecord } from "../portal/find_record.ts";
import { type Breaker, breakerOf, draftOf, endSlot, withRenewed } from "./breaker.ts";
import type { Breakers } from "./breakers.ts";
import { slotOutcome } from "./slot_outcome.ts";

/** Minimum time (ms) between two looks at the record of a portal that has a slot. */
const LOOK_MS = 60_000;

/** Frees the slots of portals whose work is over, and counts their outcomes. */
export async function reclaimSlots(
  { storage, clock, leaseMs }: Pick<AppRuntime, "storage" | "clock" | "leaseMs">,
  breakers: Breakers,
): Promise<void> {
  for (const { upgradeId, slots, resumedAt } of await breakers.all()) {
    const now = clock();
    const renewed: string[] = [];
    for (const [memberId, { until, to }] of Object.entries(slots)) {
      // A time far ahead is of a clock that was wrong.
      if (until > now && until <= now + 2 * Math.max(leaseMs, LOOK_MS)) continue;
      const entry = await findRecord(storage, memberId);
      // Another process, that can read it, works on the portal.
      if (entry === "unreadable") continue;
      const outcome = slotOutcome(entry?.value, { upgradeId, to, now, resumedAt });
      await breakers.change(upgradeId, (breaker: Breaker): Breaker => {
        // Another process may have taken the slot since.
        if (breaker.slots[memberId]?.until !== until) return breaker;
        const draft = draftOf(breaker);
        endSlot(draft, memberId, outcome, now);
        return breakerOf(draft);
      });
      if (outcome === "running" || outcome === "failing") renewed.push(memberId);
    }
    if (renewed.length === 0) continue;
    await breakers.change(upgradeId, (breaker) => withRenewed(breaker, renewed, now + Math.max(leaseMs, LOOK_MS)));
  }
}
