/** The order in which portals get their turns. */

/** A portal that waits for its turn. */
export interface Waiting {
  readonly memberId: string;
  /** An event of the portal came from a trusted address. */
  readonly isTrusted: boolean;
  /** Its number in the order of arrival. */
  readonly arrival: number;
}

/** Portals that wait for their turn. */
export interface TurnQueue {
  /** Adds a portal, unless it waits already. `arrival`: as it was taken, if it waits again without having had a turn. */
  readonly add: (memberId: string, how: { readonly isTrusted: boolean; readonly arrival?: number }) => void;
  readonly has: (memberId: string) => boolean;
  /** Removes the portal whose turn it is. Those that are running stay. */
  readonly take: (isRunning: (memberId: string) => boolean) => Waiting | undefined;
  /** Says whether a portal had a turn and has more events. */
  readonly setServed: (memberId: string, isServed: boolean) => void;
  readonly clear: () => void;
}

/** Turns of trusted portals after which one of another portal follows: anybody can use addresses of Bitrix24's cloud. */
const TRUSTED_IN_A_ROW = 3;

/** Number of portals that had no turn above which every second turn is that of the newest of them. */
const MANY = 100;

/** Returns an empty queue. While both wait, three of four turns are those of trusted portals. */
export function createTurnQueue(): TurnQueue {
  const [trusted, others] = [createLane(), createLane()];
  let arrivals = 0;
  let trustedInARow = 0;

  return {
    add: (memberId, { isTrusted, arrival: earlier }) => {
      const arrival = earlier ?? ++arrivals;
      if (isTrusted) {
        others.remove(memberId);
        trusted.add(memberId, arrival);
      } else if (!trusted.has(memberId)) others.add(memberId, arrival);
    },
    has: (memberId) => trusted.has(memberId) || others.has(memberId),
    take: (isRunning) => {
      for (const lane of trustedInARow < TRUSTED_IN_A_ROW ? [trusted, others] : [others, trusted]) {
        const taken = lane.take(isRunning);
        if (taken === undefined) continue;
        const isTrusted = lane === trusted;
        trustedInARow = isTrusted ? trustedInARow + 1 : 0;
        return { ...taken, isTrusted };
      }
      return undefined;
    },
    setServed: (memberId, isServed) => {
      for (const lane of [trusted, others]) lane.setServed(memberId, isServed);
    },
    clear: () => {
      for (const lane of [trusted, others]) lane.clear();
    },
  };
}

/** Portals in the order of their arrival. Those that had no turn come first, so that repeated forgeries delay no other. */
interface Lane {
  readonly add: (memberId: string, arrival: number) => void;
  readonly remove: (memberId: string) => void;
  readonly has: (memberId: string) => boolean;
  readonly take: (isRunning: (memberId: string) => boolean) => Omit<Waiting, "isTrusted"> | undefined;
  readonly setServed: (memberId: string, isServed: boolean) => void;
  readonly clear: () => void;
}

function createLane(): Lane {
  const [first, again] = [new Map<string, number>(), new Map<string, number>()];
  const served = new Set<string>();
  /** The portals of `first` in the order of arrival, and some that have left it. */
  let newest: string[] = [];
  let isNewestNext = false;

  function oldestOf(
    waiting: ReadonlyMap<string, number>,
    isRunning: (memberId: string) => boolean,
  ): string | undefined {
    for (const memberId of waiting.keys()) if (!isRunning(memberId)) return memberId;
    return undefined;
  }

  function newestOf(isRunning: (memberId: string) => boolean): string | undefined {
    while (newest.length > 0 && !first.has(newest.at(-1)!)) newest.pop();
    return newest.findLast((memberId) => first.has(memberId) && !isRunning(memberId));
  }

  function add(memberId: string, arrival: number): void {
    if (first.has(memberId) || again.has(memberId)) return;
    if (served.has(memberId)) return void again.set(memberId, arrival);
    first.set(memberId, arrival);
    newest.push(memberId);
    if (newest.length > 2 * first.size + 100) newest = [...first.keys()];
  }

  return {
    add,
    remove: (memberId) => {
      if (!first.delete(memberId)) again.delete(memberId);
    },
    has: (memberId) => first.has(memberId) || again.has(memberId),
    take: (isRunning) => {
      const chosen = isNewestNext && first.size > MANY ? newestOf(isRunning) : oldestOf(first, isRunning);
      const memberId = chosen ?? oldestOf(again, isRunning);
      if (memberId === undefined) return undefined;
      const arrival = first.get(memberId) ?? again.get(memberId)!;
      if (first.delete(memberId)) isNewestNext = !isNewestNext;
      else again.delete(memberId);
      return { memberId, arrival };
    },
    setServed: (memberId, isServed) => {
      if (!isServed) served.delete(memberId);
      else {
        served.add(memberId);
        const arrival = first.get(memberId);
        if (arrival !== undefined && first.delete(memberId)) again.set(memberId, arrival);
      }
    },
    clear: () => {
      for (const portals of [first, again, served]) portals.clear();
      newest = [];
    },
  };
}
