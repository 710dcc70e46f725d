/** The adoption of one portal: verified, then stored by one write of its record. */
import type { AppInfo } from "../../bitrix24/oauth_client.ts";
import type { AdoptedPairs, VerifyPairOptions } from "../../credentials/adopted_pairs.ts";
import { defined } from "../../defined.ts";
import { UnreachableError } from "../../errors.ts";
import type { AdoptionLine } from "../../plugin/adoption.ts";
import type { AppRuntime } from "../../plugin/runtime.ts";
import { openRecord, readWithCredentials } from "../../portal/credentials_record.ts";
import { adoptedPairKey } from "../../portal/keys.ts";
import { type PortalRecord, readRecord } from "../../portal/record.ts";
import { type RecordChange, writeRecord } from "../../portal/record_store.ts";
import { scheduled, withWork } from "../../portal/schedule.ts";
import type { StoredTokens } from "../../portal/tokens.ts";
import type { Entry, Storage } from "../../storage/storage.ts";
import type { Checks } from "../../worker/checks.ts";
import type { OfferedPortal } from "./adopt_line.ts";
import {
  adoptedRecord,
  type Adoption,
  filledIn,
  hasPair,
  type Refusal,
  refusalOf,
  versionConflict,
} from "./adopted_record.ts";
import { versionsOf } from "./adopted_version.ts";

/** The parts of an app that adopt portals. */
export interface AdoptPortalParts {
  readonly runtime: AppRuntime;
  readonly pairs: AdoptedPairs;
  readonly checks: Pick<Checks, "dueAt">;
}

/** Options of {@linkcode adoptPortal}. */
export interface AdoptPortalOptions extends VerifyPairOptions {
  /** Nothing is stored. */
  readonly dryRun: boolean;
}

/** The outcome of a portal. */
export type PortalOutcome = Omit<AdoptionLine, "line">;

/**
 * Adopts a portal.
 *
 * @throws {B24Error} if an OAuth host refuses the keys of the app
 * @throws {StorageError} if the storage fails
 */
export async function adoptPortal(
  parts: AdoptPortalParts,
  offered: OfferedPortal,
  options: AdoptPortalOptions,
): Promise<PortalOutcome> {
  const { runtime: { storage, clock, digest } } = parts;
  const { memberId, applicationToken } = offered;
  const lacksPair = (record: PortalRecord | undefined): boolean =>
    refusalOf(record) === undefined && (record === undefined || !hasPair(record, clock()));
  let { entry, record } = await load(storage, memberId);
  let pair: Adoption["pair"];
  if (lacksPair(record)) {
    const answer = await verify(parts, offered, options);
    ({ entry, record } = await load(storage, memberId));
    if (!("reason" in answer)) pair = answer;
    // Another process may have adopted it meanwhile, with the pair that was refreshed.
    else if (lacksPair(record)) return notAdopted(memberId, answer);
  }
  const applicationTokenDigest = applicationToken === undefined ? undefined : await digest(applicationToken);
  const adoption = { memberId, ...defined({ applicationTokenDigest, pair }) };
  if (options.dryRun) return decide(parts, record, offered, adoption).outcome;
  let outcome: PortalOutcome | undefined;
  const change = (current: PortalRecord | undefined): RecordChange | undefined => {
    const decision = decide(parts, current, offered, adoption);
    outcome = decision.outcome;
    return decision.change;
  };
  await writeRecord(storage, memberId, change, entry, "opened");
  return outcome!;
}

/** Reads the record of a portal, and returns it as it is stored and with all its token pairs. */
async function load(
  storage: Storage,
  memberId: string,
): Promise<{ readonly entry: Entry<PortalRecord> | null; readonly record: PortalRecord | undefined }> {
  const [entry, credentials] = await readWithCredentials(storage, memberId, undefined);
  const stored = readRecord(entry);
  return { entry, record: stored && openRecord(stored, credentials) };
}

/** Verifies the pair of a line, and that its portal can be called. */
async function verify(
  { pairs }: AdoptPortalParts,
  offered: OfferedPortal,
  options: AdoptPortalOptions,
): Promise<{ readonly tokens: StoredTokens; readonly info: AppInfo } | Refusal> {
  try {
    const answer = await pairs.verify(offered, { ...options, refresh: options.refresh && !options.dryRun });
    if ("problem" in answer) return { reason: answer.problem, message: answer.message };
    const { clientEndpoint, refusedEndpoint } = answer.info;
    if (clientEndpoint !== undefined) return answer;
    return { reason: "address", message: refusedEndpoint?.message ?? "Bitrix24 names no address of the portal" };
  } catch (error) {
    options.signal.throwIfAborted();
    if (!(error instanceof UnreachableError)) throw error;
    return { reason: "unreachable", message: `unverified: ${error.message}` };
  }
}

/** The outcome for a portal. */
interface Decision {
  readonly outcome: PortalOutcome;
  /** Absent if nothing is to be stored. */
  readonly change?: RecordChange;
}

/** Decides by the record as it is stored. Has no effects. */
function decide(
  { runtime, checks }: AdoptPortalParts,
  record: PortalRecord | undefined,
  offered: OfferedPortal,
  adoption: Adoption,
): Decision {
  const { clock, random } = runtime;
  const { memberId, pair } = adoption;
  const refusal = refusalOf(record);
  if (refusal !== undefined) return { outcome: notAdopted(memberId, refusal) };
  const isKnown = record?.version !== undefined;
  const found = isKnown ? undefined : versionsOf(runtime, { offered, ...defined({ info: pair?.info, record }) });
  const versions = found !== undefined && "version" in found ? found : undefined;
  const problem = found !== undefined && "reason" in found ? found : undefined;
  const now = clock();
  if (record === undefined) {
    if (versions === undefined || pair === undefined) return { outcome: notAdopted(memberId, problem ?? VANISHED) };
    const next = adoptedRecord({ ...adoption, ...versions, pair }, now);
    const checkAt = checks.dueAt(next);
    const change = next.version !== next.target
      ? withWork(next, now, random)
      : checkAt === undefined
      ? { record: next }
      : scheduled(next, checkAt, random);
    return { outcome: outcomeOf(next, "adopted"), change: withoutSavedPair(change) };
  }
  const next = filledIn(record, { ...adoption, ...versions }, now);
  const note = problem ?? versionConflict(record, offered.version);
  if (next === record) return { outcome: outcomeOf(record, "unchanged", note) };
  return { outcome: outcomeOf(next, "filled_in", note), change: withoutSavedPair(withWork(next, now, random)) };
}

/** The record was deleted by hand while the portal was adopted. */
const VANISHED: Refusal = { reason: "unreachable", message: "its record has vanished meanwhile; adopt it again" };

/** Returns the change that also deletes the pair that an adoption has refreshed for the portal. */
function withoutSavedPair(change: RecordChange): RecordChange {
  return { ...change, after: [...change.after ?? [], { delete: adoptedPairKey(change.record.memberId) }] };
}

function outcomeOf(
  { memberId, version, target }: PortalRecord,
  outcome: PortalOutcome["outcome"],
  note?: Refusal,
): PortalOutcome {
  return { memberId, outcome, ...note, ...defined({ version, target }) };
}

function notAdopted(memberId: string, refusal: Refusal): PortalOutcome {
  return { memberId, outcome: "not_adopted", ...refusal };
}
