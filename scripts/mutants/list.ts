/** All mutants. */
import { ADOPTION } from "./adoption.ts";
import { CONSOLE } from "./console.ts";
import { CREDENTIALS } from "./credentials.ts";
import { DEV } from "./dev.ts";
import { FORGET } from "./forget.ts";
import { INTAKE } from "./intake.ts";
import type { Mutant } from "./mutant.ts";
import { NOTIFICATIONS } from "./notifications.ts";
import { OUTBOX } from "./outbox.ts";
import { PORTAL_CREDENTIALS } from "./portal_credentials.ts";
import { PORTAL_EVENTS } from "./portal_events.ts";
import { PORTAL_RECORDS } from "./portal_records.ts";
import { REHEARSAL } from "./rehearsal.ts";
import { ROLLOUT } from "./rollout.ts";
import { UPGRADE } from "./upgrade.ts";
import { VERIFY } from "./verify.ts";
import { WORKER } from "./worker.ts";

export const MUTANTS: readonly Mutant[] = [
  ...PORTAL_EVENTS,
  ...PORTAL_RECORDS,
  ...PORTAL_CREDENTIALS,
  ...WORKER,
  ...UPGRADE,
  ...VERIFY,
  ...INTAKE,
  ...FORGET,
  ...OUTBOX,
  ...CREDENTIALS,
  ...ADOPTION,
  ...REHEARSAL,
  ...ROLLOUT,
  ...DEV,
  ...NOTIFICATIONS,
  ...CONSOLE,
];
