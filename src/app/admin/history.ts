/** The history of a portal, from which its timeline can be drawn. */
import { defined } from "../../defined.ts";
import type { PortalDelivery, PortalHistory } from "../../plugin/admin_history.ts";
import {
  type Delivery,
  deliveryOf,
  type DoneDelivery,
  isLifeCycle,
  type StoredDelivery,
} from "../../portal/delivery.ts";
import { listFailedAttempts } from "../../portal/failed_attempts.ts";
import { isHandled } from "../../portal/inbox.ts";
import { DELIVERIES, portalKey } from "../../portal/keys.ts";
import { type PortalRecord, readRecord } from "../../portal/record.ts";
import { listKeys } from "../../storage/list_keys.ts";
import type { Storage } from "../../storage/storage.ts";
import { listAllRuns } from "./runs.ts";

/** Returns the history of a portal; empty for an unknown portal. */
export async function readHistory(storage: Storage, memberId: string): Promise<PortalHistory> {
  const record = readRecord(await storage.get<PortalRecord>(portalKey(memberId)));
  if (record === undefined) return { deliveries: [], runs: [], attempts: [] };
  const deliveries = await listDeliveries(storage, record);
  const runs = await listAllRuns(storage, record);
  return { deliveries, runs, attempts: await listFailedAttempts(storage, record) };
}

async function listDeliveries(storage: Storage, record: PortalRecord): Promise<PortalDelivery[]> {
  const { memberId, inbox = [], overflow, handled = [] } = record;
  const waiting: PortalDelivery[] = [];
  // What an operator has skipped is deleted later.
  const waits = (id: string): boolean => isLifeCycle(id) && !isHandled(record, id);
  for (const { id, ...delivery } of inbox) if (waits(id)) waiting.push(waitingDelivery(id, delivery));
  if (Object.keys(overflow?.lifeCycle ?? {}).length > 0) {
    for await (const key of listKeys(storage, [...DELIVERIES, memberId])) {
      // Ordinary events may be many, and large.
      const entry = waits(key.at(-1)!) ? await storage.get<StoredDelivery>(key) : null;
      if (entry === null) continue;
      const { id, delivery } = deliveryOf(entry);
      waiting.push(waitingDelivery(id, delivery));
    }
  }
  return [...waiting, ...handled.map(finishedDelivery).toReversed()].toSorted((a, b) => b.receivedAt - a.receivedAt);
}

function waitingDelivery(id: string, { receivedAt, attempts, error, retryAt }: Delivery): PortalDelivery {
  const state = retryAt !== undefined ? "retrying" : attempts > 0 ? "parked" : "waiting";
  return { ...eventIn(id), receivedAt, state, attempts, ...defined({ error, retryAt }) };
}

function finishedDelivery([id, receivedAt, tookMs, state = "handled"]: DoneDelivery): PortalDelivery {
  return { ...eventIn(id), receivedAt, state, doneAt: receivedAt + tookMs };
}

/** Returns what the id of a delivery says about its event; see `deliveryId()`. */
function eventIn(id: string): Pick<PortalDelivery, "id" | "name" | "ts"> {
  const [name = ""] = id.split(":");
  // A missed update has a random string in its place.
  const ts = /:missed:/.test(id) ? undefined : /:(\d+)(:confirmed)?$/.exec(id)?.[1];
  return { id, name, ...defined({ ts: ts === undefined ? undefined : Number(ts) }) };
}
