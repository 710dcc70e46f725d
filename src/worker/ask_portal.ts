/** Asks Bitrix24 about one portal, raises its target to the installed version, and settles what its events claim. */
import { B24Error } from "../bitrix24/b24_error.ts";
import type { AppInfo } from "../bitrix24/oauth_client.ts";
import type { ProfileCall } from "../bitrix24/profile.ts";
import type { AppCredentials } from "../credentials/provider.ts";
import { defined } from "../defined.ts";
import { AddressError, NoCredentialsError, UnreachableError } from "../errors.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { canAsk } from "../portal/claims.ts";
import type { PortalRecord } from "../portal/record.ts";
import type { RecordAccess } from "../portal/record_access.ts";
import type { RecordChange } from "../portal/record_store.ts";
import { withWork } from "../portal/schedule.ts";
import { redactError } from "../redact.ts";
import { type Answer, settle, type Settlement } from "../portal/settle.ts";

/** The parts of an app that ask Bitrix24. */
export interface AskOptions {
  readonly runtime: AppRuntime;
  readonly credentials: AppCredentials;
  /** Calls `profile` of a portal, whose answer shows whether the portal is paid for. */
  readonly profile: ProfileCall;
}

/** The answer of Bitrix24 about a portal, and its effects. */
export interface PortalAnswer {
  /** The answer of `app.info`; absent if there is an `error`. */
  readonly info?: AppInfo;
  /** The installed version as the app reads it; absent if it is unknown. */
  readonly installed?: string;
  /** The reason why no host could be asked, or the other answer of Bitrix24. */
  readonly error?: NoCredentialsError | B24Error | UnreachableError;
  /** The target has risen. */
  readonly isRaised: boolean;
  /** The answer has caused work, which is scheduled unless the caller holds the lease. */
  readonly hasWork: boolean;
}

/**
 * Asks Bitrix24 about an installed portal, with the tokens that are stored, and applies the answer to its record. The holder of
 * the lease needs no reads, and its next write stores the answer: a crash before it loses the answer.
 *
 * @throws {UnknownPortalError} if the portal is not stored
 * @throws {StorageError} if the storage fails
 */
export async function askBitrix24(options: AskOptions, access: RecordAccess): Promise<PortalAnswer> {
  const { memberId, isLeased } = access;
  const { tracer, issuedTokens } = options.runtime;
  // The record of a lease is in memory.
  const cause = isLeased ? causeOf(await access.load()) : { isFirst: true };
  return await tracer.trace({ kind: "check", memberId, ...cause }, async (note) => {
    const answer = await ask(options, access);
    const { error } = answer;
    note(() =>
      error === undefined
        ? { outcome: "finished" }
        : { outcome: "failed", error: redactError(error, issuedTokens(memberId)) }
    );
    return answer;
  });
}

/** Returns which event has made the claims of a portal, for traces, and whether Bitrix24 has not been asked about them yet. */
function causeOf({ inbox = [], claims = {} }: PortalRecord): { readonly isFirst: boolean; readonly trace?: string } {
  const open = Object.values(claims).filter(({ settled }) => settled === undefined);
  return {
    isFirst: open.every(({ answeredAt, unanswered }) => answeredAt === undefined && unanswered === undefined),
    ...defined({ trace: inbox.findLast(({ trace }) => trace !== undefined)?.trace }),
  };
}

async function ask(options: AskOptions, access: RecordAccess): Promise<PortalAnswer> {
  const { runtime, credentials } = options;
  try {
    const info = await credentials.inspect(access);
    const installed = info.version === undefined ? undefined : parseInstalled(runtime, info.version);
    const answer: Answer = {
      state: "installed",
      ...defined({
        // VERSION of a local app never changes.
        raw: runtime.versions.deployed === undefined ? info.version : undefined,
        version: installed,
        isHeldBack: runtime.rollout?.holdsBack(access.memberId),
        isPaid: await isPaid(options, access),
      }),
    };
    return { info, ...defined({ installed }), ...await applyAnswer(runtime, access, answer) };
  } catch (error) {
    const isExpected = error instanceof NoCredentialsError || error instanceof B24Error ||
      error instanceof UnreachableError;
    if (!isExpected) throw error;
    const answer = answerOf(runtime, error, await access.load());
    return { error, ...await applyAnswer(runtime, access, answer) };
  }
}

/** Returns what an error says about the portal. */
function answerOf({ canRefresh, clock }: AppRuntime, error: Error, { tokens }: PortalRecord): Answer {
  if (error instanceof B24Error && error.isNotInstalled) return { state: "not_installed" };
  if (error instanceof B24Error && error.blockedOn === "payment") return { state: "unpaid" };
  // A pair that is not verified stays if an OAuth host refuses it: it may be another portal's.
  const left = error instanceof NoCredentialsError ? tokens?.filter(({ isVerified }) => isVerified === true) : tokens;
  return { state: canAsk(left, clock(), canRefresh) ? "none" : "no_tokens" };
}

/** Returns whether the portal is paid for, if that is claimed; `undefined` if the portal does not say. */
async function isPaid({ credentials, profile }: AskOptions, access: RecordAccess): Promise<boolean | undefined> {
  const { payment } = (await access.load()).claims ?? {};
  if (payment === undefined || payment.settled !== undefined) return undefined;
  try {
    await access.runOnStored(() =>
      credentials.provider.call(
        access.memberId,
        ({ clientEndpoint, accessToken }) => profile(clientEndpoint, accessToken),
      )
    );
    return true;
  } catch (error) {
    const hasAnswered = error instanceof NoCredentialsError || error instanceof B24Error;
    if (hasAnswered) return error.blockedOn === "payment" ? false : undefined;
    if (error instanceof UnreachableError || error instanceof AddressError) return undefined;
    throw error;
  }
}

/** Reads the version that Bitrix24 reports. For a local app it is meaningless: the version of the code counts. */
function parseInstalled({ versions, log }: AppRuntime, raw: string): string | undefined {
  if (versions.deployed !== undefined) return versions.deployed;
  try {
    return versions.parse(raw);
  } catch (err) {
    log.warn("installed version not readable", { event: "check.version_unreadable", err });
    return undefined;
  }
}

/** Applies an answer to the record of its portal. Schedules the portal if that causes work. */
async function applyAnswer(
  runtime: AppRuntime,
  access: RecordAccess,
  answer: Answer,
): Promise<Pick<PortalAnswer, "isRaised" | "hasWork">> {
  const { clock, random } = runtime;
  const now = clock();
  let before: PortalRecord | undefined;
  let settlement: Settlement | undefined;
  const change = (record: PortalRecord): RecordChange => {
    before = record;
    settlement = settle(record, answer, now);
    // The holder of the lease does the work itself. In its record, work that is counted has arrived from others.
    const isScheduled = settlement.hasWork && !access.isLeased;
    return isScheduled ? withWork(settlement.record, now, random) : { record: settlement.record };
  };
  await access.change(change, () => reportSettlement(runtime, before!, settlement!));
  const { isRaised, hasWork } = settlement!;
  return { isRaised, hasWork };
}

/** Logs what an answer has changed. */
function reportSettlement(
  runtime: AppRuntime,
  { memberId, target: from }: PortalRecord,
  { record: { target: to }, isRaised, dropped }: Settlement,
): void {
  const { log } = runtime;
  if (isRaised) log.debug("target raised", { event: "target.raised", memberId, from, to });
  for (const claim of dropped) {
    log.warn("claim dropped: Bitrix24 did not confirm it", { event: "claim.dropped", memberId, ...claim });
  }
}
