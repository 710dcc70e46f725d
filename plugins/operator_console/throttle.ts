/** Slows down guessing. Failures count for a name and a client together: nobody can lock another one's name. */

/** Failures that cost nothing but their time. */
const FREE = 5;
const MAX_WAIT_MS = 15 * 60_000;
/** A pair without failures for this long is forgotten. */
const FORGET_MS = 60 * 60_000;
/** Maximum number of pairs that are remembered; then the oldest is forgotten. */
const MAX_PAIRS = 10_000;
/** Names of a client that count apart; all others count as one, so that a client cannot push its own pairs out. */
const MAX_NAMES = 50;

interface Failures {
  readonly count: number;
  at: number;
}

/** Counts failed attempts. */
export interface Throttle {
  /** Returns the number of milliseconds until the next attempt is allowed; 0 if it is. */
  readonly waitMs: (client: string, name: string) => number;
  /** Counts an attempt as failed before it is made, so that attempts at the same time count. */
  readonly begin: (client: string, name: string) => void;
  /** Takes an attempt back that was not made. */
  readonly cancel: (client: string, name: string) => void;
  readonly succeed: (client: string, name: string) => void;
}

/** Returns a throttle. From the sixth failure on, the wait doubles from one second up to 15 minutes. */
export function createThrottle(clock: () => number): Throttle {
  const failed = new Map<string, Failures>();
  /** The names of each client that count apart. */
  const names = new Map<string, Set<string>>();

  function ownName(client: string, name: string): string | undefined {
    const cut = name.slice(0, 100);
    const known = names.get(client);
    return known === undefined || known.has(cut) || known.size < MAX_NAMES ? cut : undefined;
  }

  const keyOf = (client: string, name: string | undefined): string => JSON.stringify([client, name]);

  function find(client: string, name: string): Failures | undefined {
    const key = keyOf(client, ownName(client, name));
    const found = failed.get(key);
    if (found === undefined) return undefined;
    // A clock that was put back must not make anybody wait for longer.
    if (found.at > clock()) found.at = clock();
    if (clock() - found.at < FORGET_MS) return found;
    forget(key);
    return undefined;
  }

  function forget(key: string): void {
    failed.delete(key);
    const [client, name] = JSON.parse(key) as readonly [string, string | null];
    const own = names.get(client);
    if (name !== null) own?.delete(name);
    if (own?.size === 0) names.delete(client);
  }

  function change(client: string, name: string, by: 1 | -1): void {
    const own = ownName(client, name);
    const key = keyOf(client, own);
    const { count, at } = find(client, name) ?? { count: 0, at: 0 };
    if (count + by <= 0) return forget(key);
    failed.delete(key);
    failed.set(key, { count: count + by, at: by > 0 ? clock() : at });
    if (own !== undefined) names.set(client, (names.get(client) ?? new Set()).add(own));
    if (failed.size > MAX_PAIRS) forget(failed.keys().next().value!);
  }

  return {
    waitMs: (client, name) => {
      const found = find(client, name);
      if (found === undefined || found.count < FREE) return 0;
      const wait = Math.min(MAX_WAIT_MS, 1000 * 2 ** (found.count - FREE));
      return Math.max(0, found.at + wait - clock());
    },
    begin: (client, name) => {
      for (const known of names.get(client) ?? []) find(client, known);
      change(client, name, 1);
    },
    cancel: (client, name) => change(client, name, -1),
    succeed: (client, name) => {
      const own = ownName(client, name);
      // One who knows a password must not clear what was guessed for other names.
      if (own === undefined) change(client, name, -1);
      else forget(keyOf(client, own));
    },
  };
}
