/** All pages, in the order of the navigation. A new page is a row here. */
import type { AnyPage } from "./page.ts";
import { AUDIT } from "./pages/audit.ts";
import { BATCHES } from "./pages/batches.ts";
import { HEALTH } from "./pages/health.ts";
import { OUTBOX } from "./pages/outbox.ts";
import { OVERVIEW } from "./pages/overview.ts";
import { PORTAL } from "./pages/portal.ts";
import { PORTALS } from "./pages/portals.ts";
import { ROLLOUT } from "./pages/rollout.ts";
import { SILENCES } from "./pages/silences.ts";
import { UPGRADES } from "./pages/upgrades.ts";
import { UNVERIFIED } from "./pages/unverified.ts";

export const PAGES: readonly AnyPage[] = [
  OVERVIEW,
  PORTALS,
  PORTAL,
  ROLLOUT,
  BATCHES,
  AUDIT,
  OUTBOX,
  SILENCES,
  UNVERIFIED,
  HEALTH,
  UPGRADES,
];
