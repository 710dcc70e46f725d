/** The lock on the token pairs of a portal: one process at a time refreshes them. It is stored with them. */
import { delay } from "../async/time.ts";
import { changePortal } from "../portal/record_store.ts";
import type { StoredTokens } from "../portal/tokens.ts";
import { BLOCKED_RETRY_MS } from "../retry.ts";
import type { CredentialsSettings } from "./settings.ts";
import { isCurrent } from "./store.ts";

/** The lock on the token pairs of each portal. */
export interface RefreshLock {
  /**
   * Waits for the lock, and takes it as `id`. Resolves to the generation of the installation that has `tokens`, or to
   * `undefined`, without the lock, if the portal no longer has them: another holder has refreshed them.
   */
  readonly acquire: (memberId: string, tokens: StoredTokens, id: string) => Promise<number | undefined>;
  /** Releases the lock that was taken as `id`. Never rejects because the storage is down: the lock then expires. */
  readonly release: (memberId: string, id: string) => Promise<void>;
}

/** Interval between two attempts to take the lock, in milliseconds. */
const POLL_MS = 100;

/** Returns the locks of the portals in the settings' storage. */
export function createRefreshLock({ storage, clock, time, log, refreshMs }: CredentialsSettings): RefreshLock {
  /** Locks that this process has released although the storage still shows them. */
  const released = new Set<string>();

  return {
    acquire: async (memberId, tokens, id) => {
      let holder: string | undefined;
      let holderSeenAt = 0;
      while (true) {
        let isGone = false;
        let found: { readonly generation: number; readonly holder: string | undefined } | undefined;
        await changePortal(storage, memberId, (record) => {
          isGone = !isCurrent(record, tokens);
          const other = record.refreshing;
          found = { generation: record.generation, holder: other?.id };
          // A holder that crashed is timed by the clock of this process: that of the holder may be wrong.
          const isHeld = other !== undefined && !released.has(other.id) && clock() < other.until + BLOCKED_RETRY_MS &&
            !(other.id === holder && time.monotonic() - holderSeenAt > refreshMs);
          if (isGone || isHeld) return record;
          found = { ...found, holder: id };
          return { ...record, refreshing: { id, until: clock() + refreshMs } };
        });
        if (isGone) return undefined;
        if (found?.holder === id) return found.generation;
        if (found?.holder !== holder) [holder, holderSeenAt] = [found?.holder, time.monotonic()];
        await delay(time, POLL_MS);
      }
    },
    release: async (memberId, id) => {
      try {
        await changePortal(storage, memberId, (record) => {
          const { refreshing, ...rest } = record;
          return refreshing?.id === id ? rest : record;
        });
      } catch (err) {
        released.add(id);
        log.warn("refresh lock not released in the storage", { event: "credentials.lock_kept", memberId, err });
      }
    },
  };
}
