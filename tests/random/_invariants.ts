/** What holds for every record that is ever written. */
import type { PortalRecord } from "../../src/portal/record.ts";
import { MEMBER_ID } from "../support/app.ts";

/** What was true at Bitrix24 at some time. */
export interface Truth {
  readonly versions: Set<string>;
  readonly applicationTokens: Set<string>;
  removals: number;
  /** A removal came with an application_token that the app did not know. */
  wasRemovalRefused: boolean;
  installations: number;
  wasUnpaid: boolean;
  hasSystemUser: boolean;
  isInstalled: boolean;
  isFinished: boolean;
  isPaid: boolean;
  version: number;
}

const DOMAIN = "example.bitrix24.de";

/** Returns what a record says and was never true; `removals` is the number of removals that took effect. */
export function violationsOf(record: PortalRecord, truth: Truth, removals: number): string[] {
  const found: string[] = [];
  const check = (holds: boolean, what: string): void => void (holds || found.push(what));
  for (const version of [record.version, record.target]) {
    check(version === undefined || truth.versions.has(version.split(".")[0]!), `version ${version}`);
  }
  check(removals <= truth.removals, `removal ${removals} of ${truth.removals}`);
  check(record.generation <= truth.installations, `installation ${record.generation} of ${truth.installations}`);
  check(record.blocked?.on !== "payment" || truth.wasUnpaid, "blocked on payment");
  const { current } = record.applicationToken ?? {};
  check(current === undefined || truth.applicationTokens.has(current), "application_token");
  check(record.clientEndpoint === undefined || record.clientEndpoint === `https://${DOMAIN}/rest/`, "clientEndpoint");
  const applied = record.applied.map(({ id }) => id);
  check(new Set(applied).size === applied.length, `an upgrade is recorded twice: ${applied.join()}`);
  for (const { owner, userId, accessToken, isVerified, isAdmin } of record.tokens ?? []) {
    const isOwn = accessToken.includes(MEMBER_ID);
    check(isVerified !== true || isOwn, "verified tokens of another portal");
    check(isAdmin !== true || (isOwn && (userId === 1 || userId === SYSTEM_USER)), `administrator ${userId}`);
    check(owner !== "system" || (truth.hasSystemUser && userId === SYSTEM_USER), `system user ${userId}`);
  }
  return found;
}

/** Id of the app's own user in the fake Bitrix24. */
const SYSTEM_USER = 1000;
