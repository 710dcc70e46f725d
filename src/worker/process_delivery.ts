/** The work of one delivery: upgrades for one that tells of a version, the handlers of its event, and what follows a failure. */
import { type B24Event, wireName } from "../bitrix24/events.ts";
import { type Body, decodeBody, parseTree } from "../bitrix24/parse.ts";
import type { DecodeLimits } from "../bitrix24/tree.ts";
import { FormatError, UpgradeError } from "../errors.ts";
import type { HandlerContext } from "../plugin/context.ts";
import { runPipeline } from "../plugin/pipeline.ts";
import { type AppRuntime, eventLog, notify, safeError } from "../plugin/runtime.ts";
import { applyEvent, tryApplyEvent } from "../portal/apply_event.ts";
import { type Delivery, DELIVERY_FORMAT, isDone, readDelivery, type Receipt, RECEIPT_MS } from "../portal/inbox.ts";
import { receiptKey } from "../portal/keys.ts";
import { LeaseLostError, type PortalLease } from "../portal/lease.ts";
import { type PortalFailure, type PortalRecord, snapshot } from "../portal/record.ts";
import { redactError } from "../redact.ts";
import { blockedReasonOf, countsAsAttempt, nextRetryDelay, unitHash } from "../retry.ts";
import type { Entry } from "../storage/storage.ts";
import type { Upgrade } from "../upgrade/definition.ts";
import { recordBlock } from "../upgrade/block.ts";
import { Suspended } from "../upgrade/interruptions.ts";
import { NEWER_CODE_RETRY_MS, nextAction } from "../upgrade/next_action.ts";
import { runUpgrades } from "../upgrade/run.ts";
import { compareVersions } from "../version.ts";
import { syntheticUpdateEvent } from "./missed_updates.ts";

/** How the work of a delivery ended; `left`: it waits, or another worker does it. */
export type WorkResult = "handled" | "failed" | "left";

/** What became of a delivery. */
export interface Outcome {
  readonly result: WorkResult;
  /** When it is to be looked at again, in milliseconds since 1970. */
  readonly at?: number;
}

/** What is in the inbox was let in once: limits that have become tighter since must not keep it there. */
const UNLIMITED: DecodeLimits = { fields: Infinity, depth: Infinity, keyLength: Infinity, valueLength: Infinity };

/** The event of a delivery. */
export function eventIn(body: Body, receivedAt: number): B24Event {
  return parseTree(decodeBody(body, UNLIMITED), receivedAt);
}

/** Whether the upgrades of a portal are the work of a delivery: all others go on without them. */
export function tellsVersion({ key }: Entry<Delivery>): boolean {
  return /^ONAPP(UPDATE|INSTALL):/.test(key.at(-1)!);
}

/** Does the work of one delivery. Rejects only when its portal is not held any more, or the app closes. */
export async function processDelivery(
  core: AppRuntime,
  upgrades: readonly Upgrade[],
  held: PortalLease,
  entry: Entry<Delivery>,
  parsed: B24Event | undefined,
): Promise<Outcome> {
  const { storage } = core;
  const [, memberId, deliveryId] = entry.key as [string, string, string];
  let event = parsed;
  try {
    core.signal.throwIfAborted();
    const delivery = readDelivery(entry.key, entry.value);
    // Done, but a crash came before its end; or stored once more while another copy was being done.
    if (parsed === undefined && isDone(await storage.get<Receipt>(receiptKey(memberId, deliveryId)))) {
      await storage.delete(entry.key);
      return { result: "left" };
    }
    const wait = waitOf(delivery);
    if (wait !== undefined && wait > core.clock()) {
      return { result: "left", ...(wait === Infinity ? {} : { at: wait }) };
    }
    const { body, verification, receivedAt } = delivery;
    event ??= body === undefined
      ? syntheticUpdateEvent(held.record(), delivery.announced!, receivedAt)
      : eventIn(body, receivedAt);
    const facts = { verification, receivedAt, versions: core.versions };
    // Again, for a crash or a scheme that was not ready may have kept it out: taken in twice is taken in once.
    const sent = event;
    if (body !== undefined) {
      let reason: unknown;
      const next = tryApplyEvent(held.record(), sent, facts, (error) => reason = error);
      if (next === undefined) {
        // However long that takes: it is no failure, and must not be parked.
        const error = safeError(core, reason, sent, held.record());
        core.log.warn("an event waits for code that knows its version", { memberId, deliveryId, error });
        return { result: "left", at: core.clock() + NEWER_CODE_RETRY_MS };
      }
      if (next !== held.record()) await held.update((record) => applyEvent(record, sent, facts));
    }
    const blocked = nextAction(held.record(), upgrades, core.clock(), core.versions.latest);
    // What waits for its upgrades is not begun; other events go on without them.
    if (tellsVersion(entry)) {
      if (blocked.action === "parked") return { result: "left" };
      if (blocked.action === "wait") return { result: "left", at: blocked.until };
    }
    await run(core, tellsVersion(entry) ? upgrades : undefined, held, event, receivedAt);
    // It was what this event waited for.
    if (entry.value.retryAt !== undefined && held.record().blocked !== undefined) {
      await held.update(({ blocked: _, ...record }) => record);
    }
    // In this order: whoever comes between finds the one or the other.
    const receipt: Receipt = { format: DELIVERY_FORMAT };
    await storage.put(receiptKey(memberId, deliveryId), receipt, { ifVersion: null, ttlMs: RECEIPT_MS });
    await storage.delete(entry.key);
    notify(core, "eventHandled", { event });
    return { result: "handled" };
  } catch (error) {
    if (core.signal.aborted || error instanceof LeaseLostError) throw error;
    if (error instanceof Suspended) return { result: "left", at: error.until };
    if (error instanceof FormatError) {
      core.log.warn("an event is left for newer code", { memberId, deliveryId, error });
      return { result: "failed", at: core.clock() + NEWER_CODE_RETRY_MS };
    }
    return await fail(core, held, entry, event, error);
  }
}

/** Until when a delivery waits, in milliseconds since 1970; for ever when it is parked. */
function waitOf({ attempts, retryAt }: Delivery): number | undefined {
  return attempts === 0 ? retryAt : retryAt ?? Infinity;
}

/** Without `upgrades`, none is run. */
async function run(
  core: AppRuntime,
  upgrades: readonly Upgrade[] | undefined,
  held: PortalLease,
  event: B24Event,
  receivedAt: number,
): Promise<void> {
  const plugins = core.plugins.filter(({ phase }) => phase !== "verify");
  const context: HandlerContext = {
    event,
    receivedAt,
    portal: snapshot(held.record()),
    log: eventLog(core, event),
    signal: AbortSignal.any([core.signal, held.signal]),
  };
  if (event.name === "ONAPPUNINSTALL" && held.record().status === "installed") {
    // Its handlers would wipe what the newer installation has.
    context.log.warn("the removal of an earlier installation came late; its handlers are not run");
    return;
  }
  await runPipeline(plugins, context, async (ctx) => {
    if (upgrades !== undefined) await runUpgrades(core, upgrades, held, ctx);
    const handlers = core.handlers.get(wireName(event)) ?? [];
    const portal = snapshot(held.record());
    for (const handler of handlers) await handler({ ...ctx, portal });
  });
  held.signal.throwIfAborted();
}

async function fail(
  core: AppRuntime,
  held: PortalLease,
  entry: Entry<Delivery>,
  event: B24Event | undefined,
  thrown: unknown,
): Promise<Outcome> {
  const { memberId } = held.record();
  const error = event === undefined ? redactError(thrown, []) : safeError(core, thrown, event, held.record());
  const name = event === undefined ? entry.key.at(-1)! : wireName(event);
  const fields = { memberId, event: name, error };
  if (thrown instanceof UpgradeError) {
    // What is to be known of it is in the portal's record.
    notify(core, "eventFailed", { ...fields, attempt: thrown.attempt });
    const blocked = held.record().failure?.retryAt;
    return { result: "failed", ...(blocked === undefined ? {} : { at: blocked }) };
  }
  const { retryAt: _, ...delivery } = entry.value;
  const reason = blockedReasonOf(thrown);
  if (reason !== undefined) {
    await recordBlock(core, held, reason, `${name}: ${error.message}`);
    const { nextTryAt } = held.record().blocked!;
    await core.storage.put(entry.key, { ...delivery, retryAt: nextTryAt } satisfies Delivery, {
      ifVersion: entry.version,
    });
    return { result: "left", at: nextTryAt };
  }
  const attempt = entry.value.attempts + 1;
  const wait = nextRetryDelay(thrown, attempt, core.retry, unitHash(core.random()));
  const retryAt = wait === undefined ? undefined : core.clock() + wait;
  core.log.error(retryAt === undefined ? "an event is parked" : "the work of an event failed; it is tried again", {
    ...fields,
    attempt,
  });
  notify(core, "eventFailed", { ...fields, attempt });
  const attempts = countsAsAttempt(thrown) ? attempt : attempt - 1;
  const again = retryAt === undefined ? {} : { retryAt };
  const failed: Delivery = { ...delivery, attempts, error: error.message, ...again };
  await core.storage.put(entry.key, failed, { ifVersion: entry.version });
  if (tellsVersion(entry)) await recordBlocked(core, held, { attempts, at: core.clock(), ...again }, error, attempt);
  return { result: "failed", ...(retryAt === undefined ? {} : { at: retryAt }) };
}

/** Records that a portal is kept from its target by what is no upgrade. */
async function recordBlocked(
  core: AppRuntime,
  held: PortalLease,
  when: Pick<PortalFailure, "attempts" | "at" | "retryAt">,
  error: Error,
  attempt: number,
): Promise<void> {
  const isHindered = ({ status, version, target }: PortalRecord): boolean =>
    status === "installed" && version !== undefined && target !== undefined && compareVersions(version, target) < 0;
  const { memberId, version, target } = await held.update((record) =>
    isHindered(record) ? { ...record, failure: { to: record.target!, message: error.message, ...when } } : record
  );
  if (!isHindered(held.record())) return;
  const report = { memberId, from: version!, to: target!, attempt, error };
  if (when.retryAt === undefined) notify(core, "portalParked", report);
  else notify(core, "upgradeRetryScheduled", { ...report, at: when.retryAt });
}
