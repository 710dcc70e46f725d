/** The worker of this process: processes each portal at most once at a time, and a limited number of portals at a time. */
import { linkedSignal } from "../async/abortable.ts";
import { coalesce } from "../async/coalesce.ts";
import { delay } from "../async/time.ts";
import { defined } from "../defined.ts";
import type { ReservedSlot, ReserveSlot } from "../plugin/runtime.ts";
import type { AcceptedDelivery } from "../portal/inbox.ts";
import { entryTime } from "../portal/schedule.ts";
import type { PauseSwitch } from "./pause.ts";
import type { WorkResult } from "./process_delivery.ts";
import { type Cause, type ProcessedPortal, processPortal, type Settle, type WorkerOptions } from "./process_portal.ts";
import { releaseUnfinished } from "./release.ts";
import { createTurns, type FreeSlot, type TakenTurn, type TurnKind } from "./turns.ts";

/** Processes portals in this process. Those beyond its limit wait; the schedule has them too, so a crash loses none. */
export interface Worker {
  /** Does the work of a delivery, and all other work of its portal. */
  readonly work: (accepted: AcceptedDelivery) => Work;
  /** Reserves a slot for a portal whose event is being stored; `undefined` if its work would not begin at once. */
  readonly reserve: ReserveSlot;
  /**
   * Does all work of a portal. If the portal is being processed, or waits for a slot, returns that result. Never rejects.
   * `found`: the schedule entries that were found, if any.
   */
  readonly process: (memberId: string, found?: readonly string[]) => Promise<ProcessedPortal>;
  /**
   * Has the present state of a portal processed, also if it has changed since the portal was last looked at. Resolves once
   * the work is under way or has ended, or the portal waits for a slot. Never rejects.
   */
  readonly wake: (memberId: string) => Promise<void>;
  /** Returns whether this process is processing the portal, or the portal waits for a slot here. */
  readonly isProcessing: (memberId: string) => boolean;
  /** Resolves once few enough portals wait for a slot that more may be passed to `process`. */
  readonly room: () => Promise<void>;
  /** Ends the wait of all portals for a slot: they stay in the schedule. */
  readonly stop: () => void;
  /** Resolves when this process is processing no portal. */
  readonly idle: () => Promise<void>;
}

/** The work that a delivery has started. Its promises never reject. */
export interface Work {
  /** Resolves when the work of the delivery ends. Only with `awaitsResults`. */
  readonly result?: Promise<WorkResult>;
  /** Resolves when all work of the portal ends. */
  readonly end: Promise<unknown>;
}

/** A portal that is being processed, or waits for a slot. It holds no event: thousands may wait. */
interface PortalQueue {
  /** Ids of deliveries that were accepted after the last pass over the inbox began. */
  readonly pending: Set<string>;
  /** Callers that wait for the result of a delivery, by its id. Absent before the first one. */
  waiters: Map<string, ((result: WorkResult) => void)[]> | undefined;
  /** The delivery with which this process has taken the lease of the portal, or one that is processed at once. */
  accepted: AcceptedDelivery | undefined;
  /** The portal was woken after the last pass over it began: it may have been released by then. */
  isWoken: boolean;
  /** The first pass holds the lease of the portal, or another process does. */
  isTaken: boolean;
  /** Resolved then. Absent if nobody has waited for it. */
  taken: PromiseWithResolvers<void> | undefined;
  readonly done: Promise<ProcessedPortal>;
}

/** Limits of the worker. */
export interface ConcurrencyOptions {
  /** The maximum number of portals at a time. */
  readonly concurrency: number;
  /** While the app is paused, no portal is processed: the schedule has them. */
  readonly pauseSwitch: PauseSwitch;
  /** Whether callers wait for the results of deliveries. */
  readonly awaitsResults: boolean;
}

/** Returns the worker of an app. */
export function createWorker(options: WorkerOptions & ConcurrencyOptions): Worker {
  const { runtime, pauseSwitch, awaitsResults } = options;
  const { time } = runtime;
  const turns = createTurns(time, options.concurrency);
  const queues = new Map<string, PortalQueue>();
  /** Slots of portals whose processing has not begun. */
  const reserved = new Map<string, FreeSlot>();
  const pauses = new Map<string, Promise<void>>();

  /** With a storage in memory, the work would otherwise end before the answer is sent. All portals share one timer. */
  const afterAnswers = (): Promise<void> => coalesce(pauses, "answers", () => delay(time, 0));

  function reserve(memberId: string): ReservedSlot | undefined {
    if (queues.has(memberId) || reserved.has(memberId) || pauseSwitch.wasPaused()) return undefined;
    const slot = turns.reserve();
    if (slot === undefined) return undefined;
    reserved.set(memberId, slot);
    const isHeld = (): boolean => reserved.get(memberId) === slot;
    return {
      isHeld,
      release: () => {
        if (!isHeld()) return;
        reserved.delete(memberId);
        slot.release();
      },
    };
  }

  /** Begins the first turn of a portal, in its reserved slot if there is one. */
  function takeFirst(memberId: string): Promise<TakenTurn | undefined> {
    const slot = reserved.get(memberId);
    reserved.delete(memberId);
    return slot === undefined ? turns.take("fresh") : Promise.resolve(slot.begin("fresh"));
  }

  function start(memberId: string, found?: Cause["found"]): PortalQueue {
    const begun: Omit<PortalQueue, "done"> = {
      ...{ pending: new Set<string>(), waiters: undefined, accepted: undefined, isWoken: false },
      ...{ isTaken: false, taken: undefined },
    };
    // Not a part of the request that has caused it: a turn may process several events.
    const done = runtime.tracer.detach(() => takeFirst(memberId).then((turn) => run(memberId, begun, turn, found)));
    const queue = Object.assign(begun, { done });
    queues.set(memberId, queue);
    return queue;
  }

  async function run(
    memberId: string,
    queue: Omit<PortalQueue, "done">,
    first: TakenTurn | undefined,
    found: Cause["found"],
  ): Promise<ProcessedPortal> {
    const { pending } = queue;
    const onTaken = (): void => {
      queue.isTaken = true;
      queue.taken?.resolve();
    };
    const settle: Settle = (deliveryId, result) => {
      pending.delete(deliveryId);
      for (const resolve of queue.waiters?.get(deliveryId) ?? []) resolve(result);
      queue.waiters?.delete(deliveryId);
    };
    let total: ProcessedPortal = { handled: 0, failed: 0 };
    try {
      let turn = first;
      await afterAnswers();
      while (turn !== undefined) {
        if (await pauseSwitch.current() !== undefined) {
          turn.end();
          break;
        }
        const awaited = [...queue.waiters?.keys() ?? []];
        pending.clear();
        queue.isWoken = false;
        const { accepted } = queue;
        // While the portal waits again, it holds no event.
        queue.accepted = undefined;
        const cause: Cause = { ...defined({ accepted, found }), onTaken };
        const processed = await processInTurn(options, suspendedByPause(turn, pauseSwitch), memberId, cause, settle);
        const handled = total.handled + processed.handled;
        total = { ...processed, handled, failed: total.failed + processed.failed };
        for (const deliveryId of awaited) settle(deliveryId, "deferred");
        const next = nextKind(turn, processed, runtime.clock());
        if (pending.size === 0 && !queue.isWoken && next === undefined) break;
        turn = await turns.take(next ?? "fresh");
      }
      return total;
    } finally {
      // In the same turn of the event loop as the last look at `pending` and `isWoken`: nothing may be added to a queue that
      // has ended.
      queues.delete(memberId);
      onTaken();
      for (const deliveryId of queue.waiters?.keys() ?? []) settle(deliveryId, "deferred");
      const lease = queue.accepted?.lease;
      // It got no turn, because the app closes.
      if (lease !== undefined) await releaseUnfinished(runtime, lease).catch(() => {}).finally(lease.stop);
    }
  }

  return {
    work: (accepted) => {
      const { id: deliveryId, record: { memberId }, lease } = accepted;
      const isFirst = lease !== undefined || turns.isFree();
      const queue = queues.get(memberId) ?? start(memberId);
      queue.pending.add(deliveryId);
      const waiting = queue.accepted?.lease;
      // It has expired, or the record would not have another one.
      if (lease !== undefined) waiting?.stop();
      if (lease !== undefined || (isFirst && waiting === undefined)) queue.accepted = accepted;
      const { done: end } = queue;
      if (!awaitsResults) return { end };
      const waiters = queue.waiters ??= new Map();
      const result = new Promise<WorkResult>((resolve) => {
        waiters.set(deliveryId, [...waiters.get(deliveryId) ?? [], resolve]);
      });
      return { result, end };
    },
    reserve,
    process: (memberId, found) => (queues.get(memberId) ?? start(memberId, found)).done,
    wake: async (memberId) => {
      const isFree = turns.isFree();
      const begun = queues.get(memberId);
      if (begun !== undefined) begun.isWoken = true;
      const queue = begun ?? start(memberId);
      // The caller may have the slot that the portal waits for.
      if (isFree && !queue.isTaken) await (queue.taken ??= Promise.withResolvers()).promise;
    },
    isProcessing: (memberId) => queues.has(memberId),
    room: turns.room,
    stop: turns.close,
    idle: async () => {
      while (queues.size > 0) await Promise.all(Array.from(queues.values(), ({ done }) => done));
    },
  };
}

/** Returns the turn; a run is also suspended, at its next step or page, when the app is paused. */
function suspendedByPause(turn: TakenTurn, { isPaused }: PauseSwitch): TakenTurn {
  return { ...turn, yields: () => turn.yields() || isPaused() };
}

async function processInTurn(
  options: WorkerOptions,
  turn: TakenTurn,
  memberId: string,
  cause: Cause,
  settle: Settle,
): Promise<ProcessedPortal> {
  const { runtime } = options;
  const { signal, unlink } = linkedSignal(runtime.signal);
  try {
    return await processPortal({ ...options, runtime: { ...runtime, signal, turn } }, memberId, cause, settle);
  } finally {
    unlink();
    turn.end();
  }
}

/** Returns the kind of the portal's next turn, if its run was suspended for other portals and is due. */
function nextKind(turn: TakenTurn, { released }: ProcessedPortal, now: number): TurnKind | undefined {
  const isDue = released?.due !== undefined && entryTime(released.due) <= now;
  return isDue ? turn.next() : undefined;
}
