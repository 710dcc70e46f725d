/** From a typed event to a stored one: is it genuine, is it new, what does it change. */
import { type B24Event, wireName } from "../bitrix24/events.ts";
import type { Body } from "../bitrix24/parse.ts";
import type { WireTree } from "../bitrix24/tree.ts";
import { CannotVerifyError, NotAuthenticError, OnAppUpdateError } from "../errors.ts";
import { runPipeline } from "../plugin/pipeline.ts";
import type { Verification } from "../plugin/plugin.ts";
import { type AppRuntime, eventLog, makeContext, notify } from "../plugin/runtime.ts";
import {
  announcedVersion,
  applyOrDefer,
  type EventFacts,
  type StoredVerification,
  storeEvent,
  tryApplyEvent,
} from "../portal/apply_event.ts";
import { type Accepted, type Delivery, DELIVERY_FORMAT, deliveryId, isDone, type Receipt } from "../portal/inbox.ts";
import { deliveryKey, portalKey, receiptKey } from "../portal/keys.ts";
import { type PortalRecord, readRecord } from "../portal/record.ts";
import { commitEntry, reserveEntry, withNextDelivery } from "../portal/schedule.ts";
import { digestToken } from "../secret.ts";
import { compareVersions } from "../version.ts";

/** An event that came, and what it was made of. */
export interface Incoming {
  readonly body: Body;
  /** The body, decoded. */
  readonly tree: WireTree;
  readonly event: B24Event;
  /** Milliseconds since 1970. */
  readonly receivedAt: number;
}

/**
 * Verifies `event`, stores it and raises its portal's target. Resolves, once all of it is durable, to the delivery
 * that now waits for its work; to `undefined` when there is none: a duplicate, or nothing is registered for it.
 *
 * @throws {NotAuthenticError} when a plugin refuses it
 * @throws {CannotVerifyError} when that cannot be decided now
 * @throws {StorageError} when it cannot be stored
 * @throws {InputError} when a version is unreadable, or missing where it is needed
 */
export async function acceptEvent(
  core: AppRuntime,
  { body, tree, event, receivedAt }: Incoming,
): Promise<Accepted | undefined> {
  const { storage } = core;
  const { memberId } = event.auth;
  const id = causesWork(core, event) ? await deliveryId(event, tree) : undefined;
  const [entry, receipt] = await Promise.all([
    storage.get<PortalRecord>(portalKey(memberId)),
    id === undefined ? null : storage.get<Receipt>(receiptKey(memberId, id)),
  ]);
  const record = readRecord(entry);
  const verification = await verify(core, event, receivedAt, record);
  if (isDone(receipt)) {
    notify(core, "duplicateReceived", { event });
    return undefined;
  }
  const facts = { verification, versions: core.versions, receivedAt };
  const next = tryApplyEvent(record, event, facts);
  // What was proved may be a version of which no other event told.
  const raises = record === undefined ||
    (next !== undefined && (next.target !== record.target || isFree(record, next)));
  if (id === undefined && !raises) {
    if (next !== undefined) await storeEvent(core.storage, event, facts, entry);
    notify(core, "eventReceived", { event });
    return undefined;
  }
  const name = id ?? await deliveryId(event, tree);
  const key = deliveryKey(memberId, name);
  const delivery: Delivery = { format: DELIVERY_FORMAT, body, receivedAt, verification, attempts: 0 };
  // If this process ends before the work does, another one takes it up when the lease would have ended.
  const [stored, plan] = await Promise.all([
    storage.put(key, delivery, { ifVersion: null }),
    reserveEntry(core, memberId, core.clock() + core.leaseMs, entry),
  ]);
  let isAlone = false;
  const [isOver, raised] = await Promise.all([
    // Again, for another copy may have been finished since: whoever is done leaves the inbox only after its receipt.
    storage.get<Receipt>(receiptKey(memberId, name)).then(isDone),
    commitEntry(core, plan, (current, due) => {
      isAlone = current?.due === undefined && current?.lease === undefined;
      return withNextDelivery(applyOrDefer(current, event, facts), due);
    }),
  ]);
  // Another copy of it is on its way or done.
  if (!stored.ok || isOver) {
    if (stored.ok) await storage.delete(key);
    notify(core, "duplicateReceived", { event });
    return undefined;
  }
  reportDowngrade(core, event, facts, record);
  notify(core, "eventReceived", { event });
  const fresh = { delivery: { key, value: delivery, version: stored.version }, event, record: raised!, isAlone };
  return { memberId, deliveryId: name, fresh };
}

/** Whether what kept a portal from its target is over, or it can be asked about itself from now on. */
function isFree(record: PortalRecord, next: PortalRecord): boolean {
  const goesOn = record.blocked !== undefined && next.blocked === undefined && next.version !== next.target;
  return goesOn || (record.tokens === undefined && next.tokens !== undefined);
}

function reportDowngrade(core: AppRuntime, event: B24Event, facts: EventFacts, before: PortalRecord | undefined): void {
  const from = before?.status === "installed" ? before.version : undefined;
  const to = tryApplyEvent(before, event, facts) === undefined ? undefined : announcedVersion(event, facts);
  if (to === undefined || from === undefined || compareVersions(to, from) >= 0) return;
  const { memberId } = event.auth;
  eventLog(core, event).warn("a version below the portal's own was announced; nothing is run", { from, to });
  notify(core, "downgradeIgnored", { memberId, from, to });
}

async function verify(
  core: AppRuntime,
  event: B24Event,
  receivedAt: number,
  record: PortalRecord | undefined,
): Promise<StoredVerification> {
  const plugins = core.plugins.filter(({ phase }) => phase === "verify");
  const context = makeContext(core, event, { record, receivedAt });
  let verified: Verification | undefined;
  try {
    verified = await runPipeline(plugins, context, async () => {});
  } catch (error) {
    // What a plugin did not expect is no verification either way, and never opens the door.
    throw error instanceof OnAppUpdateError ? error : new CannotVerifyError("a plugin failed", { cause: error });
  }
  if (verified === undefined) throw new NotAuthenticError("a plugin did not let it through");
  const { applicationToken, clientEndpoint, installedVersion, scope, tokens } = verified;
  return {
    ...(applicationToken === undefined ? {} : { applicationTokenDigest: await digestToken(applicationToken) }),
    ...(clientEndpoint === undefined ? {} : { clientEndpoint }),
    ...(installedVersion === undefined ? {} : { installedVersion }),
    ...(scope === undefined ? {} : { scope }),
    ...(tokens === undefined ? {} : { tokens }),
  };
}

function causesWork(core: AppRuntime, event: B24Event): boolean {
  return event.name === "ONAPPUPDATE" || event.name === "ONAPPINSTALL" || event.name === "ONAPPUNINSTALL" ||
    core.versions.deployed !== undefined ||
    core.handlers.has(wireName(event));
}
