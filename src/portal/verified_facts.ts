/** What an event says of its portal beside its version and state: address, scopes, tokens, and the end of a block. Pure functions. */
import type { B24Event } from "../bitrix24/events.ts";
import { defined } from "../defined.ts";
import { UNPAID, withBlock, withoutBlock } from "./block.ts";
import { type EventFacts, sentTs } from "./event_facts.ts";
import { hasVersion } from "./event_versions.ts";
import { withAddress, withApplicationToken, withTokens } from "./identity.ts";
import type { PortalRecord } from "./record.ts";
import { tokensOfEvent } from "./tokens.ts";

/** Returns the record with the address, the other verified facts, the block and the tokens after `event`. */
export function withFacts(record: PortalRecord, event: B24Event, facts: EventFacts): PortalRecord {
  const ts = sentTs(event, facts);
  const { verification, receivedAt } = facts;
  const { applicationTokenDigest } = verification;
  const latestTs = Math.max(ts, record.latestTs);
  const located = record.status === "uninstalled"
    ? { ...record, latestTs }
    : { ...withContact(record, event, facts), latestTs };
  const proved = applicationTokenDigest === undefined
    ? located
    : withApplicationToken(located, applicationTokenDigest, ts, receivedAt);
  const tokens = record.status === "uninstalled" ? undefined : tokensOfEvent(event, ts, verification);
  return tokens === undefined ? proved : withTokens(proved, tokens, receivedAt);
}

/** Returns the record of an installed portal with its address, scopes and block after `event`. */
function withContact(record: PortalRecord, event: B24Event, facts: EventFacts): PortalRecord {
  const { verification: { clientEndpoint, scope, tokens }, receivedAt } = facts;
  const checkedAt = record.check?.at ?? 0;
  const isNewest = sentTs(event, facts) >= record.latestTs;
  // An OAuth host that answered for the tokens spoke of the present, whatever the event's `ts`. A check after the event was
  // received is newer still: each attempt at a delivery applies its event again.
  const isCurrent = checkedAt <= receivedAt && (isNewest || tokens !== undefined);
  const known = isNewest ? withUnverifiedDomain(withBlockAfter(record, event, facts), event) : record;
  return {
    ...withAddress(known, isCurrent || record.clientEndpoint === undefined ? clientEndpoint : undefined),
    ...defined({
      scope: !isCurrent || scope === undefined || isSameScope(scope, record.scope) ? undefined : scope,
      check: tokens !== undefined && checkedAt < receivedAt ? { at: receivedAt } : undefined,
    }),
  };
}

/** Takes the domain from the event until an address is verified. */
function withUnverifiedDomain(record: PortalRecord, event: B24Event): PortalRecord {
  const domain = domainIn(event);
  return record.clientEndpoint !== undefined || domain === undefined ? record : { ...record, domain };
}

/** Returns the domain of the portal that an event names; `undefined` for ONAPPUSERREADY, which names the OAuth host. */
export function domainIn({ name, auth: { domain } }: B24Event): string | undefined {
  return name === "ONAPPUSERREADY" ? undefined : domain;
}

/** Returns the record blocked, or no longer blocked, by `event`. */
function withBlockAfter(record: PortalRecord, event: B24Event, { receivedAt, verification }: EventFacts): PortalRecord {
  const { blocked, endedBlock } = record;
  if (record.status === "uninstalled") return record;
  const isExpired = event.name === "ONAPPPAYMENT" && event.data.paymentExpired && verification.claims === undefined;
  if (isExpired && blocked?.on !== "payment") return withBlock(record, "payment", UNPAID, receivedAt);
  // Each attempt at a delivery applies its event again.
  const isBefore = blocked === undefined || blocked.since > receivedAt || (endedBlock?.endedAt ?? 0) >= receivedAt;
  if (isBefore || !endsBlock(event, blocked.on)) return record;
  return withoutBlock(record, receivedAt);
}

function endsBlock(event: B24Event, on: NonNullable<PortalRecord["blocked"]>["on"]): boolean {
  // Only a version ends it: see origin.ts.
  if (on === "version") return false;
  if (hasVersion(event)) return true;
  switch (on) {
    case "payment":
      return event.name === "ONAPPPAYMENT" && !event.data.paymentExpired;
    case "confirmation":
      return event.name === "ONAPPMETHODCONFIRM";
    case "authorization":
    case "administrator":
      return event.auth.accessToken !== undefined || event.name === "ONAPPUSERREADY";
    default:
      return false;
  }
}

function isSameScope(a: readonly string[], b: readonly string[] | undefined): boolean {
  return b !== undefined && a.join() === b.join();
}
