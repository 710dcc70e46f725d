/** One portal's journey from its version to its target. */
import { type Core, notify, safeError } from "../core.ts";
import { UpgradeError } from "../errors.ts";
import { withFields } from "../log.ts";
import type { HandlerContext } from "../pipeline/context.ts";
import { portalKey, type PortalRecord, readRecord, snapshot } from "../portal/record.ts";
import { modify } from "../storage/modify.ts";
import type { Upgrade, UpgradeContext } from "./definition.ts";
import { dueUpgrades } from "./plan.ts";

/**
 * Runs what is due for the portal of `ctx`, in order, and records each upgrade as it finishes; the version moves when
 * all have finished. Resolves to the record then.
 *
 * @throws {UpgradeError} when an upgrade fails: the version stays where it was, and the failure is in the record
 */
export async function runUpgrades(
  core: Core,
  upgrades: readonly Upgrade[],
  ctx: HandlerContext,
  record: PortalRecord,
): Promise<PortalRecord> {
  let announced = false;
  while (record.status === "installed") {
    const { memberId, version, target } = record;
    if (version === undefined || target === undefined || version === target) break;
    const step = { memberId, from: version, to: target };
    const due = dueUpgrades(upgrades, record);
    if (!announced) notify(core, "planned", { ...step, upgradeIds: due.map(({ id }) => id) });
    announced = true;
    const [upgrade] = due;
    if (upgrade === undefined) {
      record = await change(core, memberId, (current) => arrive(current, target));
      notify(core, "upgraded", step);
      ctx.log.info("portal upgraded", { from: version, to: target });
    } else {
      record = await runOne(core, ctx, record, upgrade, step);
      notify(core, "applied", { ...step, upgradeId: upgrade.id });
    }
  }
  return record;
}

function arrive(record: PortalRecord, version: string): PortalRecord {
  const { failure: _, ...rest } = record;
  return { ...rest, version };
}

async function runOne(
  core: Core,
  ctx: HandlerContext,
  record: PortalRecord,
  upgrade: Upgrade,
  step: { readonly memberId: string; readonly from: string; readonly to: string },
): Promise<PortalRecord> {
  const { id } = upgrade;
  const attempt = record.failure?.upgradeId === id ? record.failure.attempts + 1 : 1;
  const log = withFields(ctx.log, { upgradeId: id, attempt });
  const { event: _e, receivedAt: _r, ...added } = ctx;
  try {
    await withTimeout(
      ctx.signal,
      upgrade.timeoutMs,
      (signal) =>
        upgrade.handler({ ...added, ...step, attempt, portal: snapshot(record), log, signal } satisfies UpgradeContext),
    );
  } catch (thrown) {
    // Cut off by the app's own end, the attempt says nothing about the upgrade.
    if (ctx.signal.aborted) throw ctx.signal.reason;
    const cause = safeError(thrown, ctx.event, record);
    const { message } = cause;
    log.warn("upgrade failed; the portal stays on its version", { error: message });
    await change(core, step.memberId, (current) => ({
      ...current,
      failure: { upgradeId: id, message, attempts: attempt, at: core.clock() },
    }));
    throw new UpgradeError(id, attempt, message, { cause });
  }
  return await change(core, step.memberId, ({ failure: _, ...current }) => ({
    ...current,
    applied: [...current.applied, { id, from: step.from, to: step.to, at: core.clock() }],
  }));
}

async function change(
  core: Core,
  memberId: string,
  update: (record: PortalRecord) => PortalRecord,
): Promise<PortalRecord> {
  return await modify<PortalRecord>(core.storage, portalKey(memberId), (entry) => {
    const record = readRecord(entry);
    if (record === undefined) {
      throw new Error(`portal ${memberId} vanished from ${core.storage.name} during its upgrade`);
    }
    return update(record);
  });
}

/** Runs `work` with a signal of its own, and stops waiting for it when that is aborted. */
async function withTimeout(
  outer: AbortSignal,
  timeoutMs: number | undefined,
  work: (signal: AbortSignal) => void | Promise<void>,
): Promise<void> {
  const controller = new AbortController();
  const stop = (): void => controller.abort(outer.reason);
  outer.addEventListener("abort", stop, { once: true });
  const timer = timeoutMs === undefined ? undefined : setTimeout(
    () => controller.abort(new DOMException(`it took longer than ${timeoutMs} ms`, "TimeoutError")),
    timeoutMs,
  );
  try {
    const { signal } = controller;
    outer.throwIfAborted();
    await Promise.race([
      work(signal),
      new Promise<never>((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      }),
    ]);
    // A handler that ends because it was told to has not done its work.
    signal.throwIfAborted();
  } finally {
    clearTimeout(timer);
    outer.removeEventListener("abort", stop);
  }
}
