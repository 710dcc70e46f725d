/**
 * The breakers of all upgrades, as one process knows and changes them. All portals of an upgrade compete for one key, so the
 * requests of this process that come while it is written are applied together by the next write.
 */
import type { AppRuntime } from "../plugin/runtime.ts";
import { ROLLOUT_UPGRADES, rolloutUpgradeKey } from "../portal/keys.ts";
import { StorageError } from "../errors.ts";
import type { Entry } from "../storage/storage.ts";
import {
  type Breaker,
  breakerOf,
  type Draft,
  draftOf,
  endSlot,
  failures,
  type Limits,
  newBreaker,
  readBreaker,
  replace,
  type SlotOutcome,
  type Take,
  type TakeResult,
  takeSlot,
} from "./breaker.ts";
import { withRolloutReport } from "./report.ts";

/** Each refused write means that another process succeeded, so this many in a row mean a broken storage. */
const MAX_ATTEMPTS = 100;

/** The breakers, as one process knows them. */
export interface Breakers {
  /**
   * Asks for slots of an upgrade, and resolves to the answers.
   *
   * @throws {StorageError} if the storage fails: a slot may be taken nevertheless
   */
  readonly take: (upgradeId: string, requests: readonly Take[]) => Promise<readonly TakeResult[]>;
  /** Records the outcome of a portal that has a slot, soon. What cannot be recorded is found by its record later. */
  readonly end: (upgradeId: string, memberId: string, outcome: SlotOutcome) => void;
  /** Returns the breaker as this process last read or wrote it. */
  readonly known: (upgradeId: string) => Breaker | undefined;
  /** Changes a breaker, if there is one. `apply` may run several times. */
  readonly change: (upgradeId: string, apply: (breaker: Breaker) => Breaker) => Promise<void>;
  /** Resolves to the breaker as it is stored. */
  readonly read: (upgradeId: string) => Promise<Breaker | undefined>;
  /** Resolves to all breakers as they are stored. */
  readonly all: () => Promise<readonly Breaker[]>;
  /** Resolves when all outcomes so far are recorded. */
  readonly idle: () => Promise<void>;
}

/** The app's reactions to changes of breakers. */
export interface BreakerEvents {
  /** A breaker has tripped by a write of this process. */
  readonly onTripped: (breaker: Breaker) => void;
  /** A write of this process has freed slots. */
  readonly onFreed: () => void;
  /** Whether a plugin is notified of pauses. */
  readonly isObserved: () => boolean;
}

/** A change of a breaker that waits for the next write. */
interface Request {
  readonly apply: (draft: Draft) => void;
  /** Limits of a breaker that is stored by this request; absent: it changes stored ones only. */
  readonly limits?: Limits;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** The breaker of one upgrade. */
interface Book {
  entry: Entry<Breaker> | null | undefined;
  queue: Request[];
  writing: Promise<void> | undefined;
}

/** Returns the breakers of a storage. */
export function createBreakers(
  { storage, clock, random, log }: Pick<AppRuntime, "storage" | "clock" | "random" | "log">,
  { onTripped, onFreed, isObserved }: BreakerEvents,
): Breakers {
  const books = new Map<string, Book>();

  function bookOf(upgradeId: string): Book {
    const book = books.get(upgradeId) ?? { entry: undefined, queue: [], writing: undefined };
    books.set(upgradeId, book);
    return book;
  }

  /** `isSoon`: lets others join first. */
  function request(upgradeId: string, change: Pick<Request, "apply" | "limits">, isSoon: boolean): Promise<void> {
    const book = bookOf(upgradeId);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    book.queue.push({ ...change, resolve, reject });
    book.writing ??= writeAll(upgradeId, book, isSoon).finally(() => book.writing = undefined);
    return promise;
  }

  async function writeAll(upgradeId: string, book: Book, isSoon: boolean): Promise<void> {
    if (isSoon) await Promise.resolve();
    while (book.queue.length > 0) {
      const requests = book.queue.splice(0);
      try {
        await write(upgradeId, book, requests);
        for (const { resolve } of requests) resolve();
      } catch (error) {
        book.entry = undefined;
        for (const { reject } of requests) reject(error);
      }
    }
  }

  async function write(upgradeId: string, book: Book, requests: readonly Request[]): Promise<void> {
    const key = rolloutUpgradeKey(upgradeId);
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const isFresh = book.entry === undefined;
      book.entry ??= await storage.get<Breaker>(key);
      const before = readBreaker(book.entry);
      const after = reported(before, applied(upgradeId, before, requests));
      if (after === before || after === undefined) {
        if (isFresh) return;
        // Another process may have changed it since.
        book.entry = undefined;
        continue;
      }
      const result = await storage.put(key, after, { ifVersion: book.entry?.version ?? null });
      if (result.ok) {
        book.entry = { key, value: after, version: result.version };
        reportChange(before, after);
        return;
      }
      book.entry = undefined;
    }
    throw new StorageError(
      `cannot write ${JSON.stringify(key)}: ${storage.name} refused ${MAX_ATTEMPTS} writes in a row`,
    );
  }

  /** Returns the breaker with a report for observers if it has tripped. */
  function reported(before: Breaker | undefined, after: Breaker | undefined): Breaker | undefined {
    if (after?.trippedAt === undefined || before?.trippedAt !== undefined || !isObserved()) return after;
    const { upgradeId, finished, targets } = after;
    const counts = { upgradeId, failed: failures(after), finished };
    const change = { kind: "rolloutPaused", target: targets.at(-1) ?? "", ...counts } as const;
    return withRolloutReport(after, { id: random(), changedAt: clock(), change });
  }

  function reportChange(before: Breaker | undefined, after: Breaker): void {
    if (after.trippedAt !== undefined && before?.trippedAt === undefined) onTripped(after);
    if (before !== undefined && Object.keys(after.slots).length < Object.keys(before.slots).length) onFreed();
  }

  return {
    take: async (upgradeId, takes) => {
      let results: TakeResult[] = [];
      const apply = (draft: Draft): void => void (results = takes.map((take) => takeSlot(draft, take)));
      await request(upgradeId, { apply, limits: takes[0]!.limits }, false);
      return results;
    },
    end: (upgradeId, memberId, outcome) => {
      const now = clock();
      request(upgradeId, { apply: (draft) => endSlot(draft, memberId, outcome, now) }, true).catch((err) =>
        log.warn("failed to record the outcome of a portal", {
          event: "rollout.record_failed",
          memberId,
          upgradeId,
          err,
        })
      );
    },
    known: (upgradeId) => readBreaker(books.get(upgradeId)?.entry ?? null),
    change: async (upgradeId, change) => {
      await request(upgradeId, { apply: (draft) => replace(draft, change(breakerOf(draft))) }, false);
    },
    read: async (upgradeId) => readBreaker(await storage.get<Breaker>(rolloutUpgradeKey(upgradeId))),
    all: async () => {
      const breakers: Breaker[] = [];
      for await (const entry of storage.list<Breaker>(ROLLOUT_UPGRADES)) breakers.push(readBreaker(entry)!);
      return breakers;
    },
    idle: async () => {
      while (Array.from(books.values()).some(({ writing }) => writing !== undefined)) {
        await Promise.all(Array.from(books.values(), ({ writing }) => writing));
      }
    },
  };
}

/** Returns the breaker after all requests; the breaker itself if nothing changes. */
function applied(
  upgradeId: string,
  before: Breaker | undefined,
  requests: readonly Request[],
): Breaker | undefined {
  const limits = before?.limits ?? requests.find(({ limits }) => limits !== undefined)?.limits;
  if (limits === undefined) return before;
  const draft = draftOf(before ?? newBreaker(upgradeId, limits));
  for (const { apply, limits } of requests) if (before !== undefined || limits !== undefined) apply(draft);
  return draft.isChanged ? breakerOf(draft) : before;
}

/** Returns the limits of a rollout. */
export function limitsOf(
  { pauseWhen, concurrency }: { readonly pauseWhen: Omit<Limits, "concurrency">; readonly concurrency: number },
): Limits {
  return { ...pauseWhen, concurrency };
}
