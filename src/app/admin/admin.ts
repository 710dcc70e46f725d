/** What a person does about portals: looks at them, and decides what the app cannot. */
import { OnAppUpdateError, UnknownPortalError } from "../../errors.ts";
import { withExtensions } from "../../plugin/pipeline.ts";
import { type AppRuntime, makeHandlerContext } from "../../plugin/runtime.ts";
import { withPortalLease } from "../../portal/exclusive.ts";
import type { Delivery } from "../../portal/inbox.ts";
import { INBOX, portalKey } from "../../portal/keys.ts";
import { loadPortal, type Portal, type PortalRecord, readRecord, snapshot } from "../../portal/record.ts";
import { finishedRuns, type StoredRun } from "../../portal/run_history.ts";
import { commitEntry, reserveEntry, withNextDelivery } from "../../portal/schedule.ts";
import { counted, type PortalState } from "../../portal/state_index.ts";
import type { Upgrade } from "../../upgrade/definition.ts";
import { isUpgradeDue } from "../../upgrade/plan.ts";
import { rollBack, type RollbackReport } from "../../upgrade/rollback.ts";
import { syntheticUpdateEvent } from "../../worker/missed_updates.ts";

/** Which portals {@linkcode Admin.portals} gives. */
export interface PortalFilter {
  /** Only those on this version, as the portal's record has it. */
  readonly version?: string;
  /** Only those in this state. */
  readonly status?: PortalState;
  /** Only those whose `member_id` is after this one. */
  readonly after?: string;
  /** At most this many; default 100. */
  readonly limit?: number;
}

/** How many portals are on a version in a state. */
export interface PortalCount {
  /** Absent for portals of which nothing has told it. */
  readonly version?: string;
  /** Where they are on their way. */
  readonly status: PortalState;
  /** At least 1. */
  readonly count: number;
}

/** A run that is over. */
export interface FinishedRun {
  /** Sorts by time among the runs of its portal. */
  readonly id: string;
  /** Version that it began on. */
  readonly from: string;
  /** Version that it reached. */
  readonly to: string;
  /** In milliseconds since 1970. */
  readonly startedAt: number;
  /** In milliseconds since 1970. */
  readonly finishedAt: number;
  /** Its upgrades in order, with the names of their steps. */
  readonly upgrades: readonly { readonly upgradeId: string; readonly steps: readonly string[] }[];
}

/** `app.admin`: whoever can call it can do this to every portal, so put it behind a door of your own. */
export interface Admin {
  /**
   * Has a portal that is parked or waits tried again now, its attempts counted from the beginning.
   *
   * @throws {UnknownPortalError} when the portal is not stored
   */
  readonly retry: (memberId: string) => Promise<void>;
  /**
   * Takes an upgrade that is due for done, and goes on with the next.
   *
   * @throws {UnknownPortalError} when the portal is not stored
   * @throws {OnAppUpdateError} with code `not_due` when the portal does not need this upgrade
   */
  readonly skip: (memberId: string, upgradeId: string) => Promise<void>;
  /**
   * Takes back what is under way or parked, and otherwise the last run, by the `undo` of finished steps, the last one
   * first. Handlers run again up to their first step that is not done, to say how: what they do outside of steps is done
   * again. The portal is parked on the version that it came from.
   *
   * @throws {UnknownPortalError} when the portal is not stored
   * @throws {OnAppUpdateError} with code `busy` when a worker is at the portal, and `nothing_to_roll_back`
   * @throws whatever an `undo` throws; called again, it goes on there
   */
  readonly rollback: (memberId: string) => Promise<RollbackReport>;
  /** Portals in the order of their `member_id`. `version` and `status` are those at the end of the last work on a portal. */
  readonly portals: (filter?: PortalFilter) => Promise<readonly Portal[]>;
  /** The last 20 runs of a portal that are over, the latest first. */
  readonly runs: (memberId: string) => Promise<readonly FinishedRun[]>;
  /**
   * How many portals there are by version and state, as the last work on each has left it; costs a fraction of reading
   * them. A portal counts from the end of its first work on.
   */
  readonly counts: () => Promise<readonly PortalCount[]>;
}

/** The admin of an app. `wake` has the work of a portal begun in this process. */
export function createAdmin(core: AppRuntime, upgrades: readonly Upgrade[], wake: (memberId: string) => void): Admin {
  const { storage } = core;

  /** Changes a record and has its portal looked at now. */
  async function change(memberId: string, what: (record: PortalRecord) => PortalRecord): Promise<void> {
    const read = await storage.get<PortalRecord>(portalKey(memberId));
    if (read === null) throw new UnknownPortalError(memberId);
    const plan = await reserveEntry(core, memberId, core.clock(), read);
    await commitEntry(core, plan, (record, due) => record && withNextDelivery(what(record), due));
    wake(memberId);
  }

  return {
    retry: async (memberId) => {
      await loadPortal(storage, memberId);
      for await (const { key, value, version } of storage.list<Delivery>([...INBOX, memberId])) {
        if (value.attempts === 0 && value.retryAt === undefined) continue;
        const { error: _e, retryAt: _r, ...delivery } = value;
        await storage.put(key, { ...delivery, attempts: 0 }, { ifVersion: version });
      }
      await change(memberId, fromTheBeginning);
    },
    skip: (memberId, upgradeId) =>
      change(memberId, (record) => {
        const { version, target } = record;
        if (version === undefined || target === undefined || !isUpgradeDue(upgrades, record, upgradeId)) {
          throw new OnAppUpdateError(
            "not_due",
            `cannot skip upgrade "${upgradeId}" of portal ${memberId}: it is not due`,
          );
        }
        const skipped = { id: upgradeId, from: version, to: target, at: core.clock(), skipped: true } as const;
        const { failure, ...rest } = record;
        const others = failure === undefined || failure.upgradeId === upgradeId ? {} : { failure };
        return { ...rest, ...others, applied: [...record.applied, skipped] };
      }),
    rollback: async (memberId) => {
      await loadPortal(storage, memberId);
      const rolledBack = await withPortalLease({ ...core, wake }, memberId, async (held) => {
        const record = held.record();
        const event = syntheticUpdateEvent(record, record.target ?? "", core.clock());
        const context = makeHandlerContext(core, event, record, { leaseSignal: held.signal });
        let report: RollbackReport = { undone: [], without: [] };
        await withExtensions(core.plugins, context, async (ctx) => {
          report = await rollBack(core, upgrades, held, ctx);
        });
        return report;
      });
      if (rolledBack === undefined) {
        throw new OnAppUpdateError("busy", `cannot roll portal ${memberId} back: a worker is at it`);
      }
      return rolledBack.result;
    },
    portals: async ({ version, status, after, limit = 100 } = {}) => {
      const found: Portal[] = [];
      for await (const portal of counted(storage, after)) {
        if (found.length >= limit) break;
        if (version !== undefined && portal.version !== version) continue;
        if (status !== undefined && portal.state !== status) continue;
        const record = readRecord(await storage.get<PortalRecord>(portalKey(portal.memberId)));
        if (record !== undefined) found.push(snapshot(record));
      }
      return found;
    },
    runs: async (memberId) => (await finishedRuns(storage, memberId)).map(shown),
    counts: async () => {
      const counts = new Map<string, PortalCount>();
      for await (const { state, version } of counted(storage)) {
        const key = `${state} ${version ?? ""}`;
        const count = (counts.get(key)?.count ?? 0) + 1;
        counts.set(key, { status: state, count, ...(version === undefined ? {} : { version }) });
      }
      return [...counts.keys()].sort().map((key) => counts.get(key)!);
    },
  };
}

/** The record with nothing that its run has to wait for, and no attempt counted. */
function fromTheBeginning(record: PortalRecord): PortalRecord {
  const { failure: _f, blocked: _s, ...rest } = record;
  const { run } = record;
  if (run === undefined) return rest;
  const { current, wakeAt: _w, ...others } = run;
  const journal = run.journal.map(({ upgradeId, steps }) => ({
    upgradeId,
    steps: Object.fromEntries(
      Object.entries(steps).map(([name, step]) => [name, step.state === "begun" ? { ...step, attempts: 0 } : step]),
    ),
  }));
  // Of one that is running just now, which goes on.
  const begun = current === undefined ? {} : { current: { ...current, attempt: 0 } };
  return { ...rest, run: { ...others, ...begun, journal } };
}

function shown({ journal, format: _, generation: _g, ...run }: StoredRun): FinishedRun {
  const upgrades = journal.map(({ upgradeId, steps }) => ({ upgradeId, steps: Object.keys(steps) }));
  return { ...run, upgrades };
}
