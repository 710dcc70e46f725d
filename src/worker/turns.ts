/** Turns of portals: a limited number is processed at a time in this process, and the others wait for a slot. */
import type { Time } from "../async/time.ts";
import type { Turn } from "../plugin/runtime.ts";

/** A turn that has begun. */
export interface TakenTurn extends Turn {
  /** Returns whether `yields` has returned true. */
  readonly hasYielded: () => boolean;
  /** Frees the slot. */
  readonly end: () => void;
}

/** The turns of one process. */
export interface Turns {
  /** Returns whether a turn would begin at once. */
  readonly isFree: () => boolean;
  /**
   * Resolves to a turn once a slot is free, or to `undefined` if the turns are closed first.
   */
  readonly take: (kind: TurnKind) => Promise<TakenTurn | undefined>;
  /** Resolves once fewer fresh portals wait than there are slots, or the turns are closed. */
  readonly room: () => Promise<void>;
  /** Lets nobody wait for a slot any longer. */
  readonly close: () => void;
}

/** Fresh portals come before those whose run has had a turn. */
export type TurnKind = "fresh" | "resumed";

/** Time (ms) after which a run is suspended at its next step or page if other portals wait. */
const TURN_MS = 30_000;

/** While fresh portals keep coming, one of so many turns is for a run that was suspended. */
const RESUMED_EVERY = 4;

/** Returns `max` slots. */
export function createTurns(time: Pick<Time, "monotonic">, max: number): Turns {
  /** In the order in which they came. */
  const waiting: Readonly<Record<TurnKind, Set<(turn: TakenTurn | undefined) => void>>> = {
    fresh: new Set(),
    resumed: new Set(),
  };
  const waitingForRoom = new Set<() => void>();
  let used = 0;
  let freshInARow = 0;
  let isClosed = false;

  function begin(): TakenTurn {
    used++;
    const startedAt = time.monotonic();
    let hasYielded = false;
    return {
      yields: () => {
        const isOver = time.monotonic() - startedAt >= TURN_MS && waiting.fresh.size + waiting.resumed.size > 0;
        hasYielded ||= isOver;
        return isOver;
      },
      hasYielded: () => hasYielded,
      end: () => {
        used--;
        fillSlots();
      },
    };
  }

  function nextKind(): TurnKind {
    const isResumed = waiting.resumed.size > 0 && (waiting.fresh.size === 0 || freshInARow >= RESUMED_EVERY - 1);
    freshInARow = isResumed ? 0 : freshInARow + 1;
    return isResumed ? "resumed" : "fresh";
  }

  function fillSlots(): void {
    while (used < max && waiting.fresh.size + waiting.resumed.size > 0) {
      const queue = waiting[nextKind()];
      const resolve = queue.values().next().value!;
      queue.delete(resolve);
      resolve(begin());
    }
    if (waiting.fresh.size < max) releaseAll(waitingForRoom);
  }

  return {
    isFree: () => used < max,
    take: (kind) => {
      // Nobody waits while a slot is free.
      if (used < max) return Promise.resolve(begin());
      if (isClosed) return Promise.resolve(undefined);
      return new Promise((resolve) => waiting[kind].add(resolve));
    },
    room: () => {
      if (isClosed || waiting.fresh.size < max) return Promise.resolve();
      return new Promise((resolve) => waitingForRoom.add(resolve));
    },
    close: () => {
      isClosed = true;
      for (const queue of Object.values(waiting)) releaseAll(queue);
      releaseAll(waitingForRoom);
    },
  };
}

function releaseAll(resolvers: Set<(value: undefined) => void>): void {
  for (const resolve of resolvers) resolve(undefined);
  resolvers.clear();
}
