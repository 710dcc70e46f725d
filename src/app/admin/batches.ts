/**
 * Batch operations: one action on all portals that match. They are stored, so that they survive the end of their process, and
 * one process at a time goes on with them: the one that started them, or any that ticks. See `batch_page.ts`.
 */
import { checkOptions, option, type OptionRules } from "../../check_options.ts";
import { defined } from "../../defined.ts";
import { OnAppUpdateError } from "../../errors.ts";
import type { LogFields } from "../../logger.ts";
import type { Attribution, Batches, BatchListOptions, NewBatch, StartedBatch } from "../../plugin/admin_pages.ts";
import type { AppRuntime } from "../../plugin/runtime.ts";
import { ENDED_BATCHES, endedBatchKey, OPEN_BATCHES, openBatchKey } from "../../portal/keys.ts";
import { listReadable } from "../../portal/list_readable.ts";
import { listKeys } from "../../storage/list_keys.ts";
import type { Entry } from "../../storage/storage.ts";
import { parseVersion } from "../../version.ts";
import type { ActionParts } from "./actions.ts";
import { ATTRIBUTION_RULES } from "./attribution.ts";
import { type Audited, createIds } from "./audit.ts";
import { actOnPage } from "./batch_page.ts";
import { type BatchMatch, recordsOfBatch } from "./batch_match.ts";
import { MATCH_RULES } from "./portals.ts";
import { BATCH_FORMAT, batchOf, endBatch, readBatch, type StoredBatch } from "./stored_batch.ts";

const NEW_RULES: OptionRules<NewBatch> = {
  ...ATTRIBUTION_RULES,
  action: option.required(option.oneOf("retry", "skip", "rollback", "setTarget", "setInitialVersion")),
  upgradeId: option.text("the id of an upgrade"),
  version: option.text("a version"),
  match: option.required(option.object(MATCH_RULES)),
  expect: option.required(option.number({ min: 0, isWhole: true })),
};

/** The option that an action requires. */
const WANTED: Readonly<Record<NewBatch["action"], "upgradeId" | "version" | undefined>> = {
  retry: undefined,
  skip: "upgradeId",
  rollback: undefined,
  setTarget: "version",
  setInitialVersion: "version",
};

const LIST_RULES: OptionRules<BatchListOptions> = { limit: option.number({ min: 1, isWhole: true }) };

/** Batch operations, and the function with which this process goes on with them. */
export interface BatchRunner extends Batches {
  /** Returns the id of a batch operation that is to be started. */
  readonly newId: () => string;
  /** Starts a batch operation under `id` that retries the parked portals of a rollout. Resolves once it is stored. */
  readonly retryRollout: (id: string, rollout: string, attribution: Attribution) => Promise<void>;
  /** Goes on with the batch operations that no other process works on. Never rejects. */
  readonly goOn: () => Promise<void>;
  /** Resolves when this process acts on no portal for them. */
  readonly idle: () => Promise<void>;
}

/** Returns the batch operations of an app. `isRunning`: whether this process may act. */
export function createBatches(
  parts: ActionParts,
  audited: Audited,
  isRunning: () => boolean,
): BatchRunner {
  const { runtime } = parts;
  const { storage, clock, random, log } = runtime;
  const own = random();
  const newId = createIds(runtime);
  let running: Promise<void> | undefined;

  const interrupted = (fields: LogFields): void =>
    log.warn("batch operation interrupted", { event: "batch.interrupted", ...fields });

  /** One that newer code has to go on with must not keep the others waiting. */
  async function goOnWith(batchId: string): Promise<void> {
    try {
      while (isRunning() && await actOnPage({ parts, audited, own }, batchId));
    } catch (err) {
      interrupted({ batchId, err });
    }
  }

  async function goOnWithAll(): Promise<void> {
    try {
      for await (const key of listKeys(storage, OPEN_BATCHES)) {
        await goOnWith(key.at(-1)!);
        if (!isRunning()) return;
      }
    } catch (err) {
      interrupted({ err });
    }
  }

  const goOn = (): Promise<void> => running ??= goOnWithAll().finally(() => running = undefined);

  async function store(id: string, batch: NewBatch & Pick<StoredBatch, "matched" | "rollout">): Promise<void> {
    await storage.put<StoredBatch>(openBatchKey(id), {
      ...{ format: BATCH_FORMAT, ...batch },
      ...{ state: "running", done: 0, refused: 0, changed: 0, startedAt: clock() },
    });
  }

  return {
    newId,
    retryRollout: async (id, rollout, { by, reason }) => {
      const match = { status: "parked" } as const;
      const matched = await countMatching(runtime, { match, rollout });
      await store(id, { action: "retry", by, reason, match, rollout, expect: matched, matched });
      if (isRunning()) void goOn();
    },
    start: async (batch) => {
      checkOptions("cannot start a batch operation", batch, NEW_RULES);
      checkAction(batch);
      const { by, reason, match, expect, action, upgradeId, version } = batch;
      const id = newId();
      const details = { action, ...defined({ upgradeId, version }), match, expect };
      const refusal = (started: StartedBatch): string | undefined =>
        started.id === undefined ? `portals that match: ${started.matched}, wanted at most ${expect}` : undefined;
      const started = await audited({ action: "batch", by, reason, details, batchId: id }, async () => {
        const matched = await countMatching(runtime, { match });
        if (matched > expect) return { matched };
        await store(id, { action, by, reason, match, expect, matched, ...defined({ upgradeId, version }) });
        return { matched, id };
      }, refusal);
      if (started.id !== undefined && isRunning()) void goOn();
      return started;
    },
    count: async (match) => {
      checkOptions("cannot count portals", match, MATCH_RULES);
      checkMatch("cannot count portals", match);
      return await countMatching(runtime, { match });
    },
    list: async (options = {}) => {
      checkOptions("cannot list batch operations", options, LIST_RULES);
      const batches = await Array.fromAsync(listReadable(runtime, OPEN_BATCHES, batchOf));
      const open = new Set(batches.map(({ id }) => id));
      const { limit = 20 } = options;
      for await (const batch of listReadable(runtime, ENDED_BATCHES, batchOf, { limit })) {
        // A crash has left both.
        if (!open.has(batch.id)) batches.push(batch);
      }
      return batches;
    },
    stop: async (id, attribution) => {
      checkOptions("cannot stop a batch operation", attribution, ATTRIBUTION_RULES);
      const { by, reason } = attribution;
      await audited({ action: "batch", by, reason, batchId: id, details: { stopped: true } }, async () => {
        while (true) {
          const entry = await storage.get<StoredBatch>(openBatchKey(id));
          if (entry === null && await storage.get(endedBatchKey(id)) === null) {
            throw new OnAppUpdateError(
              "unknown_batch",
              `cannot stop batch operation ${JSON.stringify(id)}: none has this id`,
            );
          }
          if (entry === null || await stopped(runtime, id, entry)) return;
        }
      });
    },
    goOn,
    idle: async () => await running,
  };
}

/**
 * @throws {TypeError} if an option is missing, or has no meaning for the action
 * @throws {VersionError} if `version` is not a version
 */
function checkAction({ action, upgradeId, version, match }: NewBatch): void {
  const refuse = (option: string, seen: string, wanted: string): never => {
    throw new TypeError(`cannot start a batch operation with ${option} ${seen}, wanted ${wanted}`);
  };
  const wanted = WANTED[action];
  for (const [name, value] of Object.entries({ upgradeId, version })) {
    if (name === wanted && value === undefined) refuse(name, "undefined", `a value: action is "${action}"`);
    if (name !== wanted && value !== undefined) refuse(name, JSON.stringify(value), `none: action is "${action}"`);
  }
  if (version !== undefined) parseVersion(version);
  checkMatch("cannot start a batch operation", match);
}

/** @throws {TypeError} if it has no member */
function checkMatch(action: string, match: NewBatch["match"]): void {
  if (Object.keys(defined(match)).length > 0) return;
  throw new TypeError(`${action} with match that matches all portals, wanted at least one member`);
}

/** Stops a batch operation. Resolves to whether it has not changed since it was read. */
async function stopped(runtime: AppRuntime, id: string, entry: Entry<StoredBatch>): Promise<boolean> {
  const batch = readBatch(entry);
  if (batch.state === "stopped") return true;
  // Its owner ends it after the page, and counts what it has done.
  if (batch.page === undefined) return await endBatch(runtime, id, entry, "stopped");
  const put = { ...batch, state: "stopped" } as const;
  return (await runtime.storage.put<StoredBatch>(openBatchKey(id), put, { ifVersion: entry.version })).ok;
}

/** Counts the portals that match, by the index. */
async function countMatching({ storage }: AppRuntime, match: BatchMatch): Promise<number> {
  let count = 0;
  let after: string | undefined;
  do {
    const page = await recordsOfBatch(storage, match, { limit: 1000, ...defined({ after }) });
    count += page.records.length + page.unreadable.length;
    after = page.next;
  } while (after !== undefined);
  return count;
}
