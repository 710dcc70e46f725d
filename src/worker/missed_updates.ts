/** Updates and removals without an event: they are stored and processed like those with one. */
import type { UninstallEvent, UpdateEvent } from "../bitrix24/events.ts";
import { defined } from "../defined.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { withoutRolloutBlock } from "../portal/block.ts";
import { withConfirmedTarget } from "../portal/event_claims.ts";
import type { Delivery, WaitingDelivery } from "../portal/delivery.ts";
import { withSmallDelivery } from "../portal/inbox.ts";
import { portalKey } from "../portal/keys.ts";
import { reportedBefore, withInitialVersion } from "../portal/origin.ts";
import type { PortalLease } from "../portal/lease.ts";
import { type PortalRecord, readRecord } from "../portal/record.ts";
import { schedulePortal } from "../portal/schedule.ts";
import { compareVersions } from "../version.ts";

/** Returns the event that an update to `version` would have caused, without tokens. `at`: milliseconds since 1970. */
export function syntheticUpdateEvent(
  record: Pick<PortalRecord, "memberId" | "domain" | "version">,
  version: string,
  at: number,
): UpdateEvent {
  const { memberId, domain, version: previousVersion } = record;
  return {
    name: "ONAPPUPDATE",
    data: { version, ...defined({ previousVersion }), extra: {} },
    auth: { memberId, domain, scope: [], extra: {} },
    ts: Math.floor(at / 1000),
    extra: {},
  };
}

/** Maximum length of the part of an id that shows the version: see `DoneDelivery`. */
const MAX_VERSION_LENGTH = 20;

/** Stores a delivery that brings the portal to its target, with the next write of the record. */
export function enqueueMissedUpdate({ clock, random }: AppRuntime, lease: PortalLease): WaitingDelivery {
  const { target } = lease.record();
  const now = clock();
  const id = `ONAPPUPDATE:${target!.slice(0, MAX_VERSION_LENGTH)}:missed:${random()}`;
  const delivery: Delivery = { announced: target!, receivedAt: now, verification: {}, attempts: 0 };
  lease.stage((record) => withSmallDelivery(record, id, delivery));
  return { id, delivery };
}

/** Returns the event of a removal whose own event is gone, without tokens. */
export function syntheticRemovalEvent(
  { memberId, domain }: PortalRecord,
  { clean, ts }: NonNullable<Delivery["removal"]>,
): UninstallEvent {
  return {
    name: "ONAPPUNINSTALL",
    data: { clean, extra: {} },
    auth: { memberId, domain, scope: [], extra: {} },
    ts,
    extra: {},
  };
}

/**
 * Stores the delivery of a removal that Bitrix24 confirmed after its event was dropped, and records that it is stored, with
 * the next write of the record.
 */
export function enqueueOwedRemoval({ clock }: AppRuntime, lease: PortalLease): void {
  const { owedRemoval } = lease.record();
  if (owedRemoval === undefined) return;
  const { clean, ts } = owedRemoval;
  const id = `ONAPPUNINSTALL:${clean ? "clean" : "keep"}:${ts}:confirmed`;
  const delivery: Delivery = { removal: owedRemoval, receivedAt: clock(), verification: {}, attempts: 0 };
  lease.stage(({ owedRemoval: _, ...record }) => withSmallDelivery(record, id, delivery));
}

/** Raises the target of a portal to `version`, and schedules the portal. Resolves to whether the target was below it. */
export async function raiseTarget(runtime: AppRuntime, memberId: string, version: string): Promise<boolean> {
  const entry = await runtime.storage.get<PortalRecord>(portalKey(memberId));
  const record = readRecord(entry);
  if (record === undefined || !isTargetBelow(record, version) || runtime.rollout?.holdsBack(memberId)) return false;
  await schedulePortal(runtime, memberId, {
    at: runtime.clock(),
    change: (current) => {
      if (!isTargetBelow(current, version)) return undefined;
      // With deployed(), the versions that Bitrix24 reports say nothing about the portal's data.
      const initial = runtime.versions.deployed === undefined ? reportedBefore(current, version) : undefined;
      const located = initial === undefined ? current : withInitialVersion(current, initial);
      // It may have waited for the rollout of another target.
      return withConfirmedTarget({ ...withoutRolloutBlock(located), target: version });
    },
    entry,
  });
  runtime.log.debug("target raised", { event: "target.raised", memberId, from: record.target, to: version });
  return true;
}

function isTargetBelow({ status, target, version: current }: PortalRecord, version: string): boolean {
  const reference = target ?? current;
  return status === "installed" && reference !== undefined && compareVersions(reference, version) < 0;
}
