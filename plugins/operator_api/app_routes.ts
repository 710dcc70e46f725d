/** Routes on the whole app: upgrades, audit log, batch operations, pause, outbox. */
import type { Attribution, AuditFilter, DeadLetters, NewBatch, OutboxFilter, PortalMatch } from "../../mod.ts";
import type { InputIssue } from "../../errors.ts";
import { ApiError, invalid } from "./api_error.ts";
import { AUDIT_MATCH, BATCH_ACTIONS, limit, line, MATCH, PAGE, UPGRADE_ID, VERSION } from "./parameters.ts";
import { type Operator, type Route, route } from "./route.ts";
import { object, type ObjectSchema, optional, page, wholeList } from "./schema.ts";
import { AUDIT_ENTRY, BATCH, DIAGNOSIS, HEALTH, OUTBOX_MESSAGE, PAUSE, STARTED_BATCH, UPGRADE } from "./app_shapes.ts";
import { number, pageOf, text } from "./values.ts";

/** The answer of an action that has no result. */
const DONE: ObjectSchema = { type: "object", properties: {}, required: [] };

const PLUGIN = line(200, "The name of a plugin");
const CHANNEL = line(100, "Only dead letters of this channel of the plugin");
const MESSAGE_ID = line(200, "The id of a message");

const AUDIT_FILTER: ObjectSchema = {
  ...AUDIT_MATCH,
  properties: { ...AUDIT_MATCH.properties, after: PAGE.after.optional, limit: PAGE.limit.optional },
};

type BatchBody = Omit<NewBatch, keyof Attribution>;

const NEW_BATCH = object<BatchBody>({
  action: { type: "string", enum: BATCH_ACTIONS, description: "What is done to each portal" },
  upgradeId: optional({ ...UPGRADE_ID, description: "Required for `skip`" }),
  version: optional({ ...VERSION, description: "Required for `setTarget` and `setInitialVersion`" }),
  match: MATCH,
  expect: { type: "integer", minimum: 0, description: "The number that you have seen. If more match, nothing is done" },
});

/** The field that an action requires. The others have no meaning for it. */
const WANTED: Readonly<Record<NewBatch["action"], "upgradeId" | "version" | undefined>> = {
  ...{ retry: undefined, skip: "upgradeId", rollback: undefined, setTarget: "version", setInitialVersion: "version" },
};

/** @throws {ApiError} 400, if a field is missing, or has no meaning for the action */
function checkBatch(body: BatchBody): void {
  const issues: InputIssue[] = [];
  const wantedName = WANTED[body.action];
  for (const name of ["upgradeId", "version"] as const) {
    const isThere = body[name] !== undefined;
    if (isThere === (name === wantedName)) continue;
    const [saw, wanted] = isThere ? ["a value", "nothing"] : ["nothing", "a value"];
    issues.push({ path: name, saw, wanted: `${wanted}: action is "${body.action}"` });
  }
  if (Object.keys(body.match).length === 0) {
    issues.push({ path: "match", saw: "an object that matches all portals", wanted: "at least one member" });
  }
  if (issues.length > 0) throw invalid(issues);
}

interface OutboxQuery {
  readonly state: OutboxFilter["state"];
  readonly plugin?: string;
  readonly afterPlugin?: string;
  readonly afterId?: string;
  readonly limit?: number;
}

const OUTBOX_QUERY = object<OutboxQuery>({
  state: { type: "string", enum: ["waiting", "dead"], description: "Messages that wait, or dead letters" },
  plugin: optional({ ...PLUGIN, description: "Only messages of this plugin" }),
  afterPlugin: optional({ ...PLUGIN, description: "`next.plugin` of a page; with `afterId`" }),
  afterId: optional({ ...MESSAGE_ID, description: "`next.id` of a page; with `afterPlugin`" }),
  limit: optional(limit(1000)),
});

function outboxFilter({ state, plugin, afterPlugin, afterId, limit }: OutboxQuery): OutboxFilter {
  if ((afterPlugin === undefined) !== (afterId === undefined)) {
    const path = afterId === undefined ? "afterId" : "afterPlugin";
    throw invalid([{ path, saw: "nothing", wanted: "afterPlugin and afterId, or neither" }]);
  }
  return {
    state,
    ...(plugin !== undefined && { plugin }),
    ...(afterPlugin !== undefined && afterId !== undefined && { after: { plugin: afterPlugin, id: afterId } }),
    ...(limit !== undefined && { limit }),
  };
}

/** The routes. */
export const APP_ROUTES: readonly Route[] = [
  route({
    ...{ method: "GET", path: "/token", id: "getToken", role: "read" },
    summary: "Returns the name and the role of the token that came with the request",
    answer: object<Operator>({
      name: text,
      role: { type: "string", enum: ["read", "operate"] },
    }),
    run: ({ operator }) => Promise.resolve(operator),
  }),
  route({
    ...{ method: "POST", path: "/diagnose", id: "diagnose", role: "read" },
    summary: "Looks at the process that answers and at its machine: configuration, storage, hosts, clock, permissions",
    answer: DIAGNOSIS,
    run: ({ admin }) => admin.diagnose(),
  }),
  route({
    ...{ method: "GET", path: "/health", id: "getHealth", role: "read" },
    summary: "Returns figures for monitoring: how late the work is, and what waits",
    answer: HEALTH,
    run: ({ admin }) => admin.health(),
  }),
  route({
    ...{ method: "GET", path: "/upgrades", id: "listUpgrades", role: "read" },
    summary: "Lists the upgrades of the code, and for how many portals each is due",
    answer: wholeList(UPGRADE),
    run: async ({ admin }) => ({ items: await admin.upgrades() }),
  }),
  route<AuditFilter>({
    ...{ method: "GET", path: "/audit", id: "listAudit", role: "read" },
    summary: "Lists the actions of operators, the latest first",
    query: AUDIT_FILTER,
    answer: pageOf(AUDIT_ENTRY),
    run: ({ admin, query }) => admin.audit(query),
  }),
  route<{ readonly limit?: number }>({
    ...{ method: "GET", path: "/batches", id: "listBatches", role: "read" },
    summary: "Lists batch operations: those that are running, then those that are over, the latest first",
    query: object<{ readonly limit?: number }>({ limit: optional(limit(1000)) }),
    answer: wholeList(BATCH),
    run: async ({ admin, query }) => ({ items: await admin.batches.list(query) }),
  }),
  route<object, BatchBody>({
    ...{ method: "POST", path: "/batches", id: "startBatch", role: "operate", action: "batch", status: 201 },
    summary: "Starts an action on all portals that match",
    body: NEW_BATCH,
    answer: STARTED_BATCH,
    run: async ({ admin, body, attribution }) => {
      checkBatch(body);
      const { id, matched } = await admin.batches.start({ ...body, ...attribution });
      if (id !== undefined) return { id, matched };
      const message = `${matched} ${
        matched === 1 ? "portal matches" : "portals match"
      }, wanted at most ${body.expect}: look at them again`;
      throw new ApiError(409, { code: "expect_exceeded", message, matched });
    },
  }),
  route<PortalMatch>({
    ...{ method: "GET", path: "/batches/count", id: "countMatching", role: "read" },
    summary: "Counts the portals on which a batch operation would act",
    query: MATCH,
    answer: object<{ readonly matched: number }>({ matched: number }),
    run: async ({ admin, query }) => {
      if (Object.keys(query).length === 0) {
        throw invalid([{ path: "query", saw: "one that matches all portals", wanted: "at least one parameter" }]);
      }
      return { matched: await admin.batches.count(query) };
    },
  }),
  route({
    ...{ method: "POST", path: "/batches/{id}/stop", id: "stopBatch", role: "operate", action: "batch" },
    summary: "Ends a batch operation after the portals that it is acting on",
    answer: DONE,
    run: async ({ admin, id, attribution }) => {
      await admin.batches.stop(id, attribution);
      return {};
    },
  }),
  route({
    ...{ method: "GET", path: "/pause", id: "getPause", role: "read" },
    summary: "Returns whether all work on portals is paused, by whom, why and since when",
    answer: object<{ readonly pause?: unknown }>({ pause: optional(PAUSE) }),
    run: async ({ admin }) => ({ pause: await admin.paused() }),
  }),
  route({
    ...{ method: "POST", path: "/pause", id: "pause", role: "operate", action: "pause" },
    summary: "Pauses all work on portals",
    answer: DONE,
    run: async ({ admin, attribution }) => {
      await admin.pause(attribution);
      return {};
    },
  }),
  route({
    ...{ method: "POST", path: "/resume", id: "resume", role: "operate", action: "resume" },
    summary: "Ends the pause",
    answer: DONE,
    run: async ({ admin, attribution }) => {
      await admin.resume(attribution);
      return {};
    },
  }),
  route({
    ...{ method: "POST", path: "/recount", id: "recount", role: "operate", action: "recount" },
    summary: "Counts all portals anew; answers when it is done",
    answer: DONE,
    run: async ({ admin, attribution }) => {
      await admin.recount(attribution);
      return {};
    },
  }),
  route<OutboxQuery>({
    ...{ method: "GET", path: "/outbox", id: "listOutbox", role: "read" },
    summary: "Lists the messages of plugins that wait or could not be delivered, without what they say",
    query: OUTBOX_QUERY,
    answer: page(OUTBOX_MESSAGE, object<{ readonly plugin: string; readonly id: string }>({ plugin: text, id: text })),
    run: ({ admin, query }) => admin.outbox.list(outboxFilter(query)),
  }),
  route<object, DeadLetters>({
    ...{ method: "POST", path: "/outbox/retry", id: "retryOutbox", role: "operate", action: "outbox.retry" },
    summary: "Delivers dead letters again: one, or all of a plugin or of one of its channels",
    body: object<DeadLetters>({ plugin: PLUGIN, id: optional(MESSAGE_ID), channel: optional(CHANNEL) }),
    answer: object<{ readonly count: number }>({ count: number }),
    run: async ({ admin, body, attribution }) => ({ count: await admin.outbox.retry(body, attribution) }),
  }),
];
