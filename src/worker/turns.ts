/** Turns of portals: a limited number is processed at a time in this process, and the others wait for a slot. */
import type { Time } from "../async/time.ts";
import type { Turn } from "../plugin/runtime.ts";

/** A turn that has begun. */
export interface TakenTurn extends Turn {
  /** Returns the kind of turn that the portal needs next, if it was suspended for others in this one. */
  readonly next: () => TurnKind | undefined;
  /** Frees the slot. */
  readonly end: () => void;
}

/** A slot in which a turn is to begin. Either begin it or release it, once. */
export interface FreeSlot {
  readonly begin: (kind: TurnKind) => TakenTurn;
  readonly release: () => void;
}

/** The turns of one process. */
export interface Turns {
  /** Returns whether a turn would begin at once. */
  readonly isFree: () => boolean;
  /** Reserves a slot for a turn that begins later; `undefined` if none is free. */
  readonly reserve: () => FreeSlot | undefined;
  /**
   * Resolves to a turn once a slot is free, or to `undefined` if the turns are closed first.
   */
  readonly take: (kind: TurnKind) => Promise<TakenTurn | undefined>;
  /** Resolves once fewer fresh portals wait than there are slots, or the turns are closed. */
  readonly room: () => Promise<void>;
  /** Ends the wait of all portals for a slot. */
  readonly close: () => void;
}

/**
 * Fresh portals come before those whose run has had a turn, `resumed`. `alone`: a portal whose process has ended during its
 * work. One such portal at a time has a turn, so that one that ends its process is not taken for the others.
 */
export type TurnKind = "fresh" | "resumed" | "alone";

/** Time (ms) after which a run is suspended at its next step or page if other portals wait. */
const TURN_MS = 30_000;

/** While fresh portals keep coming, one of so many turns is for another one. */
const BEGUN_EVERY = 4;

/** The functions that begin the turns of the portals that wait. */
type Waiting = Readonly<Record<TurnKind, Set<(turn: TakenTurn | undefined) => void>>>;

/** Returns `max` slots. */
export function createTurns(time: Pick<Time, "monotonic">, max: number): Turns {
  /** In the order in which they came. */
  const waiting: Waiting = { fresh: new Set(), resumed: new Set(), alone: new Set() };
  const waitingForRoom = new Set<() => void>();
  let used = 0;
  let isAloneTaken = false;
  let freshInARow = 0;
  let isClosed = false;

  /** Begins a turn in a slot that is counted as used. */
  function begin(kind: TurnKind): TakenTurn {
    const startedAt = time.monotonic();
    let isAlone = kind === "alone";
    if (isAlone) isAloneTaken = true;
    let next: TurnKind | undefined;
    const endAlone = (): void => {
      if (isAlone) isAloneTaken = false;
      isAlone = false;
    };
    return {
      yields: () => {
        const isOver = time.monotonic() - startedAt >= TURN_MS && size() > 0;
        if (isOver) next = "resumed";
        return isOver;
      },
      takeAlone: () => {
        if (!isAlone && (isAloneTaken || waiting.alone.size > 0)) next = "alone";
        else isAlone = isAloneTaken = true;
        return isAlone;
      },
      endAlone: () => {
        endAlone();
        fillSlots();
      },
      next: () => next,
      end: () => {
        endAlone();
        release();
      },
    };
  }

  function release(): void {
    used--;
    fillSlots();
  }

  /** Returns the number of portals that could have a turn. */
  function size(): number {
    return waiting.fresh.size + waiting.resumed.size + (isAloneTaken ? 0 : waiting.alone.size);
  }

  function fillSlots(): void {
    while (used < max && size() > 0) {
      const kind = nextKind(waiting, isAloneTaken, freshInARow);
      freshInARow = kind === "fresh" ? freshInARow + 1 : 0;
      const resolve = waiting[kind].values().next().value!;
      waiting[kind].delete(resolve);
      used++;
      resolve(begin(kind));
    }
    if (waiting.fresh.size < max) releaseAll(waitingForRoom);
  }

  return {
    isFree: () => used < max,
    reserve: () => {
      if (isClosed || used >= max) return undefined;
      used++;
      return { begin, release };
    },
    take: (kind) => {
      // While a slot is free, only those wait that have to be alone.
      if (used < max && !(kind === "alone" && isAloneTaken)) {
        used++;
        return Promise.resolve(begin(kind));
      }
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

/** Returns the kind of the next turn. Some portal waits for one. */
function nextKind({ fresh, resumed, alone }: Waiting, isAloneTaken: boolean, freshInARow: number): TurnKind {
  const isAlone = !isAloneTaken && alone.size > 0;
  const hasBegun = isAlone || resumed.size > 0;
  if (fresh.size > 0 && !(hasBegun && freshInARow >= BEGUN_EVERY - 1)) return "fresh";
  return isAlone ? "alone" : "resumed";
}

function releaseAll(resolvers: Set<(value: undefined) => void>): void {
  for (const resolve of resolvers) resolve(undefined);
  resolvers.clear();
}
