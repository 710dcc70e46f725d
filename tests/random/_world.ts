/** The world of a random life: a portal at Bitrix24, the storage and processes of the app, and what really happened. */
import { createHash } from "node:crypto";
import type { RolloutOptions, Storage } from "@b24/onappupdate";
import type { Key } from "@b24/onappupdate/storage";
import { type FakeBitrix24, fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { type CredentialsEntry, openRecord } from "../../src/portal/credentials_record.ts";
import { credentialsKey } from "../../src/portal/keys.ts";
import type { PortalRecord } from "../../src/portal/record.ts";

import type { StoredCredentials } from "../../src/portal/stored_credentials.ts";
import { CLIENT_ID, MEMBER_ID } from "../support/app.ts";
import { openedRecord } from "../support/credentials.ts";
import { seeded } from "../support/seeded.ts";
import { type VirtualTime, virtualTime } from "../support/time.ts";
import { isBelieved, isMistaken, pairViolationsOf, type Truth, violationsOf } from "./_invariants.ts";
import { createTold, type Told } from "../support/told.ts";
import { withoutWrite } from "../support/without_write.ts";
import { createLifeStorage } from "./_storage.ts";
import { createOutbox, type Outbox } from "./_outbox.ts";
import { createStepResults, type StepResults } from "./_step_results.ts";

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
/** The latest version of the app. */
export const LATEST = 6;
/** A user who is no administrator, and the attacker's portal of the same app. */
export const USER = 2;
const ATTACKER_MEMBER_ID = "e".repeat(32);
export const CLIENT_SECRET = "client-secret-0123456789abcdef";

/** The character of a life, which does not change. */
export interface Character {
  /** The app has a client secret. Otherwise, removals are believed while there is no valid token to ask with. */
  readonly hasSecret: boolean;
  /** Probability that a handler or step fails, and that a storage operation does. */
  readonly throws: number;
  readonly storageFails: number;
  readonly isMapped: boolean;
  readonly sleeps: boolean;
  readonly lagMs: number;
  /** Maximum by which the clock of a process is ahead of Bitrix24's, or behind it. */
  readonly clockErrorMs: number;
  readonly hasWizard: boolean;
  /** Events are forged. */
  readonly isAttacked: boolean;
  /** Processes are killed at a write. */
  readonly crashes: boolean;
  /** The OAuth hosts have outages. */
  readonly hasOutages: boolean;
  /** Clocks of processes are put forward and back. */
  readonly clocksJump: boolean;
  /** The rollout options of the app, if it has any. */
  readonly rollout?: RolloutOptions;
  /** Another program of the vendor had the portal before: the app has received nothing of its installation. */
  readonly isOld: boolean;
  /** The storage applies ordered writes at once. */
  readonly isAtomic: boolean;
  /** The storage is encrypted. */
  readonly isEncrypted: boolean;
  /** Newer code has stored another portal, and a message. */
  readonly hasNewer: boolean;
  /** The version of the code is the target of portals, whatever version Bitrix24 has. */
  readonly isDeployed: boolean;
  /** Events may be large, and results of steps too large for the storage. */
  readonly hasLarge: boolean;
}

/** With `first`, the portal is in the first stage. */
const ROLLOUTS: readonly RolloutOptions[] = [
  { appliesTo: "all", stages: [{ portals: 1, forMs: HOUR }, { percent: 100 }], pauseWhen: { failed: 1 } },
  { appliesTo: "all", stages: [{ percent: 0 }, { percent: 100 }], first: [MEMBER_ID], concurrency: 1 },
  { appliesTo: "all", stages: [{ percent: 0 }, { percent: 50, forMs: DAY }, { percent: 100 }] },
  { pauseWhen: { failed: 1 }, window: { from: "22:00", to: "23:30", timeZone: "UTC" } },
];

/** An event that is not delivered yet. */
export interface PendingEvent {
  readonly body: string;
  readonly name: string;
  /** Id of the deal that a handler must see, and the number of the installation that it belongs to. */
  readonly deal?: string;
  readonly installation?: number;
  /** Number of the removal of which this is the event. */
  readonly removal?: number;
  readonly isForged?: true;
}

export interface World {
  readonly random: () => number;
  readonly pick: <T>(from: readonly T[]) => T;
  readonly character: Character;
  readonly time: VirtualTime;
  readonly bitrix24: FakeBitrix24;
  readonly portal: FakePortal;
  readonly attacker: FakePortal;
  /** Survives processes, and checks each record that is written. */
  readonly storage: Storage;
  readonly truth: Truth;
  readonly pending: PendingEvent[];
  /** Deals whose event was answered 200, with their installation; and deals that a handler saw. */
  readonly accepted: Map<string, number>;
  readonly seen: Set<string>;
  /** The reports of observers about the portal. */
  readonly told: Told;
  /** The messages that a plugin has put into its outbox. */
  readonly outbox: Outbox;
  /** The results of steps that handlers have received. */
  readonly stepResults: StepResults;
  readonly domains: KnownDomains;
  /** States that were in effect and never true. */
  readonly violations: string[];
  readonly log: string[];
  /** A rollout was aborted: only a higher version reaches its portals. */
  isAborted: boolean;
  /** Handlers, steps and storages fail. */
  hasFailures: boolean;
  /** The last forget() ended in the middle: a further call has to erase the rest. */
  isHalfForgotten: boolean;
  readonly record: () => Promise<PortalRecord | undefined>;
  /** Asserts that everything in the storage is encrypted if it has to be, and that what newer code wrote is as it was. */
  readonly assertStored: () => Promise<void>;
  /** Waits for a promise while time passes as needed. */
  readonly drive: <T>(work: Promise<T>) => Promise<T>;
}

export function createWorld(seed: number, log: string[]): World {
  const random = seeded(seed);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
  // Without a secret, expired tokens cannot be refreshed: the app has nobody to ask.
  const hasSecret = random() < 0.85;
  const character: Character = {
    hasSecret,
    throws: pick([0, 0.1, 0.3]),
    storageFails: pick([0, 0, 0.02]),
    isMapped: random() < 0.3,
    sleeps: random() < 0.5,
    lagMs: hasSecret ? pick([0, 0, 3, 20, 200]) * MINUTE : 0,
    clockErrorMs: pick([0, 5, 8]) * SECOND,
    hasWizard: random() < 0.2,
    isAttacked: random() < 0.6,
    crashes: random() < 0.5,
    hasOutages: hasSecret && random() < 0.5,
    isOld: random() < 0.2,
    clocksJump: random() < 0.1,
    isAtomic: random() < 0.5,
    isEncrypted: random() < 0.3,
    hasNewer: random() < 0.2,
    isDeployed: random() < 0.25,
    hasLarge: random() < 0.3,
    ...random() < 0.3 && { rollout: pick(ROLLOUTS) },
  };
  log.push(JSON.stringify(character));
  const time = virtualTime(Date.UTC(2026, 10, 1));
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, clock: time.now });
  bitrix24.lag(character.lagMs);
  const attacker = bitrix24.portal({ memberId: ATTACKER_MEMBER_ID, domain: "attacker.bitrix24.de" });
  attacker.install(1);
  const portal = bitrix24.portal({ memberId: MEMBER_ID });
  const { isEncrypted, hasNewer } = character;
  const life = createLifeStorage({ clock: time.now, pick, isEncrypted, hasNewer });
  const memory = life.storage;
  const truth: Truth = {
    ...{
      versions: new Set<string>(),
      applicationTokens: new Set<string>(),
      removals: 0,
      refusedRemoval: 0,
      acceptedRemoval: 0,
      wasRemovalForged: false,
      mistakenInstallations: 0,
      believedRemovals: 0,
      installations: 0,
      isForgotten: false,
      forgottenTs: 0,
    },
    domains: new Set([portal.domain]),
    ...{ wasUnpaid: false, hasSystemUser: false, isInstalled: false, isFinished: true, isPaid: true, version: 0 },
  };
  const violations: string[] = [];
  const accepted = new Map<string, number>();
  const told = createTold();
  const stepResults = createStepResults();
  const domains = createKnownDomains();
  let before: PortalRecord | undefined;
  let removals = 0;
  const note = (found: readonly string[]): void => {
    for (const violation of found) {
      if (!violations.includes(violation)) log.push(`    VIOLATION: ${violation}`);
      violations.push(violation);
    }
  };
  const noteWrite = (key: Key, value: unknown, credentials: CredentialsEntry): void => {
    if (key[1] !== MEMBER_ID) return;
    if (key[0] === "credentials") note(pairViolationsOf(value as StoredCredentials, truth));
    if (key[0] !== "portal") return;
    const record = value as PortalRecord;
    if (record.forgottenAt !== undefined && record.forgottenAt !== before?.forgottenAt) {
      Object.assign(truth, { isForgotten: true, forgottenTs: record.uninstalledTs });
      // Their events are deleted, and nothing but an installation makes the portal known again.
      accepted.clear();
    } else if (before?.status === "installed" && record.status === "uninstalled") removals++;
    if (before !== undefined && isMistaken(before, record, truth)) truth.mistakenInstallations++;
    const opened = before && openRecord(before, credentials);
    if (!character.hasSecret && opened !== undefined && isBelieved(opened, record, truth, time.now())) {
      log.push("    a forged removal is believed");
      truth.believedRemovals++;
      // The waiting events belong to an installation that counts as over.
      accepted.clear();
    }
    note(violationsOf(record, truth, removals));
    told.note(before, record);
    stepResults.note(record);
    domains.note(record);
    before = record;
  };
  const readCredentials = (): Promise<CredentialsEntry> => memory.get<StoredCredentials>(credentialsKey(MEMBER_ID));
  const storage: Storage = {
    ...withoutWrite(memory),
    put: async (key, value, options) => {
      const credentials = await readCredentials();
      const result = await memory.put(key, value, options);
      if (result.ok) noteWrite(key, value, credentials);
      return result;
    },
    ...character.isAtomic && {
      write: async (operations) => {
        const credentials = await readCredentials();
        const result = await memory.write!(operations);
        for (const operation of result.ok ? operations : []) {
          if ("put" in operation) noteWrite(operation.put, operation.value, credentials);
        }
        return result;
      },
    },
  };
  return {
    ...{ random, pick, character, time, bitrix24, portal, attacker, storage, truth, violations, log },
    ...{
      pending: [],
      accepted,
      seen: new Set(),
      told,
      stepResults,
      domains,
      isAborted: false,
      hasFailures: true,
      isHalfForgotten: false,
      outbox: createOutbox(),
    },
    record: async () => await openedRecord(memory, MEMBER_ID),
    assertStored: life.assertAll,
    drive: (work) => drive(time, work),
  };
}

/** The domains that a portal is known by. */
export interface KnownDomains {
  /** Notes a record that was written. */
  readonly note: (record: PortalRecord) => void;
  /** The present domain, and those before it, the latest first. */
  readonly all: () => readonly string[];
}

/** Returns what the records of a portal say, without its index: a rename is known once no process is at work on the portal. */
function createKnownDomains(): KnownDomains {
  let known: readonly string[] = [];
  return {
    note: ({ lease, domain }) => {
      if (lease !== undefined && known.length > 0) return;
      known = domain === "" ? [] : [domain, ...known.filter((other) => other !== domain)].slice(0, 4);
    },
    all: () => known,
  };
}

/** Virtual milliseconds after which a promise counts as one that never settles. */
const STUCK_MS = 10 * MINUTE;

async function drive<T>(time: VirtualTime, work: Promise<T>): Promise<T> {
  let isSettled = false;
  const settle = (): void => void (isSettled = true);
  work.then(settle, settle);
  for (let ms = 0; !isSettled; ms += 100) {
    if (ms > STUCK_MS) throw new Error("work that does not end within ten minutes");
    await time.elapse(ms < 500 ? 0 : 100);
  }
  return await work;
}

/** Notes what is true at Bitrix24 now. */
export function noteTruth({ portal, truth }: World): void {
  const { version } = portal.state();
  if (version !== undefined) truth.versions.add(String(version));
  const token = new URLSearchParams(portal.forge("ONAPPTEST")).get("auth[application_token]")!;
  truth.applicationTokens.add(createHash("sha256").update(token).digest("hex"));
}
