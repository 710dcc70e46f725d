/** Lists the deliveries of a portal, wherever they are. */
import type { Entry, Key, Storage } from "../storage/storage.ts";
import { deliveryOf, runsUpgrades, type StoredDelivery, type WaitingDelivery } from "./delivery.ts";
import { DELIVERIES } from "./keys.ts";
import type { PortalRecord } from "./record.ts";

/** Maximum number of deliveries with keys of their own in memory. */
const PAGE_SIZE = 100;

/**
 * Lists the deliveries of a portal: those in its record with the first page of the others, if there are any. Each page
 * starts with those that run upgrades, then the oldest come first. `isWhole`: lists the others even if the record counts
 * none; a crash may have left some.
 */
export async function* listInbox(
  storage: Storage,
  { memberId, inbox = [], overflow }: Pick<PortalRecord, "memberId" | "inbox" | "overflow">,
  isWhole: boolean = overflow !== undefined,
): AsyncGenerator<WaitingDelivery> {
  const listed = inbox.map(({ id, ...delivery }): WaitingDelivery => ({ id, delivery }));
  if (!isWhole) return yield* inOrderOfWork(listed);
  const prefix: Key = [...DELIVERIES, memberId];
  let first = listed;
  let after: Key | undefined;
  while (true) {
    const page: Entry<StoredDelivery>[] = [];
    const options = after === undefined ? { limit: PAGE_SIZE } : { limit: PAGE_SIZE, after };
    for await (const entry of storage.list<StoredDelivery>(prefix, options)) page.push(entry);
    yield* inOrderOfWork([...first, ...page.map(deliveryOf)]);
    if (page.length < PAGE_SIZE) return;
    first = [];
    after = page.at(-1)!.key;
  }
}

function inOrderOfWork(deliveries: readonly WaitingDelivery[]): readonly WaitingDelivery[] {
  return deliveries.toSorted((a, b) =>
    Number(runsUpgrades(b.id)) - Number(runsUpgrades(a.id)) || a.delivery.receivedAt - b.delivery.receivedAt
  );
}
