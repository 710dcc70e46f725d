/**
 * What an event makes of a portal's record. A pure function: an event raises the level that the portal should be on,
 * so repeated, reordered and late events end in the same record.
 */
import { InputError, VersionError } from "../errors.ts";
import type { B24Event } from "../wire/events.ts";
import { compareVersions, type VersionScheme } from "../version.ts";
import { PORTAL_FORMAT, type PortalRecord } from "./record.ts";

/** What is known besides the event. */
export interface Facts {
  /** To recognise a repetition; absent when the event causes no work. */
  readonly deliveryId?: string;
  readonly proof: StoredProof;
  readonly versions: VersionScheme;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** What plugins of phase `verify` proved, as it can be stored. */
export interface StoredProof {
  readonly applicationTokenDigest?: string;
  readonly clientEndpoint?: string;
  readonly installedVersion?: string;
}

/** How many deliveries a record remembers. Events of an app's life are rare: this is years of them. */
const REMEMBERED_DELIVERIES = 64;

/**
 * The record after `event`; `record` itself when nothing changes.
 *
 * @throws {InputError} when a version is unreadable, or the portal is new and the event does not say where it comes from
 * @throws whatever else the scheme throws when it is not ready for a version
 */
export function nextRecord(record: PortalRecord | undefined, event: B24Event, facts: Facts): PortalRecord {
  const next = remember(withFacts(life(record, event, facts), event, facts), facts.deliveryId);
  return JSON.stringify(next) === JSON.stringify(record) ? record! : next;
}

/** The version that the portal is on according to `event`, and to Bitrix24 itself where that was asked. */
export function announcedVersion(event: B24Event, { proof, versions }: Facts): string | undefined {
  if (versions.deployed !== undefined) return versions.deployed;
  const said = event.name === "ONAPPUPDATE" || event.name === "ONAPPINSTALL" ? event.data.version : undefined;
  const proved = proof.installedVersion;
  if (said === undefined) return proved === undefined ? undefined : readable(proved, versions);
  // app.info knows an integer where the event may say more of the same: 2 and "2.1.0".
  const agree = proved === undefined || said.replace(/^v/i, "").startsWith(`${proved}.`);
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

function life(record: PortalRecord | undefined, event: B24Event, facts: Facts): PortalRecord {
  if (event.name === "ONAPPUNINSTALL") return uninstalled(record, event);
  if (record === undefined || beginsAnew(record, event, facts)) return installed(record, event, facts);
  const version = record.status === "installed" ? announcedVersion(event, facts) : undefined;
  if (version === undefined || (record.target !== undefined && compareVersions(version, record.target) <= 0)) {
    return record;
  }
  return { ...record, baseline: record.baseline ?? version, version: record.version ?? version, target: version };
}

/** Whether a removed portal is there again: a newer installation, or Bitrix24's own word for it. */
function beginsAnew(record: PortalRecord, event: B24Event, { proof }: Facts): boolean {
  if (record.status === "installed") return false;
  const isNewer = event.ts > (record.uninstalledTs ?? 0);
  return isNewer && (event.name === "ONAPPINSTALL" || proof.installedVersion !== undefined);
}

function installed(record: PortalRecord | undefined, event: B24Event, facts: Facts): PortalRecord {
  const target = announcedVersion(event, facts);
  const version = event.name === "ONAPPUPDATE" ? startOf(event.data.previousVersion, target, facts.versions) : target;
  return {
    format: PORTAL_FORMAT,
    memberId: event.auth.memberId,
    domain: event.auth.domain,
    status: "installed",
    generation: (record?.generation ?? 0) + 1,
    ...(version === undefined ? {} : { baseline: version, version }),
    ...(target === undefined ? {} : { target }),
    applied: [],
    ...(record?.applicationToken === undefined ? {} : { applicationToken: record.applicationToken }),
    installedTs: event.ts,
    deliveries: record?.deliveries ?? [],
  };
}

/** PREVIOUS_VERSION counts only here: of a portal that is known, the stored version is the better one. */
function startOf(previousVersion: string | undefined, target: string | undefined, versions: VersionScheme): string {
  if (previousVersion === undefined) {
    throw new InputError([{
      path: "data.PREVIOUS_VERSION",
      saw: "nothing",
      wanted: "the version that the portal comes from, for it is not known here yet",
    }]);
  }
  const start = readVersion("data.PREVIOUS_VERSION", previousVersion, versions);
  return target !== undefined && compareVersions(start, target) > 0 ? target : start;
}

function uninstalled(record: PortalRecord | undefined, event: B24Event): PortalRecord {
  if (record === undefined) {
    return {
      format: PORTAL_FORMAT,
      memberId: event.auth.memberId,
      domain: event.auth.domain,
      status: "uninstalled",
      generation: 0,
      applied: [],
      installedTs: 0,
      uninstalledTs: event.ts,
      deliveries: [],
    };
  }
  // The late removal of an earlier installation.
  if (event.ts < record.installedTs) return record;
  const { tokens: _t, failure: _f, ...rest } = record;
  return { ...rest, status: "uninstalled", uninstalledTs: Math.max(event.ts, record.uninstalledTs ?? 0) };
}

function withFacts(record: PortalRecord, event: B24Event, { proof, now }: Facts): PortalRecord {
  const digest = proof.applicationTokenDigest;
  const known = record.applicationToken;
  return {
    ...record,
    domain: event.auth.domain,
    ...(proof.clientEndpoint === undefined ? {} : { clientEndpoint: proof.clientEndpoint }),
    ...(digest === undefined || digest === known?.current ? {} : {
      applicationToken: {
        current: digest,
        ...(known === undefined ? {} : { previous: { digest: known.current, replacedAt: now } }),
      },
    }),
    ...tokensOf(record, event),
  };
}

function tokensOf({ status, tokens }: PortalRecord, { auth, ts }: B24Event): Pick<PortalRecord, "tokens"> {
  const { accessToken, refreshToken, expiresAt, userId, scope } = auth;
  if (status === "uninstalled" || accessToken === undefined || expiresAt === undefined) return {};
  // Neither an older pair nor half a pair replaces one that works.
  if (tokens !== undefined && (ts < tokens.ts || refreshToken === undefined)) return {};
  return {
    tokens: {
      accessToken: accessToken.reveal(),
      ...(refreshToken === undefined ? {} : { refreshToken: refreshToken.reveal() }),
      expiresAt,
      ...(userId === undefined ? {} : { userId }),
      scope,
      ts,
    },
  };
}

function remember(record: PortalRecord, id: string | undefined): PortalRecord {
  if (id === undefined || record.deliveries.some((delivery) => delivery.id === id)) return record;
  const deliveries = [...record.deliveries, { id, done: false }];
  // Those that still wait for their work are never forgotten.
  const oldestDone = deliveries.length > REMEMBERED_DELIVERIES ? deliveries.findIndex(({ done }) => done) : -1;
  return { ...record, deliveries: oldestDone < 0 ? deliveries : deliveries.toSpliced(oldestDone, 1) };
}
