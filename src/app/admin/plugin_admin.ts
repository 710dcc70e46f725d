/** Operators' functions for plugins: the audit log shows which plugin has acted. */
import type { Admin } from "../../plugin/admin.ts";
import type { Attribution } from "../../plugin/admin_pages.ts";

/** Maximum length of `by`. */
const MAX_LENGTH = 100;

/** Returns the admin of a plugin: whatever `by` it passes, its actions are those of `plugin:NAME`. */
export function pluginAdmin(admin: Admin, plugin: string): Admin {
  const by = `plugin:${plugin}`.slice(0, MAX_LENGTH);
  const own = <T extends Attribution>(attribution: T): T => ({ ...attribution, by });
  return {
    ...admin,
    retry: (memberId, attribution) => admin.retry(memberId, own(attribution)),
    skip: (memberId, upgradeId, attribution) => admin.skip(memberId, upgradeId, own(attribution)),
    rollback: (memberId, attribution) => admin.rollback(memberId, own(attribution)),
    setInitialVersion: (memberId, version, attribution) => admin.setInitialVersion(memberId, version, own(attribution)),
    setTarget: (memberId, version, attribution) => admin.setTarget(memberId, version, own(attribution)),
    forget: (memberId, attribution) => admin.forget(memberId, own(attribution)),
    pause: (attribution) => admin.pause(own(attribution)),
    resume: (attribution) => admin.resume(own(attribution)),
    recount: (attribution) => admin.recount(own(attribution)),
    outbox: { ...admin.outbox, retry: (letters, attribution) => admin.outbox.retry(letters, own(attribution)) },
    batches: {
      ...admin.batches,
      start: (batch) => admin.batches.start(own(batch)),
      stop: (id, attribution) => admin.batches.stop(id, own(attribution)),
    },
  };
}
