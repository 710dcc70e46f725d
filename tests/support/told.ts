/** Compares what observers are told of one portal with what its records say, whatever crashes. */
import assert from "node:assert/strict";
import type { DurableReport, Observers, Plugin, Storage, UpgradeFailure, VersionChange } from "@b24/onappupdate";
import { compareVersions } from "../../src/version.ts";
import type { PortalRecord } from "../../src/portal/record.ts";
import type { StateChange } from "../../src/portal/stored_report.ts";
import { withoutWrite } from "./without_write.ts";

export interface Told {
  /** The changes that were stored so far, in order. */
  readonly changes: string[];
  /** Notes the changes between two records of the portal, as they were stored. */
  readonly note: (before: PortalRecord | undefined, after: PortalRecord) => void;
  /** Returns the storage without `write`, with the changes noted of each record that is put. */
  readonly watch: (storage: Storage) => Storage;
  /** Returns a plugin that notes what it is told while `isAlive` returns true, and passes it to `onTold`. */
  readonly plugin: (isAlive?: () => boolean, onTold?: (change: string, id: string) => void) => Plugin;
  /** Ids of what was told, by the change, in the order in which they were told first. */
  readonly ids: ReadonlyMap<string, ReadonlySet<string>>;
  /** Number of reports, those of a repeated one included. */
  readonly reports: () => number;
  /** Asserts that each change was told under one id, and nothing else was. */
  readonly assertAll: () => void;
}

export function createTold(): Told {
  const changes: string[] = [];
  const dropped: (readonly [id: string, change: string])[] = [];
  const ids = new Map<string, Set<string>>();
  let reports = 0;
  let before: PortalRecord | undefined;
  const note: Told["note"] = (before, after) => {
    changes.push(...describeChanges(before, after));
    if (after.forgottenAt === undefined || after.forgottenAt === before?.forgottenAt) return;
    // forget() erases reports that wait, but for removals.
    const kept = new Set(after.reports?.map(({ id }) => id));
    for (const { id, change } of before?.reports ?? []) if (!kept.has(id)) dropped.push([id, describeChange(change)]);
  };
  return {
    ...{ changes, note, ids, reports: () => reports },
    watch: (storage) => ({
      ...withoutWrite(storage),
      put: async (key, value, options) => {
        const result = await storage.put(key, value, options);
        if (result.ok && key[0] === "portal") {
          const after = JSON.parse(JSON.stringify(value)) as PortalRecord;
          note(before, after);
          before = after;
        }
        return result;
      },
    }),
    plugin: (isAlive = () => true, onTold = () => {}) => ({
      name: "told",
      observe: observersOf((change, { id }) => {
        if (!isAlive()) return;
        reports++;
        ids.set(change, (ids.get(change) ?? new Set()).add(id));
        onTold(change, id);
      }),
    }),
    assertAll: () => {
      const wanted = new Map<string, number>();
      for (const change of changes) wanted.set(change, (wanted.get(change) ?? 0) + 1);
      for (const [id, change] of dropped) {
        if (!ids.get(change)?.has(id)) wanted.set(change, wanted.get(change)! - 1);
      }
      assert.deepEqual(
        Object.fromEntries(Array.from(ids, ([change, { size }]) => [change, size])),
        Object.fromEntries([...wanted].filter(([, count]) => count > 0)),
      );
      const all = Array.from(ids.values()).flatMap((set) => [...set]);
      assert.equal(new Set(all).size, all.length, "two changes have one id");
    },
  };
}

function observersOf(tell: (change: string, report: DurableReport) => void): Partial<Observers> {
  const way = ({ from, to }: VersionChange): string => `${from} to ${to}`;
  return {
    portalUpgraded: (report) => tell(`upgraded ${way(report)}`, report),
    portalParked: (report: UpgradeFailure & DurableReport) =>
      tell(`parked ${way(report)}: ${report.error.message}`, report),
    portalResumed: (report) => tell(`resumed ${way(report)}`, report),
    portalBlocked: (report) => tell(`blocked on ${report.on}`, report),
    portalUnblocked: (report) => tell(`unblocked from ${report.on}`, report),
    portalRemoved: (report) => tell(`removed from ${report.version}`, report),
    claimDropped: (report) => tell(`dropped claim of ${report.kind}`, report),
  };
}

/** Returns the name of a change that is reported, as those of {@linkcode describeChanges}. */
function describeChange(change: StateChange): string {
  switch (change.kind) {
    case "portalUpgraded":
      return `upgraded ${change.from} to ${change.to}`;
    case "portalParked":
      return `parked ${change.from} to ${change.to}: ${change.failure.message}`;
    case "portalResumed":
      return `resumed ${change.from} to ${change.to}`;
    case "portalBlocked":
      return `blocked on ${change.on}`;
    case "portalUnblocked":
      return `unblocked from ${change.on}`;
    case "portalRemoved":
      return `removed from ${change.version}`;
    case "claimDropped":
      return `dropped claim of ${change.claim}`;
  }
}

/** The stuck portals of an installation. */
function standing(record: PortalRecord | undefined): { readonly parked?: string; readonly blocked?: string } {
  if (record?.status !== "installed") return {};
  const { version, target, failure, installer } = record;
  // An installer that is parked holds up the upgrades.
  const isHeldUp = version !== target && typeof installer === "object" && installer.failure !== undefined;
  // Thousands may wait for a rollout: that is not told.
  const blocked = isHeldUp ? { on: "installation" } : record.blocked?.on === "rollout" ? undefined : record.blocked;
  const isFinal = failure !== undefined && !("retryAt" in failure) && failure.to === target && version !== target;
  return {
    ...isFinal &&
      { parked: failure.attempts === 0 ? "rolled back" : `parked ${version} to ${target}: ${failure.message}` },
    ...blocked !== undefined && { blocked: blocked.on },
  };
}

function describeChanges(before: PortalRecord | undefined, after: PortalRecord): string[] {
  const found: string[] = [];
  const isOther = before !== undefined && before.generation !== after.generation;
  const isHigher = !isOther && before?.version !== undefined && after.version !== undefined &&
    compareVersions(after.version, before.version) > 0;
  if (isHigher) found.push(`upgraded ${before.version} to ${after.version}`);
  for (const [kind, { settled }] of Object.entries(isOther ? {} : before?.claims ?? {})) {
    const now = after.claims?.[kind as keyof PortalRecord["claims"]] as { settled?: { as: string } } | undefined;
    if (settled === undefined && now?.settled?.as === "dropped") found.push(`dropped claim of ${kind}`);
  }
  const isRemoved = after.status === "uninstalled" || (isOther && before.generation > 0);
  if (before?.status === "installed" && isRemoved) found.push(`removed from ${before.version}`);
  const [was, is] = [isOther ? {} : standing(before), standing(after)];
  if (after.status === "installed") {
    if (was.blocked !== undefined && is.blocked === undefined) found.push(`unblocked from ${was.blocked}`);
    if (was.parked !== undefined && is.parked === undefined) found.push(`resumed ${after.version} to ${after.target}`);
  }
  if (is.blocked !== undefined && is.blocked !== was.blocked) found.push(`blocked on ${is.blocked}`);
  if (is.parked?.startsWith("parked") && was.parked === undefined) found.push(is.parked);
  return found;
}
