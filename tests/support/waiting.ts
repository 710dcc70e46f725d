import type { Storage } from "@b24/onappupdate";
import type { WaitingDelivery } from "../../src/portal/delivery.ts";
import { listInbox } from "../../src/portal/inbox_list.ts";
import { portalKey } from "../../src/portal/keys.ts";
import type { PortalRecord } from "../../src/portal/record.ts";

/** Returns the deliveries of a portal that wait, wherever they are stored. */
export async function waitingDeliveries(storage: Storage, memberId: string): Promise<WaitingDelivery[]> {
  const record = (await storage.get<PortalRecord>(portalKey(memberId)))?.value ?? { memberId };
  return await Array.fromAsync(listInbox(storage, record, true));
}
