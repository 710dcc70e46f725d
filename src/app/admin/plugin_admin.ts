/** Operators' functions for plugins: the audit log shows which plugin has acted. */
import { OnAppUpdateError } from "../../errors.ts";
import type { Admin } from "../../plugin/admin.ts";
import type { Attribution } from "../../plugin/admin_pages.ts";
import { portalKey } from "../../portal/keys.ts";
import { type PortalRecord, readRecord } from "../../portal/record.ts";
import type { Storage } from "../../storage/storage.ts";

/** Time (ms) within which a plugin does not retry the same failure of a portal again. */
const RETRY_INTERVAL_MS = 60 * 60 * 1000;

/** Maximum number of portals whose last retry is remembered. */
const MAX_RETRIES = 10_000;

/** Maximum length of `by`. */
const MAX_LENGTH = 100;

/** Dependencies of {@linkcode pluginAdmin}, besides the admin of the app. */
export interface PluginAdminOptions {
  readonly storage: Storage;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
}

/**
 * Returns the admin of a plugin: whatever `by` it passes, its actions are those of `plugin:NAME`. An observer that retries what
 * was parked must not make an endless loop.
 */
export function pluginAdmin(admin: Admin, plugin: string, { storage, clock }: PluginAdminOptions): Admin {
  const by = `plugin:${plugin}`.slice(0, MAX_LENGTH);
  /** By portal, the last one last. */
  const retries = new Map<string, { readonly fingerprint: string; readonly at: number }>();

  /** @throws {OnAppUpdateError} with code `retry_loop`, if the portal has failed again as before */
  async function noteRetry(memberId: string): Promise<void> {
    const { failure } = readRecord(await storage.get<PortalRecord>(portalKey(memberId))) ?? {};
    if (failure?.fingerprint === undefined) return;
    const { fingerprint } = failure;
    const [last, at] = [retries.get(memberId), clock()];
    if (last?.fingerprint === fingerprint && at - last.at < RETRY_INTERVAL_MS) {
      throw new OnAppUpdateError(
        "retry_loop",
        `cannot retry portal ${memberId}: ${by} has retried the same failure ${fingerprint} within the last hour`,
      );
    }
    retries.delete(memberId);
    retries.set(memberId, { fingerprint, at });
    if (retries.size > MAX_RETRIES) retries.delete(retries.keys().next().value!);
  }

  const own = <T extends Attribution>(attribution: T): T => ({ ...attribution, by });
  return {
    ...admin,
    retry: async (memberId, attribution) => {
      await noteRetry(memberId);
      await admin.retry(memberId, own(attribution));
    },
    skip: (memberId, upgradeId, attribution) => admin.skip(memberId, upgradeId, own(attribution)),
    rollback: (memberId, attribution) => admin.rollback(memberId, own(attribution)),
    setInitialVersion: (memberId, version, attribution) => admin.setInitialVersion(memberId, version, own(attribution)),
    setTarget: (memberId, version, attribution) => admin.setTarget(memberId, version, own(attribution)),
    adopt: (portals, options) => admin.adopt(portals, own(options)),
    forget: (memberId, attribution) => admin.forget(memberId, own(attribution)),
    pause: (attribution) => admin.pause(own(attribution)),
    resume: (attribution) => admin.resume(own(attribution)),
    noteAction: (note, act) => admin.noteAction(own(note), act),
    recount: (attribution) => admin.recount(own(attribution)),
    outbox: { ...admin.outbox, retry: (letters, attribution) => admin.outbox.retry(letters, own(attribution)) },
    silences: {
      ...admin.silences,
      add: (silence) => admin.silences.add(own(silence)),
      remove: (id, attribution) => admin.silences.remove(id, own(attribution)),
    },
    rollout: {
      ...admin.rollout,
      set: (target, changes, attribution) => admin.rollout.set(target, changes, own(attribution)),
      pause: (target, attribution) => admin.rollout.pause(target, own(attribution)),
      resume: (target, options) => admin.rollout.resume(target, own(options)),
      promote: (target, options) => admin.rollout.promote(target, own(options)),
      abort: (target, attribution) => admin.rollout.abort(target, own(attribution)),
    },
    batches: {
      ...admin.batches,
      start: (batch) => admin.batches.start(own(batch)),
      stop: (id, attribution) => admin.batches.stop(id, own(attribution)),
    },
  };
}
