/**
 * Batch operations: one action on all portals that match. They are stored, so that they survive the end of their process, and
 * one process at a time goes on with them: the one that started them, or any that ticks.
 *
 * The portals of a page are stored before the action on the first of them, and each action marks the record of its portal in
 * the same write. So after a crash the next process acts on those of the page that are not marked, and on no portal twice.
 */
import { checkOptions, option, type OptionRules } from "../../check_options.ts";
import { defined } from "../../defined.ts";
import { FormatError, OnAppUpdateError, StorageError } from "../../errors.ts";
import type { LogFields } from "../../logger.ts";
import type {
  Batch,
  Batches,
  BatchListOptions,
  NewBatch,
  PortalMatch,
  StartedBatch,
} from "../../plugin/admin_pages.ts";
import type { AppRuntime } from "../../plugin/runtime.ts";
import { isMarked } from "../../portal/batch_marks.ts";
import { ENDED_BATCHES, endedBatchKey, OPEN_BATCHES, openBatchKey, portalKey } from "../../portal/keys.ts";
import { type PortalRecord, readRecord } from "../../portal/record.ts";
import { redactError } from "../../redact.ts";
import type { Entry } from "../../storage/storage.ts";
import { parseVersion } from "../../version.ts";
import { writeInOrder } from "../../storage/write.ts";
import { type ActionParts, retry, rollback, setInitialVersion, setTarget, skip } from "./actions.ts";
import { ATTRIBUTION_RULES } from "./attribution.ts";
import { type Audited, completeAudit, createIds, hasBegun, type NewAuditEntry } from "./audit.ts";
import { isMatch, MATCH_RULES, matchingRecords } from "./portals.ts";

const NEW_RULES: OptionRules<NewBatch> = {
  ...ATTRIBUTION_RULES,
  action: option.required(option.oneOf("retry", "skip", "rollback", "setTarget", "setInitialVersion")),
  upgradeId: option.text("the id of an upgrade"),
  version: option.text("a version"),
  match: option.required(option.object(MATCH_RULES)),
  expect: option.required(option.number({ min: 0, isWhole: true })),
};

/** Numbers of portals by what became of them. */
type Tally = Pick<Batch, "done" | "refused" | "changed">;

interface StoredBatch extends Omit<Batch, "id" | "state"> {
  readonly format: typeof BATCH_FORMAT;
  readonly state: Batch["state"];
  /** The last portal of the pages so far. */
  readonly after?: string;
  /** The portals that are being acted on. */
  readonly page?: readonly string[];
  /** All pages were read. */
  readonly isRead?: true;
  /** The process that goes on with it. */
  readonly owner?: { readonly id: string; readonly until: number };
}

/** Raised if older code would misread a batch operation. */
const BATCH_FORMAT = 1;

/** TTL (ms) of batch operations that are over: 400 days. */
const KEPT_MS = 400 * 24 * 60 * 60 * 1000;

/** The option that an action requires. */
const WANTED: Readonly<Record<NewBatch["action"], "upgradeId" | "version" | undefined>> = {
  retry: undefined,
  skip: "upgradeId",
  rollback: undefined,
  setTarget: "version",
  setInitialVersion: "version",
};

/** Number of portals in a page. */
const PAGE = 50;

/** Milliseconds after which another process goes on with a batch operation whose owner has not written. */
const OWNED_MS = 60_000;

const LIST_RULES: OptionRules<BatchListOptions> = { limit: option.number({ min: 1, isWhole: true }) };

/** Batch operations, and the function with which this process goes on with them. */
export interface BatchRunner extends Batches {
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
      for await (const { key } of storage.list<StoredBatch>(OPEN_BATCHES)) {
        await goOnWith(key.at(-1)!);
        if (!isRunning()) return;
      }
    } catch (err) {
      interrupted({ err });
    }
  }

  const goOn = (): Promise<void> => running ??= goOnWithAll().finally(() => running = undefined);

  return {
    start: async (batch) => {
      checkOptions("cannot start a batch operation", batch, NEW_RULES);
      checkAction(batch);
      const { by, reason, match, expect, action, upgradeId, version } = batch;
      const id = newId();
      const details = { action, ...defined({ upgradeId, version }), match, expect };
      const refusal = (started: StartedBatch): string | undefined =>
        started.id === undefined ? `portals that match: ${started.matched}, wanted at most ${expect}` : undefined;
      const started = await audited({ action: "batch", by, reason, details, batchId: id }, async () => {
        const matched = await countMatching(runtime, match);
        if (matched > expect) return { matched };
        await storage.put<StoredBatch>(openBatchKey(id), {
          ...{ format: BATCH_FORMAT, action, by, reason, match, expect, ...defined({ upgradeId, version }) },
          ...{ state: "running", matched, done: 0, refused: 0, changed: 0, startedAt: clock() },
        });
        return { matched, id };
      }, refusal);
      if (started.id !== undefined && isRunning()) void goOn();
      return started;
    },
    list: async (options = {}) => {
      checkOptions("cannot list batch operations", options, LIST_RULES);
      const batches: Batch[] = [];
      for await (const entry of storage.list<StoredBatch>(OPEN_BATCHES)) batches.push(batchOf(entry));
      const open = new Set(batches.map(({ id }) => id));
      const { limit = 20 } = options;
      for await (const entry of storage.list<StoredBatch>(ENDED_BATCHES, { limit })) {
        const batch = batchOf(entry);
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
          if (entry === null || await end(runtime, id, entry, "stopped")) return;
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
  if (Object.keys(defined(match)).length === 0) refuse("match", "that matches all portals", "at least one member");
}

/** Counts the portals that match, by the index. */
async function countMatching({ storage }: AppRuntime, match: PortalMatch): Promise<number> {
  let count = 0;
  let after: string | undefined;
  do {
    const page = await matchingRecords(storage, match, { limit: 1000, ...defined({ after }) });
    count += page.records.length;
    after = page.next;
  } while (after !== undefined);
  return count;
}

interface RunnerParts {
  readonly parts: ActionParts;
  readonly audited: Audited;
  /** Id of this process. */
  readonly own: string;
}

/** Acts on the next portals of a batch operation. Resolves to whether there may be more to do for this process. */
async function actOnPage(runner: RunnerParts, id: string): Promise<boolean> {
  const { parts: { runtime }, own } = runner;
  const { storage, clock } = runtime;
  const entry = await storage.get<StoredBatch>(openBatchKey(id));
  if (entry === null) return false;
  const batch = readBatch(entry);
  const { owner, isRead, after } = batch;
  const now = clock();
  // A time far ahead is of a clock that was wrong.
  if (owner !== undefined && owner.id !== own && owner.until > now && owner.until <= now + 2 * OWNED_MS) return false;
  if (batch.page === undefined && isRead) {
    await end(runtime, id, entry, "finished");
    return false;
  }
  let page = batch.page;
  let next: string | undefined = after;
  let isLast = isRead;
  if (page === undefined) {
    const found = await matchingRecords(storage, batch.match, { limit: PAGE, ...defined({ after }) });
    page = found.records.map(({ memberId }) => memberId);
    next = found.next ?? after;
    if (found.next === undefined) isLast = true;
  }
  const taken: StoredBatch = {
    ...{ ...batch, page, owner: { id: own, until: now + OWNED_MS } },
    ...defined({ after: next, isRead: isLast }),
  };
  const put = await storage.put(openBatchKey(id), taken, { ifVersion: entry.version });
  if (!put.ok) return true;
  const tally: { -readonly [Member in keyof Tally]: number } = { done: 0, refused: 0, changed: 0 };
  for (const memberId of page) tally[await actOn(runner, id, taken, memberId)]++;
  const { page: _, ...rest } = taken;
  const acted: StoredBatch = {
    ...rest,
    ...{ done: rest.done + tally.done, refused: rest.refused + tally.refused, changed: rest.changed + tally.changed },
  };
  // If it was stopped or taken over meanwhile, the other one counts: all portals of the page are marked.
  await storage.put(openBatchKey(id), acted, { ifVersion: put.version });
  return true;
}

/** Does the action on one portal, unless it is done. */
async function actOn(
  { parts, audited }: RunnerParts,
  id: string,
  batch: StoredBatch,
  memberId: string,
): Promise<keyof Tally> {
  const { storage, log, issuedTokens } = parts.runtime;
  const record = readRecord(await storage.get<PortalRecord>(portalKey(memberId)));
  const auditId = `${id}-${memberId}`;
  if (record !== undefined && isMarked(record, id)) {
    await completeAudit(parts.runtime, auditId);
    return "done";
  }
  if (record === undefined) return "changed";
  // A rollback that has begun changes what the portal matches.
  const isBegun = batch.action === "rollback" && await hasBegun(parts.runtime.storage, auditId);
  if (!isBegun && !isMatch(record, batch.match)) return "changed";
  const { by, reason, action, upgradeId, version } = batch;
  const entry: NewAuditEntry = {
    ...{ action, by, reason, memberId, batchId: id, id: auditId },
    details: defined({ upgradeId, version }),
  };
  try {
    await audited(entry, async () => {
      if (action === "skip") return await skip(parts, memberId, upgradeId!, { batchId: id });
      if (action === "setTarget") return await setTarget(parts, memberId, version!, { batchId: id });
      if (action === "setInitialVersion") return await setInitialVersion(parts, memberId, version!, { batchId: id });
      if (action === "rollback") return void await rollback(parts, memberId, { batchId: id });
      return await retry(parts, memberId, { batchId: id });
    });
    return "done";
  } catch (error) {
    if (error instanceof StorageError) throw error;
    const err = redactError(error, issuedTokens(memberId));
    log.info("batch operation: action refused", { event: "batch.refused", batchId: id, memberId, err });
    return "refused";
  }
}

/** Moves a batch operation to those that are over. Resolves to whether it has not changed since it was read. */
async function end(
  { storage, clock, log }: AppRuntime,
  id: string,
  entry: Entry<StoredBatch>,
  state: "finished" | "stopped",
): Promise<boolean> {
  const { owner: _o, page: _p, after: _a, isRead: _r, ...batch } = readBatch(entry);
  const ended: StoredBatch = { ...batch, state, endedAt: clock() };
  const result = await writeInOrder(storage, [
    { put: endedBatchKey(id), value: ended, ttlMs: KEPT_MS },
    { delete: openBatchKey(id), ifVersion: entry.version },
  ]);
  if (!result.ok) return false;
  const { done, refused, changed, matched } = ended;
  log.info("batch operation ended", { event: "batch.ended", batchId: id, state, matched, done, refused, changed });
  return true;
}

function batchOf(entry: Entry<StoredBatch>): Batch {
  const { format: _f, owner: _o, page: _p, after: _a, isRead: _r, ...batch } = readBatch(entry);
  return { id: entry.key.at(-1)!, ...batch };
}

/** @throws {FormatError} if newer code wrote the batch operation */
function readBatch({ key, value }: Entry<StoredBatch>): StoredBatch {
  if (value.format !== BATCH_FORMAT) {
    throw new FormatError(`batch operation ${key.at(-1)}`, value.format, BATCH_FORMAT);
  }
  return value;
}
