/** Updates of which no event told: they are stored and worked on like those that one told of. */
import type { UpdateEvent } from "../bitrix24/events.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { type Delivery, DELIVERY_FORMAT } from "../portal/inbox.ts";
import { deliveryKey, portalKey } from "../portal/keys.ts";
import { type PortalRecord, readRecord } from "../portal/record.ts";
import { commitEntry, reserveEntry, withNextDelivery } from "../portal/schedule.ts";
import type { Entry } from "../storage/storage.ts";
import { compareVersions } from "../version.ts";

/** The event that should have told of `version`: without tokens, and sent now. */
export function syntheticUpdateEvent(record: PortalRecord, version: string, at: number): UpdateEvent {
  const { memberId, domain, version: previousVersion } = record;
  return {
    name: "ONAPPUPDATE",
    data: { version, ...(previousVersion === undefined ? {} : { previousVersion }), extra: {} },
    auth: { memberId, domain, scope: [], extra: {} },
    ts: Math.floor(at / 1000),
    extra: {},
  };
}

/** Stores the work of bringing the portal of `record` to its target; `undefined` when it is stored already. */
export async function enqueueMissedUpdate(
  { storage, clock, random }: AppRuntime,
  { memberId, target }: PortalRecord,
): Promise<Entry<Delivery> | undefined> {
  const now = clock();
  const key = deliveryKey(memberId, `ONAPPUPDATE:${target}:unannounced:${now}:${random()}`);
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

/** Raises the target of a portal to `version`, and has it looked at. Resolves to whether it did: it may be there. */
export async function raiseTarget(core: AppRuntime, memberId: string, version: string): Promise<boolean> {
  const read = await core.storage.get<PortalRecord>(portalKey(memberId));
  const known = readRecord(read);
  if (known === undefined || !isBelow(known, version)) return false;
  await commitEntry(
    core,
    await reserveEntry(core, memberId, core.clock(), read),
    (record, due) =>
      record === undefined || !isBelow(record, version)
        ? undefined
        : withNextDelivery({ ...record, target: version }, due),
  );
  return true;
}

function isBelow({ status, target, version: on }: PortalRecord, version: string): boolean {
  if (status !== "installed") return false;
  const known = target ?? on;
  return known !== undefined && compareVersions(known, version) < 0;
}
