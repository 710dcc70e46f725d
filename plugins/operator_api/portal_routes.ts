/** Routes on portals. */
import type { PortalFilter, SnapshotFilter, StuckFilter } from "../../mod.ts";
import { UnknownPortalError, VersionError } from "../../errors.ts";
import { invalid, versionIssue } from "./api_error.ts";
import { limit, MATCH, PAGE, UPGRADE_ID, VERSION } from "./parameters.ts";
import { type Route, route } from "./route.ts";
import { object, type ObjectSchema, optional, type Schema, wholeList } from "./schema.ts";
import { CHECK, COUNT, PORTAL_PAGE, SNAPSHOT, STORED_PORTAL, STUCK_GROUP, UNVERIFIED } from "./portal_shapes.ts";
import { FINISHED_RUN, HISTORY, PLAN, REHEARSAL, ROLLBACK } from "./run_shapes.ts";
import { oneOf, pageOf, text } from "./values.ts";

/** The answer of an action on a portal: the portal that was meant, also if its domain was passed. */
const ACTED: ObjectSchema = object<{ readonly memberId: string }>({ memberId: text });

/** Parameters of {@linkcode PortalFilter} */
const FILTER: ObjectSchema = {
  type: "object",
  properties: { ...MATCH.properties, after: PAGE.after.optional, limit: PAGE.limit.optional },
  required: [],
};

const TIME: Schema = { type: "integer", minimum: 0, maximum: Date.UTC(10_000, 0) - 1 };

const SNAPSHOT_FILTER = object<SnapshotFilter>({
  from: optional({
    ...TIME,
    description: "Since this time, in milliseconds since 1970; by default, 7 days before `to`",
  }),
  to: optional({ ...TIME, description: "Up to this time, in milliseconds since 1970; by default, now" }),
  every: optional({
    ...oneOf("hour", "day"),
    description: "One an hour, kept for 90 days; or one a day, for two years",
  }),
});

/** The routes. */
export const PORTAL_ROUTES: readonly Route[] = [
  route<PortalFilter>({
    ...{ method: "GET", path: "/portals", id: "listPortals", role: "read" },
    summary: "Lists portals in the order of their member_id",
    query: FILTER,
    answer: PORTAL_PAGE,
    run: ({ admin, query }) => admin.portals(query),
  }),
  route({
    ...{ method: "GET", path: "/counts", id: "countPortals", role: "read" },
    summary: "Counts portals by version and state",
    answer: wholeList(COUNT),
    run: async ({ admin }) => ({ items: await admin.counts() }),
  }),
  route<StuckFilter>({
    ...{ method: "GET", path: "/stuck", id: "listStuck", role: "read" },
    summary: "Lists the causes why portals are parked, blocked or tried again, the most frequent first",
    query: object<StuckFilter>({ limit: optional(limit(100)) }),
    answer: wholeList(STUCK_GROUP),
    run: async ({ admin, query }) => ({ items: await admin.stuck(query) }),
  }),
  route<SnapshotFilter>({
    ...{ method: "GET", path: "/snapshots", id: "listSnapshots", role: "read" },
    summary: "Lists the counts of past hours or days, the oldest first",
    query: SNAPSHOT_FILTER,
    answer: wholeList(SNAPSHOT),
    run: async ({ admin, query }) => ({ items: await admin.snapshots(query) }),
  }),
  route<{ readonly after?: string; readonly limit?: number }>({
    ...{ method: "GET", path: "/unverified", id: "listUnverified", role: "read" },
    summary: "Lists the events that wait for their verification, by member_id",
    query: object<{ readonly after?: string; readonly limit?: number }>(PAGE),
    answer: pageOf(UNVERIFIED),
    run: ({ admin, query }) => admin.unverified(query),
  }),
  route({
    ...{ method: "GET", path: "/portals/{portal}", id: "getPortal", role: "read" },
    summary: "Returns a portal",
    answer: STORED_PORTAL,
    run: async ({ app, memberId }) => {
      const portal = await app.portal(memberId);
      // It was forgotten meanwhile.
      if (portal === undefined) throw new UnknownPortalError(memberId);
      return portal;
    },
  }),
  route({
    ...{ method: "GET", path: "/portals/{portal}/history", id: "getHistory", role: "read" },
    summary: "Returns the events, runs and failed attempts of a portal, the latest first",
    answer: HISTORY,
    run: ({ admin, memberId }) => admin.history(memberId),
  }),
  route({
    ...{ method: "GET", path: "/portals/{portal}/runs", id: "listRuns", role: "read" },
    summary: "Lists the last finished runs of a portal, the latest first",
    answer: wholeList(FINISHED_RUN),
    run: async ({ admin, memberId }) => ({ items: await admin.runs(memberId) }),
  }),
  route({
    ...{ method: "GET", path: "/portals/{portal}/plan", id: "planPortal", role: "read" },
    summary: "Returns the upgrades that would run for a portal",
    answer: PLAN,
    run: ({ app, memberId }) => app.plan({ memberId }),
  }),
  route<{ readonly from: string; readonly to: string }>({
    ...{ method: "GET", path: "/plan", id: "planVersions", role: "read" },
    summary: "Returns the upgrades that would run between two versions",
    query: object<{ readonly from: string; readonly to: string }>({ from: VERSION, to: VERSION }),
    answer: PLAN,
    run: async ({ app, query: { from, to } }) => {
      try {
        return await app.plan({ from, to });
      } catch (error) {
        if (!(error instanceof VersionError)) throw error;
        throw invalid([versionIssue(error, error.raw === from ? "from" : "to")]);
      }
    },
  }),
  route({
    ...{ method: "POST", path: "/portals/{portal}/check", id: "checkPortal", role: "operate", action: "check" },
    ...{ isReasonOptional: true },
    summary: "Asks Bitrix24 which version a portal has, and raises its target to it",
    answer: CHECK,
    run: ({ app, admin, memberId, attribution }) =>
      admin.noteAction({ ...attribution, action: "check", memberId }, () => app.check(memberId)),
  }),
  route<object, { readonly target?: string }>({
    ...{
      method: "POST",
      path: "/portals/{portal}/rehearse",
      id: "rehearsePortal",
      role: "operate",
      action: "rehearse",
      isReasonOptional: true,
    },
    summary: "Runs the upgrades that are due for a portal, and changes nothing; answers within about a minute",
    body: object<{ readonly target?: string }>({ target: optional(VERSION) }),
    answer: REHEARSAL,
    run: async ({ app, admin, memberId, body, signal, attribution }) => {
      try {
        return await admin.noteAction(
          { ...attribution, action: "rehearse", memberId, details: body },
          () => app.rehearse(memberId, { ...body, signal }),
        );
      } catch (error) {
        throw error instanceof VersionError ? invalid([versionIssue(error, "target")]) : error;
      }
    },
  }),
  route({
    ...{ method: "POST", path: "/portals/{portal}/retry", id: "retryPortal", role: "operate", action: "retry" },
    summary: "Retries a portal that is parked, blocked or waiting",
    answer: ACTED,
    run: async ({ admin, memberId, attribution }) => {
      await admin.retry(memberId, attribution);
      return { memberId };
    },
  }),
  route<object, { readonly upgradeId: string }>({
    ...{ method: "POST", path: "/portals/{portal}/skip", id: "skipUpgrade", role: "operate", action: "skip" },
    summary:
      "Marks a due upgrade of a portal as done without running it; ONAPPINSTALL: the handlers of its installation",
    body: object<{ readonly upgradeId: string }>({ upgradeId: UPGRADE_ID }),
    answer: ACTED,
    run: async ({ admin, memberId, body, attribution }) => {
      await admin.skip(memberId, body.upgradeId, attribution);
      return { memberId };
    },
  }),
  route({
    ...{
      method: "POST",
      path: "/portals/{portal}/rollback",
      id: "rollBackPortal",
      role: "operate",
      action: "rollback",
    },
    summary: "Rolls a portal back to the version from which its last run started",
    answer: ROLLBACK,
    run: ({ admin, memberId, attribution }) => admin.rollback(memberId, attribution),
  }),
  route<object, { readonly version: string }>({
    ...{ method: "POST", path: "/portals/{portal}/set-target", id: "setTarget", role: "operate", action: "setTarget" },
    summary: "Sets the version that a portal should be on",
    body: object<{ readonly version: string }>({ version: VERSION }),
    answer: ACTED,
    run: async ({ admin, memberId, body, attribution }) => {
      await admin.setTarget(memberId, body.version, attribution);
      return { memberId };
    },
  }),
  route<object, { readonly version: string }>({
    ...{ method: "POST", path: "/portals/{portal}/set-initial-version", id: "setInitialVersion", role: "operate" },
    action: "setInitialVersion",
    summary: "Sets the version that the data of a portal is on, if it is not known",
    body: object<{ readonly version: string }>({ version: VERSION }),
    answer: ACTED,
    run: async ({ admin, memberId, body, attribution }) => {
      await admin.setInitialVersion(memberId, body.version, attribution);
      return { memberId };
    },
  }),
  route({
    ...{ method: "POST", path: "/portals/{portal}/forget", id: "forgetPortal", role: "operate", action: "forget" },
    summary: "Erases a portal and what is stored about it",
    answer: ACTED,
    run: async ({ admin, memberId, attribution }) => {
      await admin.forget(memberId, attribution);
      return { memberId };
    },
  }),
];
