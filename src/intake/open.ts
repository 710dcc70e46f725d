/** From the POST of a browser that opens the app's page to what is stored of it. */
import type { B24Event } from "../bitrix24/events.ts";
import type { AppInfo } from "../bitrix24/oauth_client.ts";
import { type OpeningRequest, parseOpening } from "../bitrix24/opening.ts";
import { parseStored } from "../bitrix24/parse.ts";
import { defined } from "../defined.ts";
import { CannotVerifyError, InputError } from "../errors.ts";
import { type AppRuntime, notify, type ReserveSlot } from "../plugin/runtime.ts";
import { applyEvent, applyOrDefer } from "../portal/apply_event.ts";
import { type EventFacts, factsOf, type StoredVerification } from "../portal/event_facts.ts";
import type { AcceptedDelivery } from "../portal/inbox.ts";
import { nextAskAt } from "../portal/claims.ts";
import { portalKey } from "../portal/keys.ts";
import { withoutBlock } from "../portal/block.ts";
import { isVersionUnknown } from "../portal/origin.ts";
import { receivedAfter } from "../portal/receipt.ts";
import { type PortalRecord, readRecord } from "../portal/record.ts";
import { loadPortal, writeRecord } from "../portal/record_store.ts";
import type { Entry } from "../storage/storage.ts";
import { compareVersions } from "../version.ts";
import { storeDelivery } from "./store_delivery.ts";
import { type BodyReader, readForm } from "./http.ts";
import type { VerifiedOpening, VerifyOpening } from "./verify_opening.ts";

/** The parts of an app that openings use. */
export interface OpeningParts extends BodyReader {
  readonly runtime: AppRuntime;
  readonly verify: VerifyOpening;
  readonly reserve: ReserveSlot;
  /** Schedules a portal now. */
  readonly schedule: (memberId: string) => Promise<void>;
  /**
   * Raises the target of a portal to a version that an OAuth host has confirmed, and schedules the portal. Resolves to
   * whether the target was below it.
   */
  readonly raiseTarget: (memberId: string, version: string) => Promise<boolean>;
}

/** An opening that is verified, with what it has changed. */
export interface AcceptedOpening {
  readonly opening: OpeningRequest;
  readonly info: AppInfo;
  readonly isAdmin: boolean;
  /** The portal was not installed before this opening, as far as the app knew. */
  readonly isNew: boolean;
  /** The portal after the opening. Not stored if only an administrator's opening may store it. */
  readonly record: PortalRecord;
  /** The installation that the opening has started. */
  readonly delivery?: AcceptedDelivery;
  /** The opening has raised the portal's target, or ended what blocked it. */
  readonly hasWork: boolean;
}

/**
 * Time (ms) by which the clock of a process may be ahead of Bitrix24's. An opening has no `ts` of Bitrix24: it counts as so much
 * earlier, or a removal that follows it would count as late.
 */
const MAX_CLOCK_ERROR_MS = 60_000;

/** Returns the function that accepts openings: see {@linkcode AcceptedOpening}. */
export function createOpeningIntake(parts: OpeningParts): (request: Request) => Promise<AcceptedOpening> {
  const { runtime, verify, limits } = parts;
  const { storage, clock } = runtime;
  /** Answers of Bitrix24 that are stored, with what the portal said of the user: openings with the same answer change nothing. */
  const stored = new WeakMap<AppInfo, boolean>();

  return async (request) => {
    const form = await readForm(request, parts);
    const opening = parseOpening(addressOf(request).searchParams, form, clock(), limits);
    const entry = await storage.get<PortalRecord>(portalKey(opening.memberId));
    const record = readRecord(entry);
    const isNew = record === undefined || record.status === "uninstalled";
    // An answer from before a removal must not undo it.
    const verified = await verify(opening, { isKnown: record !== undefined, askedSince: isNew ? clock() : 0 });
    const { info, isAdmin = false } = verified;
    const found = { opening, info, isAdmin, isNew };
    if (!isNew && stored.get(info) === isAdmin) return { ...found, record, hasWork: false };

    // What was just verified is newer than everything that is stored.
    const receivedAt = receivedAfter(record, clock());
    const ts = Math.floor(receivedAfter(record, clock() - MAX_CLOCK_ERROR_MS) / 1000);
    const change: Change = { parts, opening, verified, receivedAt, ts, entry };
    const changed = info.isInstalled
      ? await storeContact(change)
      : isAdmin
      ? await (isNew ? startInstallation(change) : startUpdate(change))
      : ignoreInstaller(change);
    stored.set(info, isAdmin);
    return { ...found, ...changed };
  };
}

/** @throws {InputError} if the Host header is one that no URL can have: `Deno.serve` passes it on */
function addressOf({ url }: Request): URL {
  if (URL.canParse(url)) return new URL(url);
  throw new InputError([{
    path: "",
    saw: "a request whose address is no URL",
    wanted: "one with a valid Host header",
  }]);
}

/** A verified opening, and the portal's record before it. */
interface Change {
  readonly parts: OpeningParts;
  readonly opening: OpeningRequest;
  readonly verified: VerifiedOpening;
  readonly receivedAt: number;
  /** The opening's time on Bitrix24's clock, in seconds since 1970. */
  readonly ts: number;
  readonly entry: Entry<PortalRecord> | null;
}

type Changed = Pick<AcceptedOpening, "record" | "delivery" | "hasWork">;

/** The app is installed: stores what was verified, and raises the target. A new portal had the app before. */
async function storeContact(change: Change, openedVersion?: string): Promise<Changed> {
  const { parts, verified: { info }, entry } = change;
  const { runtime, raiseTarget } = parts;
  const { storage, versions } = runtime;
  const { memberId } = info;
  const event = contactEvent(change);
  const facts = await factsOfOpening(change);
  await writeRecord(storage, memberId, (record) => {
    // A known portal's target is raised, so that the portal is scheduled: see below.
    const isUnknown = record?.target === undefined || record.status === "uninstalled";
    const installedVersion = isUnknown ? info.version : undefined;
    const verification = { ...facts.verification, ...defined({ installedVersion, openedVersion }) };
    const next = applyOrDefer(record, event, { ...facts, verification });
    // An OAuth host has just said that the portal has the app.
    return { record: next.blocked?.on === "installation" ? withoutBlock(next, facts.receivedAt) : next };
  }, entry);
  const version = versions.deployed ?? confirmedVersion(runtime, info);
  const isRaised = version !== undefined && await raiseTarget(memberId, version);
  const record = await loadPortal(storage, memberId);
  const before = readRecord(entry);
  const isUnblocked = before?.blocked !== undefined && record.blocked === undefined;
  // The opening brought a token to ask with.
  const isAsked = nextAskAt(record.claims) !== nextAskAt(before?.claims);
  const isFirstContact = isVersionUnknown(record) && (before === undefined || !isVersionUnknown(before));
  if (isAsked || isFirstContact) await parts.schedule(memberId);
  return { record, hasWork: isRaised || isUnblocked || isAsked || isFirstContact };
}

/**
 * The installer of a new version runs on a known portal, and Bitrix24 sends no event before it is finished: the update
 * begins now.
 */
async function startUpdate(change: Change): Promise<Changed> {
  const { parts: { runtime }, verified: { info }, entry } = change;
  const record = readRecord(entry);
  const reference = record?.target ?? record?.version;
  const version = confirmedVersion(runtime, info);
  const isUpdate = version !== undefined && reference !== undefined && compareVersions(version, reference) > 0;
  return await storeContact(change, isUpdate ? info.version : undefined);
}

/** The installer runs on a new portal: the installation begins now, as if its ONAPPINSTALL had come. */
async function startInstallation(change: Change): Promise<Changed> {
  const { parts: { runtime, reserve }, opening, verified: { info }, receivedAt, entry } = change;
  const version = info.version ?? runtime.versions.deployed;
  if (version === undefined) throw new CannotVerifyError("the OAuth host names no version of the app");
  const incoming = parseStored({ kind: "form", text: installEvent(change, version) }, receivedAt);
  const facts = await factsOfOpening(change);
  const verification = {
    ...facts.verification,
    openedVersion: version,
    ...defined({ installedVersion: info.version }),
  };
  const generation = (readRecord(entry)?.generation ?? 0) + 1;
  const id = `ONAPPINSTALL:${version}:opened:${generation}`;
  const delivery = await storeDelivery(runtime, incoming, { ...facts, verification }, { id, entry, reserve });
  const { memberId } = opening;
  if (delivery === undefined || delivery === "done") {
    return { record: await loadPortal(runtime.storage, memberId), hasWork: false };
  }
  runtime.log.info("installation started by an opening", { event: "opening.installation_started", memberId });
  notify(runtime, "eventReceived", { event: incoming.event, receivedAt: incoming.receivedAt });
  return { record: delivery.record, delivery, hasWork: false };
}

/** Only administrators can finish an installation: the opening of another user changes nothing. */
function ignoreInstaller(change: Change): Changed {
  const { parts: { runtime }, verified: { info, isAdmin }, receivedAt, entry } = change;
  if (isAdmin === undefined) {
    throw new CannotVerifyError("the portal does not say whether the user is an administrator");
  }
  const known = readRecord(entry);
  if (known?.status === "installed") return { record: known, hasWork: false };
  const verification = defined({ installedVersion: info.version, clientEndpoint: info.clientEndpoint });
  const record = applyEvent(known, contactEvent(change), factsOf(runtime, verification, receivedAt));
  return { record, hasWork: false };
}

/** Returns what is stored of the opening. The tokens and the application_token of other users than administrators are not. */
async function factsOfOpening({ parts: { runtime }, opening, verified, receivedAt }: Change): Promise<EventFacts> {
  const { digest } = runtime;
  const { applicationToken } = opening;
  const { info: { clientEndpoint, scope, userId, tokenScope }, isAdmin } = verified;
  const byAdmin: StoredVerification = isAdmin !== true ? {} : {
    tokens: { scope: tokenScope, isAdmin, ...defined({ userId }) },
    ...defined({ applicationTokenDigest: applicationToken && await digest(applicationToken.reveal()) }),
  };
  return factsOf(runtime, { scope, ...defined({ clientEndpoint }), ...byAdmin }, receivedAt);
}

/** Returns an event without a version and without work, by which the opening is applied to the record. */
function contactEvent({ opening, verified: { info, isAdmin }, ts }: Change): B24Event {
  const { memberId, accessToken, refreshToken, expiresAt, serverEndpoint } = opening;
  const tokens = isAdmin === true ? { accessToken, expiresAt, ...defined({ refreshToken, serverEndpoint }) } : {};
  return {
    name: "UNKNOWN",
    wireName: "APP_OPENING",
    data: { extra: {} },
    auth: { memberId, domain: hostOf(opening, info), scope: info.tokenScope, extra: {}, ...tokens },
    ts,
    extra: {},
  };
}

/** Returns the body of the ONAPPINSTALL that Bitrix24 would have sent. */
function installEvent({ opening, verified: { info }, ts }: Change, version: string): string {
  const { accessToken, refreshToken, applicationToken, expiresAt, serverEndpoint, language } = opening;
  if (applicationToken === undefined) {
    throw new InputError([{
      path: "body.APPLICATION_TOKEN",
      saw: "nothing",
      wanted: "a token of 1 to 255 characters",
    }]);
  }
  const fields = defined({
    event: "ONAPPINSTALL",
    ts: String(ts),
    "data[VERSION]": version,
    "data[ACTIVE]": "Y",
    "data[INSTALLED]": "N",
    "data[LANGUAGE_ID]": language,
    "auth[member_id]": opening.memberId,
    "auth[domain]": hostOf(opening, info),
    "auth[client_endpoint]": info.clientEndpoint,
    "auth[server_endpoint]": serverEndpoint,
    "auth[application_token]": applicationToken.reveal(),
    "auth[access_token]": accessToken.reveal(),
    "auth[refresh_token]": refreshToken?.reveal(),
    "auth[expires]": String(Math.floor(expiresAt / 1000)),
    "auth[scope]": info.tokenScope.join(","),
    "auth[status]": info.status,
    "auth[user_id]": info.userId === undefined ? undefined : String(info.userId),
  });
  return new URLSearchParams(fields as Record<string, string>).toString();
}

/** Returns the host of the verified address: the browser may name any other. */
function hostOf({ domain }: OpeningRequest, { clientEndpoint }: AppInfo): string {
  return clientEndpoint === undefined ? domain : new URL(clientEndpoint).host;
}

/** Returns the version that Bitrix24 reports; `undefined` if the app's version scheme cannot read it. */
function confirmedVersion({ versions, log }: AppRuntime, { version, memberId }: AppInfo): string | undefined {
  if (version === undefined) return undefined;
  try {
    return versions.parse(version);
  } catch (err) {
    log.warn("installed version not readable", { event: "opening.version_unreadable", memberId, err });
    return undefined;
  }
}
