/**
 * What an event makes of a portal's record. A pure function: an event raises the level that the portal should be on,
 * so repeated, reordered and late events end in the same record, and taking one in twice is taking it in once.
 */
import type { B24Event } from "../bitrix24/events.ts";
import { InputError, VersionError } from "../errors.ts";
import { BLOCKED_RETRY_MS } from "../retry.ts";
import type { Entry, Storage } from "../storage/storage.ts";
import { updateEntry } from "../storage/update.ts";
import { compareVersions, refines, type VersionScheme } from "../version.ts";
import { portalKey } from "./keys.ts";
import { PORTAL_FORMAT, type PortalRecord, readRecord } from "./record.ts";
import { mergeTokens, tokensOfEvent, type VerifiedTokens } from "./tokens.ts";

/** What is known besides the event. */
export interface EventFacts {
  readonly verification: StoredVerification;
  readonly versions: VersionScheme;
  /** When the event came, in milliseconds since 1970. */
  readonly receivedAt: number;
}

/** What plugins of phase `verify` proved, as it can be stored. */
export interface StoredVerification {
  readonly applicationTokenDigest?: string;
  readonly clientEndpoint?: string;
  readonly installedVersion?: string;
  readonly scope?: readonly string[];
  readonly tokens?: VerifiedTokens;
}

/**
 * The record after `event`; `record` itself when nothing changes.
 *
 * @throws {InputError} when a version is unreadable, or the portal is new and the event does not say where it comes from
 * @throws whatever else the scheme throws when it is not ready for a version
 */
export function applyEvent(record: PortalRecord | undefined, event: B24Event, facts: EventFacts): PortalRecord {
  // What was sent before the app was removed is of that installation, also when it has been installed again since.
  if (record?.uninstalledTs !== undefined && sentTs(event, facts) < record.uninstalledTs) return record;
  const next = withFacts(life(record, event, facts), event, facts);
  return record !== undefined && isSame(next, record) ? record : next;
}

/** The record of a portal that is new, at an event whose version the code cannot read yet. */
export function awaitingVersion(event: B24Event, facts: EventFacts): PortalRecord {
  return withFacts(blank(event, facts), event, facts);
}

/** Parts that did not change are the same objects. */
function isSame(a: PortalRecord, b: PortalRecord): boolean {
  const keys = Object.keys(a) as (keyof PortalRecord)[];
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}

/** The version that the portal is on according to `event`, and to Bitrix24 itself where that was asked. */
export function announcedVersion(event: B24Event, { verification, versions }: EventFacts): string | undefined {
  if (versions.deployed !== undefined) return versions.deployed;
  const said = event.name === "ONAPPUPDATE" || event.name === "ONAPPINSTALL" ? event.data.version : undefined;
  const proved = verification.installedVersion;
  if (said === undefined) return proved === undefined ? undefined : readable(proved, versions);
  // app.info knows an integer where the event may say more of the same.
  const agree = proved === undefined || refines(said, proved);
  return readVersion("data.VERSION", agree ? said : proved, versions);
}

function readVersion(path: string, raw: string, versions: VersionScheme): string {
  try {
    return versions.parse(raw);
  } catch (error) {
    if (!(error instanceof VersionError)) throw error;
    throw new InputError([{ path, saw: JSON.stringify(error.raw.slice(0, 40)), wanted: "a version that can be read" }]);
  }
}

/** Of an event that is not about versions, an unreadable one is no reason to refuse it. */
function readable(raw: string, versions: VersionScheme): string | undefined {
  try {
    return versions.parse(raw);
  } catch {
    return undefined;
  }
}

function life(record: PortalRecord | undefined, event: B24Event, facts: EventFacts): PortalRecord {
  if (event.name === "ONAPPUNINSTALL") return uninstalled(record, event, facts);
  if (record === undefined || isReinstalled(record, event, facts)) return installed(record, event, facts);
  if (record.status === "uninstalled") return record;
  if (record.generation === 0) return installed(record, event, facts);
  const known = { ...record, installedTs: Math.max(record.installedTs, installationTs(event, facts)) };
  const version = announcedVersion(event, facts);
  if (version === undefined || (record.target !== undefined && compareVersions(version, record.target) <= 0)) {
    return known;
  }
  const start = record.version ?? (saysStart(event) ? startOf(event, version, facts.versions) : version) ?? version;
  return { ...known, initialVersion: record.initialVersion ?? start, version: start, target: version };
}

/** Seconds since 1970; a `ts` in the future, which proves nothing, must not outrank all events that are to come. */
function sentTs({ ts }: B24Event, { receivedAt }: EventFacts): number {
  return Math.min(ts, Math.floor(receivedAt / 1000));
}

/** When the app was there according to `event`: a removal that is older is the late one of an earlier installation. */
function installationTs(event: B24Event, facts: EventFacts): number {
  return event.name === "ONAPPINSTALL" || event.name === "ONAPPUPDATE" ? sentTs(event, facts) : 0;
}

/** Whether a removed portal is there again: a newer installation, or Bitrix24's own word for it. */
function isReinstalled(record: PortalRecord, event: B24Event, facts: EventFacts): boolean {
  if (record.status === "installed") return false;
  const isNewer = sentTs(event, facts) >= (record.uninstalledTs ?? 0);
  return isNewer && (event.name === "ONAPPINSTALL" || facts.verification.installedVersion !== undefined);
}

function installed(record: PortalRecord | undefined, event: B24Event, facts: EventFacts): PortalRecord {
  const target = announcedVersion(event, facts);
  const version = startOf(event, target, facts.versions);
  return {
    ...blank(event, facts),
    ...workOf(record),
    generation: (record?.generation ?? 0) + 1,
    ...(version === undefined ? {} : { initialVersion: version, version }),
    ...(target === undefined ? {} : { target }),
    ...(record?.applicationToken === undefined ? {} : { applicationToken: record.applicationToken }),
    ...(record?.uninstalledTs === undefined ? {} : { uninstalledTs: record.uninstalledTs }),
    latestTs: record?.latestTs ?? 0,
  };
}

/** What is about the work on a portal rather than about the portal. */
function workOf(record: PortalRecord | undefined): Partial<PortalRecord> {
  const { inboxSequence, fencingToken, lease, due, supersededDue, indexedAs } = record ?? {};
  return {
    ...(indexedAs === undefined ? {} : { indexedAs }),
    ...(inboxSequence === undefined ? {} : { inboxSequence }),
    ...(fencingToken === undefined ? {} : { fencingToken }),
    ...(lease === undefined ? {} : { lease }),
    ...(due === undefined ? {} : { due }),
    ...(supersededDue === undefined ? {} : { supersededDue }),
  };
}

function blank(event: B24Event, facts: EventFacts): PortalRecord {
  return {
    format: PORTAL_FORMAT,
    memberId: event.auth.memberId,
    domain: event.auth.domain,
    status: "installed",
    generation: 0,
    applied: [],
    installedTs: sentTs(event, facts),
    latestTs: 0,
  };
}

function saysStart(event: B24Event): event is Extract<B24Event, { name: "ONAPPUPDATE" | "ONAPPINSTALL" }> {
  return event.name === "ONAPPUPDATE" || event.name === "ONAPPINSTALL";
}

/**
 * Where a portal begins that is new here. PREVIOUS_VERSION counts only for that: of a portal that is known, the stored
 * version is the better one.
 */
function startOf(event: B24Event, target: string | undefined, versions: VersionScheme): string | undefined {
  if (!saysStart(event) || versions.deployed !== undefined) return target;
  const { path, raw } = event.name === "ONAPPINSTALL"
    ? { path: "data.VERSION", raw: event.data.version }
    : { path: "data.PREVIOUS_VERSION", raw: event.data.previousVersion };
  if (raw === undefined) {
    throw new InputError([
      { path, saw: "nothing", wanted: "the version that the portal comes from, for it is not known here yet" },
    ]);
  }
  const start = readVersion(path, raw, versions);
  return target !== undefined && compareVersions(start, target) > 0 ? target : start;
}

function uninstalled(record: PortalRecord | undefined, event: B24Event, facts: EventFacts): PortalRecord {
  const ts = sentTs(event, facts);
  if (record === undefined) {
    return { ...blank(event, facts), status: "uninstalled", installedTs: 0, uninstalledTs: ts };
  }
  // The late removal of an earlier installation.
  if (ts < record.installedTs) return record;
  const { tokens: _t, failure: _f, blocked: _w, refreshing: _r, check: _c, ...rest } = record;
  return { ...rest, status: "uninstalled", uninstalledTs: Math.max(ts, record.uninstalledTs ?? 0) };
}

function withFacts(record: PortalRecord, event: B24Event, facts: EventFacts): PortalRecord {
  const ts = sentTs(event, facts);
  // What a late event was sent with is neither the address nor the token of today.
  if (ts < record.latestTs) return { ...record, ...tokensOf(record, event, ts, facts) };
  const { applicationTokenDigest: digest } = facts.verification;
  // What Bitrix24 has said since is newer; an event that waits is taken in again whenever it is tried.
  const isOutdated = (record.check?.at ?? 0) > facts.receivedAt;
  const { clientEndpoint, scope }: StoredVerification = isOutdated ? {} : facts.verification;
  const known = record.applicationToken;
  return {
    ...withWait(record, event, facts),
    domain: event.auth.domain,
    latestTs: ts,
    ...(clientEndpoint === undefined ? {} : { clientEndpoint }),
    ...(scope === undefined || isSameScope(scope, record.scope) ? {} : { scope }),
    ...(facts.verification.tokens === undefined || (record.check?.at ?? 0) >= facts.receivedAt
      ? {}
      : { check: { at: facts.receivedAt } }),
    ...(digest === undefined || digest === known?.current ? {} : {
      applicationToken: {
        current: digest,
        ...(known === undefined ? {} : { previous: { digest: known.current, replacedAt: facts.receivedAt } }),
      },
    }),
    ...tokensOf(record, event, ts, facts),
  };
}

/** The record with what `event` says of what the portal waits for. */
function withWait(record: PortalRecord, event: B24Event, { receivedAt }: EventFacts): PortalRecord {
  const { blocked, ...rest } = record;
  if (record.status === "uninstalled") return record;
  if (event.name === "ONAPPPAYMENT" && event.data.paymentExpired && blocked?.on !== "payment") {
    const message = "the paid period of the app is over";
    return {
      ...rest,
      blocked: { on: "payment", message, since: receivedAt, nextTryAt: receivedAt + BLOCKED_RETRY_MS },
    };
  }
  if (blocked === undefined || blocked.since > receivedAt) return record;
  const isOver = event.name === "ONAPPINSTALL" || event.name === "ONAPPUPDATE" ||
    (event.name === "ONAPPPAYMENT" && !event.data.paymentExpired && blocked.on === "payment") ||
    (event.name === "ONAPPMETHODCONFIRM" && blocked.on === "confirmation") ||
    ((event.auth.accessToken !== undefined || event.name === "ONAPPUSERREADY") &&
      (blocked.on === "authorization" || blocked.on === "administrator"));
  return isOver ? rest : record;
}

function isSameScope(a: readonly string[], b: readonly string[] | undefined): boolean {
  return b !== undefined && a.join() === b.join();
}

/** The record with the tokens of `event`. */
function tokensOf(
  { status, tokens }: PortalRecord,
  event: B24Event,
  ts: number,
  { verification }: EventFacts,
): Pick<PortalRecord, "tokens"> {
  if (status === "uninstalled") return {};
  const taken = tokensOfEvent(event, ts, verification.tokens).reduce(mergeTokens, tokens);
  return taken === undefined ? {} : { tokens: taken };
}

/** Takes the event into its portal's record. `known` saves reading it. */
export async function storeEvent(
  storage: Storage,
  event: B24Event,
  facts: EventFacts,
  known?: Entry<PortalRecord> | null,
): Promise<void> {
  const change = (entry: Entry<PortalRecord> | null): PortalRecord => applyOrDefer(readRecord(entry), event, facts);
  await updateEntry<PortalRecord>(storage, portalKey(event.auth.memberId), change, known);
}

/** The record with the event in it; where the scheme of versions is not ready for it, the event waits for one that is. */
export function applyOrDefer(record: PortalRecord | undefined, event: B24Event, facts: EventFacts): PortalRecord {
  return tryApplyEvent(record, event, facts) ?? record ?? awaitingVersion(event, facts);
}

/**
 * The record with the event in it; `undefined` when the scheme of versions is not ready for it, as `notReady` is told.
 *
 * @throws {InputError} when no scheme can be
 */
export function tryApplyEvent(
  record: PortalRecord | undefined,
  event: B24Event,
  facts: EventFacts,
  notReady: (error: unknown) => void = () => {},
): PortalRecord | undefined {
  try {
    return applyEvent(record, event, facts);
  } catch (error) {
    if (error instanceof InputError) throw error;
    notReady(error);
    return undefined;
  }
}
