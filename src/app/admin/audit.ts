/** The audit log: every action of an operator, stored before the action and completed after it. */
import { checkOptions, option, type OptionRules } from "../../check_options.ts";
import { defined } from "../../defined.ts";
import { type ErrorCode, FormatError, OnAppUpdateError, VersionError } from "../../errors.ts";
import type { ActionNote, AuditedAction, AuditEntry, AuditFilter, AuditPage } from "../../plugin/admin_pages.ts";
import type { AppRuntime } from "../../plugin/runtime.ts";
import { ATTRIBUTION_RULES } from "./attribution.ts";
import { AUDIT, auditKey } from "../../portal/keys.ts";
import { listReadable } from "../../portal/list_readable.ts";
import { redactError } from "../../redact.ts";
import type { Secret } from "../../secret.ts";
import type { Entry, Storage } from "../../storage/storage.ts";
import { updateEntry } from "../../storage/update.ts";

/** An action that is about to begin. */
export type NewAuditEntry =
  & Pick<AuditEntry, "action" | "by" | "reason" | "memberId" | "details" | "batchId">
  /** Random by default. An action with the same id as an earlier one replaces it. */
  & Partial<Pick<AuditEntry, "id">>;

/** A stored action. */
interface StoredAuditEntry extends Omit<AuditEntry, "id"> {
  readonly format: typeof AUDIT_FORMAT;
}

/** Raised if older code would misread an entry. */
const AUDIT_FORMAT = 1;

/** TTL (ms) of entries: 400 days. */
const KEPT_MS = 400 * 24 * 60 * 60 * 1000;

/** Maximum length of the message of an error. */
const MAX_MESSAGE = 500;

/** Entry times count down from this one, so that the latest entry is the first in key order. */
const LAST_TIME = 99_999_999_999_999;
/** Ids of one millisecond count down from this number. */
const MAX_COUNT = 999_999;

/**
 * Stores that an action begins, does it, and stores its outcome. `refusal` returns why the action changed nothing, if its result
 * says so.
 */
export type Audited = <T>(
  entry: NewAuditEntry,
  act: () => Promise<T>,
  refusal?: (result: T) => string | undefined,
) => Promise<T>;

/** Returns the function that records actions. It rejects with the error of the action. */
export function createAudited({ storage, clock, random, log, issuedTokens }: AppRuntime): Audited {
  const newId = createIds({ clock, random });
  return async ({ id = newId(), ...entry }, act, refusal) => {
    const at = clock();
    const stored: StoredAuditEntry = { format: AUDIT_FORMAT, at, ...entry, outcome: "pending" };
    // Without it, nobody would know of an action whose process ends.
    const pending = await storage.put(auditKey(id), stored, { ttlMs: KEPT_MS });
    const complete = async (result: Pick<AuditEntry, "outcome" | "error">): Promise<void> => {
      const { by, action, memberId } = entry;
      const fields = { ...defined({ memberId }), action, by, reason: entry.reason, outcome: result.outcome };
      log.info("operator acted", { event: "admin.acted", ...fields });
      try {
        // If another process has taken the action over, that one says what became of it.
        const options = { ttlMs: KEPT_MS, ...(pending.ok && { ifVersion: pending.version }) };
        await storage.put(auditKey(id), { ...stored, ...result, finishedAt: clock() }, options);
      } catch (err) {
        log.warn("failed to complete an audit entry", { event: "audit.incomplete", ...fields, err });
      }
    };
    try {
      const result = await act();
      const message = refusal?.(result);
      await complete(message === undefined ? { outcome: "done" } : { outcome: "refused", error: { message } });
      return result;
    } catch (error) {
      const { action, memberId } = entry;
      await complete(failureOf(action, error, memberId === undefined ? [] : issuedTokens(memberId)));
      throw error;
    }
  };
}

/** Returns whether an action has begun, and may be done in part. */
export async function hasBegun(storage: Storage, id: string): Promise<boolean> {
  const { outcome } = (await storage.get<StoredAuditEntry>(auditKey(id)))?.value ?? {};
  return outcome === "pending" || outcome === "failed";
}

/** Completes the entry of an action that is known to be done, if its process has ended before it could. */
export async function completeAudit({ storage, clock }: AppRuntime, id: string): Promise<void> {
  await updateEntry<StoredAuditEntry>(
    storage,
    auditKey(id),
    (entry) => {
      if (entry?.value.outcome !== "pending") return undefined;
      return { ...entry.value, outcome: "done", finishedAt: clock() };
    },
    undefined,
    { ttlMs: KEPT_MS },
  );
}

/** Returns a function that returns ids. Each comes before all earlier ones of this process, and those of earlier times. */
export function createIds({ clock, random }: Pick<AppRuntime, "clock" | "random">): () => string {
  let latest = -Infinity;
  let count = 0;
  return () => {
    const now = Math.max(clock(), latest);
    count = now === latest ? count + 1 : 0;
    latest = now;
    return `${LAST_TIME - now}-${String(MAX_COUNT - count).padStart(6, "0")}-${random()}`;
  };
}

function failureOf(
  action: AuditedAction,
  error: unknown,
  secrets: readonly Secret[],
): Pick<AuditEntry, "outcome" | "error"> {
  const { message } = redactError(error, secrets);
  // In the middle of a rollback, an `undo` may throw these.
  const isInvalid = action !== "rollback" && (error instanceof TypeError || error instanceof VersionError);
  const isRefused = isInvalid || (error instanceof OnAppUpdateError && REFUSALS.includes(error.code));
  const code = error instanceof OnAppUpdateError ? error.code : undefined;
  return {
    outcome: isRefused ? "refused" : "failed",
    error: { ...defined({ code }), message: message.slice(0, MAX_MESSAGE) },
  };
}

/** Codes of errors that are thrown before anything is changed. */
const REFUSALS: readonly ErrorCode[] = [
  "unknown_batch",
  "unknown_portal",
  "not_due",
  "busy",
  "nothing_to_roll_back",
  "rollback_unfinished",
  "invalid_target",
  "invalid_version",
  "unknown_rollout",
  "unknown_silence",
  "rollout_over",
  "last_stage",
  "other_stage",
];

const ACTIONS: Readonly<Record<AuditedAction, true>> = {
  retry: true,
  skip: true,
  rollback: true,
  setInitialVersion: true,
  setTarget: true,
  forget: true,
  pause: true,
  resume: true,
  batch: true,
  adopt: true,
  "outbox.retry": true,
  recount: true,
  "rollout.set": true,
  "rollout.pause": true,
  "rollout.resume": true,
  "rollout.promote": true,
  "rollout.abort": true,
  check: true,
  rehearse: true,
  "silence.add": true,
  "silence.remove": true,
  export: true,
};

/** Maximum length of the details of a note, as JSON. */
const MAX_DETAILS = 4000;

const NOTE_RULES: OptionRules<ActionNote> = {
  ...ATTRIBUTION_RULES,
  action: option.required(option.oneOf(...Object.keys(ACTIONS))),
  memberId: option.text("a member_id"),
  details: option.value(
    `an object whose JSON has at most ${MAX_DETAILS} characters`,
    (details) => typeof details === "object" && details !== null && JSON.stringify(details).length <= MAX_DETAILS,
  ),
  refusal: option.text("the reason of a refusal"),
};

/** Records what was done or refused elsewhere; see `Admin.noteAction`. */
export async function noteAction<T>(
  audited: Audited,
  note: ActionNote,
  // Without an action, nobody asks for its result.
  act: () => Promise<T> = () => Promise.resolve(undefined as T),
): Promise<T> {
  checkOptions("cannot note an action", note, NOTE_RULES);
  const { refusal, ...entry } = note;
  return await audited(entry, act, () => refusal?.slice(0, MAX_MESSAGE));
}

const FILTER_RULES: OptionRules<AuditFilter> = {
  memberId: option.text("a member_id"),
  by: option.text("an operator"),
  action: option.oneOf(...Object.keys(ACTIONS)),
  batchId: option.text("the id of a batch operation"),
  after: option.text("the id of an entry"),
  limit: option.number({ min: 1, isWhole: true }),
};

/** Maximum number of entries that a page reads. */
const MAX_READ = 1000;

/** Returns a page of the audit log; see `Admin.audit`. */
export async function listAudit(
  runtime: Pick<AppRuntime, "storage" | "log">,
  filter: AuditFilter = {},
): Promise<AuditPage> {
  checkOptions("cannot list the audit log", filter, FILTER_RULES);
  const { memberId, by, action, batchId, after, limit = 100 } = filter;
  const items: AuditEntry[] = [];
  let read = 0;
  const options = defined({ after: after === undefined ? undefined : auditKey(after) });
  for await (const entry of listReadable(runtime, AUDIT, entryOf, options)) {
    read++;
    const matches = (memberId ?? entry.memberId) === entry.memberId && (by ?? entry.by) === entry.by &&
      (action ?? entry.action) === entry.action && (batchId ?? entry.batchId) === entry.batchId;
    if (matches) items.push(entry);
    if (items.length === limit || read === MAX_READ) return { items, next: entry.id };
  }
  return { items };
}

/** @throws {FormatError} if newer code wrote the entry */
function entryOf({ key, value: { format, ...entry } }: Entry<StoredAuditEntry>): AuditEntry {
  const id = key.at(-1)!;
  if (format !== AUDIT_FORMAT) throw new FormatError(`audit entry ${id}`, format, AUDIT_FORMAT);
  return { id, ...entry };
}
