/** The history of a portal, from which its timeline can be drawn. */
import { defined } from "../../defined.ts";
import {
  type Delivery,
  deliveryOf,
  type DeliveryOutcome,
  type DoneDelivery,
  isLifeCycle,
  type StoredDelivery,
} from "../../portal/delivery.ts";
import { type FailedAttempt, listFailedAttempts } from "../../portal/failed_attempts.ts";
import { isHandled } from "../../portal/inbox.ts";
import { DELIVERIES, portalKey } from "../../portal/keys.ts";
import { type PortalRecord, readRecord } from "../../portal/record.ts";
import { listKeys } from "../../storage/list_keys.ts";
import type { Storage } from "../../storage/storage.ts";
import { listAllRuns, type RecordedRun } from "./runs.ts";

/** What the app remembers of a portal. All lists have the newest entry first. */
export interface PortalHistory {
  /** The deliveries of life-cycle events that wait, and the last 64 that are done. */
  readonly deliveries: readonly PortalDelivery[];
  /** The current run, if there is one, and the last 20 finished ones. */
  readonly runs: readonly RecordedRun[];
  /** The last 50 failed attempts at upgrades, and at the handlers of life-cycle events. */
  readonly attempts: readonly FailedAttempt[];
}

/** An event of the app's life cycle on a portal: an installation, update, removal, payment and the like. */
export interface PortalDelivery {
  /** Id of the delivery, as in logs. */
  readonly id: string;
  /** Name of the event as Bitrix24 sends it; `ONAPPUPDATE` also of an update that a check or the deployed version caused. */
  readonly name: string;
  /** When Bitrix24 sent the event, in seconds since 1970, by its clock; absent if it sent none. */
  readonly ts?: number;
  /** When the app received it, in milliseconds since 1970. */
  readonly receivedAt: number;
  /**
   * - `waiting`: its work is not done, or waits for the portal's upgrades or for Bitrix24's confirmation.
   * - `retrying`: its handlers failed, or the portal is blocked; they run again at `retryAt`.
   * - `parked`: its handlers failed permanently; it waits for `app.admin.retry`.
   * - `handled`: its handlers have run.
   * - `skipped`: a plugin did not let its handlers run, or an operator skipped them.
   * - `unconfirmed`: Bitrix24 did not confirm what it claimed, so its handlers did not run.
   * - `outdated`: the app was removed, or installed again, before its handlers could run.
   */
  readonly state: "waiting" | "retrying" | "parked" | DeliveryOutcome;
  /** When its work was done, in milliseconds since 1970; absent while it is not. */
  readonly doneAt?: number;
  /** Number of failed attempts at its handlers, while it waits; absent once it is done. */
  readonly attempts?: number;
  /** Message of the last error of its handlers, without tokens; absent if they did not fail, and once it is done. */
  readonly error?: string;
  /** When its handlers run again, in milliseconds since 1970; absent if they did not fail, and once it is done. */
  readonly retryAt?: number;
}

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
