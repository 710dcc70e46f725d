/** Does the work of deliveries: upgrades first, then the handlers of the event; one delivery of a portal at a time. */
import { type Core, eventLog, notify, safeError } from "./core.ts";
import { FormatError } from "./errors.ts";
import { runPipeline } from "./pipeline/pipeline.ts";
import type { HandlerContext } from "./pipeline/context.ts";
import {
  type Delivery,
  DELIVERY_FORMAT,
  deliveryKey,
  isDone,
  readDelivery,
  type Receipt,
  RECEIPT_MS,
  receiptKey,
} from "./portal/inbox.ts";
import { type PortalRecord, snapshot } from "./portal/record.ts";
import { type Accepted, raise } from "./receive.ts";
import { redactError } from "./secret.ts";
import type { Entry } from "./storage/storage.ts";
import type { Upgrade } from "./upgrade/definition.ts";
import { runUpgrades } from "./upgrade/run.ts";
import { type B24Event, wireName } from "./wire/events.ts";
import { decodeBody, parseTree } from "./wire/parse.ts";
import type { DecodeLimits } from "./wire/tree.ts";

/** How the work of a delivery ended; `gone`: another worker had done it. */
export type WorkResult = "handled" | "failed" | "gone";

/** Works on deliveries in this process. */
export interface Worker {
  /** Does the work of one delivery, after those of its portal that came before. Never rejects. */
  readonly work: (accepted: Accepted) => Promise<WorkResult>;
  /** Whether the delivery is being worked on, or waits for it, in this process. */
  readonly has: (accepted: Accepted) => boolean;
  /** Resolves when nothing is under way. */
  readonly idle: () => Promise<void>;
}

/** A worker that runs `upgrades` and the handlers of `core`. */
export function createWorker(core: Core, upgrades: readonly Upgrade[]): Worker {
  /** The last piece of work of each portal that has any. */
  const queues = new Map<string, Promise<unknown>>();
  const deliveries = new Set<string>();
  const name = ({ memberId, deliveryId }: Accepted): string => `${memberId} ${deliveryId}`;
  return {
    work: (accepted) => {
      const { memberId } = accepted;
      const before = queues.get(memberId);
      // What comes before may change the record.
      const known = before === undefined ? accepted.fresh?.record : undefined;
      const work = (before ?? answerFirst()).then(() => handle(core, upgrades, accepted, known)).finally(() => {
        deliveries.delete(name(accepted));
        if (queues.get(memberId) === work) queues.delete(memberId);
      });
      queues.set(memberId, work);
      deliveries.add(name(accepted));
      return work;
    },
    has: (accepted) => deliveries.has(name(accepted)),
    idle: async () => {
      while (queues.size > 0) await Promise.all(queues.values());
    },
  };
}

/** What is in the inbox was let in once: limits that have become tighter since must not keep it there. */
const UNLIMITED: DecodeLimits = { fields: Infinity, depth: Infinity, keyLength: Infinity, valueLength: Infinity };

let answered: Promise<void> | undefined;

/** With a storage in memory, the work would otherwise be done before the answer is sent. One timer for all at once. */
function answerFirst(): Promise<void> {
  return answered ??= new Promise((resolve) =>
    setTimeout(() => {
      answered = undefined;
      resolve();
    }, 0)
  );
}

async function handle(
  core: Core,
  upgrades: readonly Upgrade[],
  accepted: Accepted,
  known: PortalRecord | undefined,
): Promise<WorkResult> {
  const { memberId, deliveryId } = accepted;
  let entry: Entry<Delivery> | undefined;
  let event: B24Event | undefined;
  let record: PortalRecord | undefined;
  try {
    core.signal.throwIfAborted();
    entry = accepted.fresh?.entry ?? await find(core, accepted);
    if (entry === undefined) return "gone";
    const { body, proof, receivedAt } = readDelivery(entry.key, entry.value);
    event = accepted.fresh?.event ?? parseTree(decodeBody(body, UNLIMITED), receivedAt);
    // Again, for a crash or a scheme that was not ready may have kept it out: taken in twice is taken in once.
    record = known ?? await raise(core, event, { proof, receivedAt, versions: core.versions });
    await run(core, upgrades, event, receivedAt, record);
    // In this order: whoever comes between finds the one or the other.
    const receipt: Receipt = { format: DELIVERY_FORMAT };
    await core.storage.put(receiptKey(memberId, deliveryId), receipt, { ifVersion: null, ttlMs: RECEIPT_MS });
    await core.storage.delete(entry.key);
    notify(core, "handled", { event });
    return "handled";
  } catch (error) {
    await fail(core, accepted, { entry, event, record }, error);
    return "failed";
  }
}

/** The delivery, if it is still to be worked on. */
async function find(core: Core, { memberId, deliveryId }: Accepted): Promise<Entry<Delivery> | undefined> {
  const entry = await core.storage.get<Delivery>(deliveryKey(memberId, deliveryId));
  if (entry === null) return undefined;
  if (!isDone(await core.storage.get<Receipt>(receiptKey(memberId, deliveryId)))) return entry;
  // Done, but a crash came before its end.
  await core.storage.delete(entry.key);
  return undefined;
}

async function run(
  core: Core,
  upgrades: readonly Upgrade[],
  event: B24Event,
  receivedAt: number,
  record: PortalRecord,
): Promise<void> {
  const plugins = core.plugins.filter(({ phase }) => phase !== "verify");
  const context: HandlerContext = {
    event,
    receivedAt,
    portal: snapshot(record),
    log: eventLog(core, event),
    signal: core.signal,
  };
  if (event.name === "ONAPPUNINSTALL" && record.status === "installed") {
    // Its handlers would wipe what the newer installation has.
    context.log.warn("the removal of an earlier installation came late; its handlers are not run");
    return;
  }
  await runPipeline(plugins, context, async (ctx) => {
    const after = await runUpgrades(core, upgrades, ctx, record);
    const handlers = core.handlers.get(wireName(event)) ?? [];
    const portal = snapshot(after);
    for (const handler of handlers) await handler({ ...ctx, portal });
  });
}

async function fail(
  core: Core,
  { memberId, deliveryId }: Accepted,
  { entry, event, record }: {
    readonly entry: Entry<Delivery> | undefined;
    readonly event: B24Event | undefined;
    readonly record: PortalRecord | undefined;
  },
  thrown: unknown,
): Promise<void> {
  if (core.signal.aborted) {
    core.log.info("the app is closing; the work of an event is left for the next tick", { memberId, deliveryId });
    return;
  }
  const error = event === undefined ? redactError(thrown, []) : safeError(thrown, event, record);
  const attempt = (entry?.value.attempts ?? 0) + 1;
  core.log.error("the work of an event failed; it is tried again", { memberId, deliveryId, attempt, error });
  notify(core, "failed", { memberId, event: event === undefined ? deliveryId : wireName(event), error, attempt });
  // What newer code wrote is not even written to for the count.
  if (entry === undefined || thrown instanceof FormatError) return;
  try {
    const failed: Delivery = { ...entry.value, attempts: attempt, error: error.message };
    await core.storage.put(entry.key, failed, { ifVersion: entry.version });
  } catch (cause) {
    // The delivery is in the inbox all the same; only the count of its attempts is behind.
    core.log.error("cannot record a failed attempt", { memberId, deliveryId, error: cause });
  }
}
