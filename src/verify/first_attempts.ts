/** The first attempts at verifying an event: requests wait for them if the app acknowledges what is handled. */

/** The outcome of the first attempt at an event. */
export type FirstAttempt =
  | AcceptedEvent
  /** It is not authentic. */
  | { readonly state: "refused"; readonly error: Error }
  /** It is verified later: Bitrix24 did not answer, the budget is spent, or another process verifies it. */
  | { readonly state: "waiting" };

/** An authentic event. Its promises never reject; they are absent if it causes no work. */
export interface AcceptedEvent {
  readonly state: "accepted";
  /** Resolves when the work of the event ends. */
  readonly result?: Promise<unknown>;
  /** Resolves when all work of its portal ends. */
  readonly end?: Promise<unknown>;
}

/** First attempts that are pending in this process. */
export interface FirstAttempts {
  /** Returns the first attempt at an event, by the digest under which it waits. */
  readonly of: (memberId: string, digest: string) => Promise<FirstAttempt>;
  /** Ends the first attempt at an event. */
  readonly resolve: (memberId: string, digest: string, outcome: FirstAttempt) => void;
  /** Returns the digests of the events of a portal with a pending first attempt. */
  readonly pending: (memberId: string) => readonly string[];
  /** Ends first attempts at events of a portal, by default all: the events wait. */
  readonly leave: (memberId: string, digests?: readonly string[]) => void;
  /** Ends all first attempts: their events wait. */
  readonly leaveAll: () => void;
}

/** Returns an empty set of first attempts. */
export function createFirstAttempts(): FirstAttempts {
  const portals = new Map<string, Map<string, PromiseWithResolvers<FirstAttempt>>>();

  function resolve(memberId: string, digest: string, outcome: FirstAttempt): void {
    const attempts = portals.get(memberId);
    attempts?.get(digest)?.resolve(outcome);
    attempts?.delete(digest);
    if (attempts?.size === 0) portals.delete(memberId);
  }

  const pending = (memberId: string): readonly string[] => [...portals.get(memberId)?.keys() ?? []];

  function leave(memberId: string, digests = pending(memberId)): void {
    for (const digest of digests) resolve(memberId, digest, { state: "waiting" });
  }

  return {
    of: (memberId, digest) => {
      const attempts = portals.get(memberId) ?? new Map<string, PromiseWithResolvers<FirstAttempt>>();
      const attempt = attempts.get(digest) ?? Promise.withResolvers<FirstAttempt>();
      attempts.set(digest, attempt);
      portals.set(memberId, attempts);
      return attempt.promise;
    },
    resolve,
    pending,
    leave,
    leaveAll: () => {
      for (const memberId of [...portals.keys()]) leave(memberId);
    },
  };
}
