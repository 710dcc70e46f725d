/** The fields of portals in answers. A field that is not here never leaves the process. */
import type {
  AppliedUpgrade,
  CheckFindings,
  CheckProblem,
  CheckReport,
  CountSnapshot,
  FailedWith,
  Portal,
  PortalBlock,
  PortalClaim,
  PortalCount,
  PortalFailure,
  PortalPage,
  PortalRun,
  RunProgress,
  StuckGroup,
  UnverifiedEvent,
  UnverifiedEvents,
} from "../../mod.ts";
import { BLOCKED_REASONS, PORTAL_STATES } from "./parameters.ts";
import { flag, message, NEXT, number, oneOf, text, time } from "./values.ts";
import { HIDDEN, list, object, type ObjectSchema, optional } from "./schema.ts";

/** An upgrade that was applied. */
export const APPLIED: ObjectSchema = object<AppliedUpgrade>({
  id: text,
  from: text,
  to: text,
  at: time,
  skipped: optional(flag),
});

const FAILED_WITH = object<FailedWith>({ name: text, code: optional(text), b24Code: optional(text) });

const FAILURE = object<PortalFailure>({
  upgradeId: optional(text),
  to: text,
  step: optional(text),
  message,
  fingerprint: optional(text),
  error: optional(FAILED_WITH),
  attempts: number,
  at: time,
  retryAt: optional(time),
});

const PROGRESS = object<RunProgress>({ done: number, total: optional(number), note: optional(message) });

const RUN = object<PortalRun>({
  id: text,
  from: text,
  startedAt: time,
  current: optional(object<NonNullable<PortalRun["current"]>>({ upgradeId: text, attempt: number })),
  progress: optional(PROGRESS),
  wakeAt: optional(time),
});

const BLOCK = object<PortalBlock>({
  on: oneOf(...BLOCKED_REASONS),
  message,
  since: time,
  nextTryAt: optional(time),
});

const CLAIM = object<PortalClaim>({
  kind: oneOf("version", "removal", "payment"),
  version: optional(text),
  since: time,
  state: oneOf("open", "unconfirmed"),
  isContradicted: flag,
  nextAskAt: optional(time),
});

const PROBLEMS = list(object<CheckProblem>({ code: text, message }));

const FINDINGS = object<CheckFindings>({ at: time, problems: PROBLEMS });

const PORTAL_MEMBERS = {
  memberId: text,
  domain: text,
  clientEndpoint: optional(text),
  status: oneOf("installed", "uninstalled"),
  state: oneOf(...PORTAL_STATES),
  generation: number,
  initialVersion: optional(text),
  version: optional(text),
  target: optional(text),
  applied: list(APPLIED),
  failure: optional(FAILURE),
  run: optional(RUN),
  blocked: optional(BLOCK),
  scope: optional(list(text)),
  applicationToken: HIDDEN,
  pendingApplicationTokens: HIDDEN,
  claims: optional(list(CLAIM)),
  checkedAt: optional(time),
  findings: optional(FINDINGS),
} as const;

/** A portal in a list. */
export const PORTAL: ObjectSchema = object<Portal>(PORTAL_MEMBERS, "Portal");

/** A portal by itself. */
export const STORED_PORTAL: ObjectSchema = object<Portal & { readonly unverifiedEvents?: number }>(
  { ...PORTAL_MEMBERS, unverifiedEvents: optional(number) },
  "StoredPortal",
);

/** Enough of a portal to tell it from another one with its domain. */
export const NAMED_PORTAL: ObjectSchema = object<Pick<Portal, "memberId" | "domain" | "state" | "version">>({
  memberId: text,
  domain: text,
  state: oneOf(...PORTAL_STATES),
  version: optional(text),
});

export const COUNT: ObjectSchema = object<PortalCount>({
  version: optional(text),
  status: oneOf(...PORTAL_STATES, "held"),
  count: number,
}, "PortalCount");

export const STUCK_GROUP: ObjectSchema = object<StuckGroup>({
  status: oneOf("parked", "blocked", "upgrading"),
  count: number,
  blockedOn: optional(oneOf(...BLOCKED_REASONS)),
  fingerprint: optional(text),
  upgradeId: optional(text),
  step: optional(text),
  message: optional(message),
  example: optional({ type: "object", properties: { memberId: text, domain: text }, required: ["memberId", "domain"] }),
}, "StuckGroup");

export const SNAPSHOT: ObjectSchema = object<CountSnapshot>({ at: time, counts: list(COUNT) }, "CountSnapshot");

export const CHECK: ObjectSchema = object<CheckReport>({
  memberId: text,
  installed: optional(text),
  version: optional(text),
  target: optional(text),
  isRaised: flag,
  status: optional(text),
  scope: optional(list(text)),
  problems: PROBLEMS,
}, "CheckReport");

const UNVERIFIED_EVENT = object<UnverifiedEvent>({
  name: text,
  receivedAt: time,
  size: number,
  isTrusted: flag,
  attempts: number,
  error: optional(message),
  nextTryAt: time,
});

export const UNVERIFIED: ObjectSchema = object<UnverifiedEvents>({
  memberId: text,
  isKnown: flag,
  events: list(UNVERIFIED_EVENT),
}, "UnverifiedEvents");

/** A page of portals. */
export const PORTAL_PAGE: ObjectSchema = object<PortalPage>({
  items: list(PORTAL),
  unreadable: optional({
    ...list(text),
    description:
      "The member_ids of portals on this page that cannot be read: newer code wrote them, or their encryption key is missing",
  }),
  next: optional(NEXT),
}, "PortalPage");
