/** Looks from time to time for problems that nothing reports. */
import type { PluginHost } from "../../mod.ts";
import type { GroupStore } from "./group_store.ts";
import type { NotificationKind } from "./message.ts";
import type { Route } from "./routing.ts";
import type { Watch } from "./watch.ts";

/** Dependencies of {@linkcode createStanding}. */
export interface StandingParts {
  readonly host: Pick<PluginHost, "clock">;
  readonly store: Pick<GroupStore, "ensure">;
  readonly watch: Watch;
  readonly route: Route;
}

/** Time (ms) between two looks of a process. */
const EVERY_MS = 60_000;

/** Returns the function that looks for problems, at most once a minute. */
export function createStanding({ host: { clock }, store, watch, route }: StandingParts): () => Promise<void> {
  const isWanted = (kind: NotificationKind): boolean => route(kind, {}).length > 0;
  let lookedAt = -Infinity;
  return async () => {
    const now = clock();
    // The clock may have been put back.
    if (Math.abs(now - lookedAt) < EVERY_MS) return;
    if (isWanted("nothing_received") && await watch.silence() !== undefined) {
      await store.ensure({ kind: "nothing_received", labels: {} });
    }
    if (isWanted("verification_delayed") || isWanted("oauth_failing")) {
      for (const kind of Object.keys(await watch.delayed()) as NotificationKind[]) {
        if (isWanted(kind)) await store.ensure({ kind, labels: {} });
      }
    }
    lookedAt = now;
  };
}
