/**
 * The work on batch operations, a page of portals at a time.
 *
 * The portals of a page are stored before the action on the first of them, and each action marks the record of its portal in
 * the same write. So after a crash the next process acts on those of the page that are not marked, and on no portal twice.
 */
import { defined } from "../../defined.ts";
import { OnAppUpdateError, StorageError } from "../../errors.ts";
import { isMarked } from "../../portal/batch_marks.ts";
import { openBatchKey } from "../../portal/keys.ts";
import { redactError } from "../../redact.ts";
import type { Storage } from "../../storage/storage.ts";
import { isUnreadable } from "../../storage/unreadable.ts";
import { type ActionParts, retry, rollback, setInitialVersion, setTarget, skip } from "./actions.ts";
import { type Audited, completeAudit, hasBegun, type NewAuditEntry } from "./audit.ts";
import { isOfBatch, recordsOfBatch } from "./batch_match.ts";
import { tryReadRecord } from "./portals.ts";
import { type BusyPortal, endBatch, readBatch, type StoredBatch } from "./stored_batch.ts";

/** Number of portals in a page. */
const PAGE = 50;

/** Milliseconds after which another process goes on with a batch operation whose owner has not written. */
const OWNED_MS = 60_000;

/** Milliseconds after which a portal that was busy is tried again, and the maximum number of times that it may be. */
const BUSY_RETRY_MS = 30_000;
const MAX_BUSY_TRIES = 20;

/** Maximum number of portals that are tried again: the batch operation is one entry. */
const MAX_BUSY = 500;

/** The outcome of an action on a portal. `left`: the batch operation was stopped before its turn. */
type Outcome = "done" | "refused" | "changed" | "busy" | "left";

/** The parts of an app that act on the portals of a batch operation. */
export interface PageParts {
  readonly parts: ActionParts;
  readonly audited: Audited;
  /** Id of this process. */
  readonly own: string;
}

/** Acts on the next portals of a batch operation. Resolves to whether there may be more to do for this process. */
export async function actOnPage(runner: PageParts, id: string): Promise<boolean> {
  const { parts: { runtime }, own } = runner;
  const { storage, clock } = runtime;
  const entry = await storage.get<StoredBatch>(openBatchKey(id));
  if (entry === null) return false;
  const batch = readBatch(entry);
  const { owner, page, isRead, busy = [] } = batch;
  const now = clock();
  // A time far ahead is of a clock that was wrong.
  if (owner !== undefined && owner.id !== own && owner.until > now && owner.until <= now + 2 * OWNED_MS) return false;
  const isStopped = batch.state === "stopped";
  if (page === undefined && (isStopped || (isRead && busy.length === 0))) {
    await endBatch(runtime, id, entry, isStopped ? "stopped" : "finished");
    return false;
  }
  const next = await nextPage(storage, batch, now);
  if (next === undefined) return false;
  const taken = { ...batch, ...next, owner: { id: own, until: now + OWNED_MS } };
  const put = await storage.put<StoredBatch>(openBatchKey(id), taken, { ifVersion: entry.version });
  if (!put.ok) return true;
  const outcomes = new Map<string, Outcome>();
  for (const memberId of next.page) outcomes.set(memberId, await actOn(runner, id, taken, memberId));
  await storeOutcomes(runner, id, withOutcomes(taken, outcomes, clock()), put.version);
  return true;
}

/** Returns the next page of a batch operation; `undefined` if the portals that are left are busy. */
async function nextPage(
  storage: Storage,
  { page, isRead, busy = [], after, ...batch }: StoredBatch,
  now: number,
): Promise<Pick<StoredBatch, "after" | "isRead"> & { readonly page: readonly string[] } | undefined> {
  if (page !== undefined) return { page };
  if (isRead) {
    const due = busy.filter(({ at }) => at <= now || at > now + 2 * BUSY_RETRY_MS).slice(0, PAGE);
    return due.length === 0 ? undefined : { page: due.map(({ memberId }) => memberId) };
  }
  const found = await recordsOfBatch(storage, batch, { limit: PAGE, ...defined({ after }) });
  return {
    page: [...found.records.map(({ memberId }) => memberId), ...found.unreadable],
    ...(found.next === undefined ? { isRead: true } : { after: found.next }),
  };
}

/** Stores the batch operation after a page. `version`: of its entry before. */
async function storeOutcomes(
  { parts: { runtime: { storage } }, own }: PageParts,
  id: string,
  acted: StoredBatch,
  version: string,
): Promise<void> {
  const key = openBatchKey(id);
  if ((await storage.put(key, acted, { ifVersion: version })).ok) return;
  // Unless it was stopped meanwhile, another process has taken it over. That one counts: all portals of the page are marked.
  const entry = await storage.get<StoredBatch>(key);
  if (entry?.value.state !== "stopped" || entry.value.owner?.id !== own) return;
  await storage.put<StoredBatch>(key, { ...acted, state: "stopped" }, { ifVersion: entry.version });
}

/** Returns the batch operation after its page. `now`: in milliseconds since 1970. */
function withOutcomes(
  { page: _, busy: before = [], ...batch }: StoredBatch,
  outcomes: ReadonlyMap<string, Outcome>,
  now: number,
): StoredBatch {
  const busy: BusyPortal[] = before.filter(({ memberId }) => !outcomes.has(memberId));
  const counts = { done: batch.done, refused: batch.refused, changed: batch.changed };
  for (const [memberId, outcome] of outcomes) {
    const tries = 1 + (before.find((one) => one.memberId === memberId)?.tries ?? 0);
    const mayRetry = tries < MAX_BUSY_TRIES && busy.length < MAX_BUSY;
    if (outcome === "busy" && mayRetry) busy.push({ memberId, tries, at: now + BUSY_RETRY_MS });
    else if (outcome !== "left") counts[outcome === "busy" ? "refused" : outcome]++;
  }
  return { ...batch, ...counts, ...(busy.length > 0 && { busy }) };
}

/** Does the action on one portal, unless it is done. */
async function actOn(
  { parts, audited }: PageParts,
  id: string,
  batch: StoredBatch,
  memberId: string,
): Promise<Outcome> {
  const { storage, log, issuedTokens } = parts.runtime;
  const record = await tryReadRecord(storage, memberId);
  const auditId = `${id}-${memberId}`;
  if (record === "unreadable") {
    log.warn("batch operation: portal not readable", { event: "batch.unreadable", batchId: id, memberId });
    return "refused";
  }
  if (record !== undefined && isMarked(record, id)) {
    await completeAudit(parts.runtime, auditId);
    return "done";
  }
  if (batch.state === "stopped") return "left";
  if (record === undefined) return "changed";
  // A rollback that has begun changes what the portal matches.
  const isBegun = batch.action === "rollback" && await hasBegun(parts.runtime.storage, auditId);
  if (!isBegun && !isOfBatch(record, batch)) return "changed";
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
    if (error instanceof StorageError && !isUnreadable(error)) throw error;
    if (error instanceof OnAppUpdateError && error.code === "busy") return "busy";
    const err = redactError(error, issuedTokens(memberId));
    log.info("batch operation: action refused", { event: "batch.refused", batchId: id, memberId, err });
    return "refused";
  }
}
