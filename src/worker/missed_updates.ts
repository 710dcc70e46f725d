/** Updates and removals without an event: they are stored and processed like those with one. */
import type { UninstallEvent, UpdateEvent } from "../bitrix24/events.ts";
import { defined } from "../defined.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { withConfirmedTarget } from "../portal/event_claims.ts";
import { type Delivery, DELIVERY_FORMAT } from "../portal/inbox.ts";
import { deliveryKey, portalKey } from "../portal/keys.ts";
import type { PortalLease } from "../portal/lease.ts";
import { type PortalRecord, readRecord } from "../portal/record.ts";
import { schedulePortal } from "../portal/schedule.ts";
import type { Entry } from "../storage/storage.ts";
import { compareVersions } from "../version.ts";

/** Returns the event that an update to `version` would have caused, without tokens. `at`: milliseconds since 1970. */
export function syntheticUpdateEvent(record: PortalRecord, version: string, at: number): UpdateEvent {
  const { memberId, domain, version: previousVersion } = record;
  return {
    name: "ONAPPUPDATE",
    data: { version, ...defined({ previousVersion }), extra: {} },
    auth: { memberId, domain, scope: [], extra: {} },
    ts: Math.floor(at / 1000),
    extra: {},
  };
}

/** Stores a delivery that brings the portal to its target. Returns `undefined` if it could not be stored. */
export async function enqueueMissedUpdate(
  { storage, clock, random }: AppRuntime,
  { memberId, target }: PortalRecord,
): Promise<Entry<Delivery> | undefined> {
  const now = clock();
  const key = deliveryKey(memberId, `ONAPPUPDATE:${target}:missed:${now}:${random()}`);
  const value: Delivery = {
    format: DELIVERY_FORMAT,
    announced: target!,
    receivedAt: now,
    verification: {},
    attempts: 0,
  };
  const stored = await storage.put(key, value, { ifVersion: null });
  return stored.ok ? { key, value, version: stored.version } : undefined;
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

/** Stores the delivery of a removal that Bitrix24 confirmed after its event was dropped, and records that it is stored. */
export async function enqueueOwedRemoval({ storage, clock }: AppRuntime, lease: PortalLease): Promise<void> {
  const { memberId, owedRemoval } = lease.record();
  if (owedRemoval === undefined) return;
  const { clean, ts } = owedRemoval;
  // The same id after a crash: its handlers do not run again.
  const key = deliveryKey(memberId, `ONAPPUNINSTALL:${clean ? "clean" : "keep"}:${ts}:confirmed`);
  const value: Delivery = {
    ...{ format: DELIVERY_FORMAT, removal: owedRemoval, receivedAt: clock() },
    ...{ verification: {}, attempts: 0 },
  };
  await storage.put(key, value, { ifVersion: null });
  await lease.update(({ owedRemoval: _, ...record }) => record);
}

/** Raises the target of a portal to `version`, and schedules the portal. Resolves to whether the target was below it. */
export async function raiseTarget(runtime: AppRuntime, memberId: string, version: string): Promise<boolean> {
  const entry = await runtime.storage.get<PortalRecord>(portalKey(memberId));
  const record = readRecord(entry);
  if (record === undefined || !isTargetBelow(record, version)) return false;
  await schedulePortal(runtime, memberId, {
    at: runtime.clock(),
    change: (current) =>
      isTargetBelow(current, version) ? withConfirmedTarget({ ...current, target: version }) : undefined,
    entry,
  });
  runtime.log.debug("target raised", { event: "target.raised", memberId, from: record.target, to: version });
  return true;
}

function isTargetBelow({ status, target, version: current }: PortalRecord, version: string): boolean {
  const reference = target ?? current;
  return status === "installed" && reference !== undefined && compareVersions(reference, version) < 0;
}
