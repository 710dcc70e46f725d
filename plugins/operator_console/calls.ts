/** Calls of the operator API within the process: the same checks, the same fields, the same audit log. */
import type {
  AppHealth,
  AuditPage,
  Batch,
  CheckReport,
  CountSnapshot,
  FinishedRun,
  OutboxPage,
  Pause,
  Plan,
  PortalCount,
  PortalHistory,
  PortalPage,
  RegisteredUpgrade,
  RehearsalReport,
  RollbackReport,
  RolloutStatus,
  Silence,
  StoredPortal,
  StuckGroup,
  UnverifiedPage,
} from "../../mod.ts";
import { ApiError, invalid } from "../operator_api/api_error.ts";
import { readQuery } from "../operator_api/request.ts";
import type { Operator, Route } from "../operator_api/route.ts";
import type { Match } from "../operator_api/router.ts";
import type { RouteRunner } from "../operator_api/run_route.ts";
import { issuesOf } from "../operator_api/schema.ts";

interface Items<Item> {
  readonly items: readonly Item[];
}

/** The answers of routes by their id. Members that the API hides are absent, whatever their type says. */
export interface Answers {
  readonly listPortals: PortalPage;
  readonly countPortals: Items<PortalCount>;
  readonly getHealth: AppHealth;
  readonly listStuck: Items<StuckGroup>;
  readonly listSnapshots: Items<CountSnapshot>;
  readonly listUnverified: UnverifiedPage;
  readonly getPortal: StoredPortal;
  readonly getHistory: PortalHistory;
  readonly listRuns: Items<FinishedRun>;
  readonly planPortal: Plan;
  readonly planVersions: Plan;
  readonly checkPortal: CheckReport;
  readonly rehearsePortal: RehearsalReport;
  readonly retryPortal: object;
  readonly skipUpgrade: object;
  readonly rollBackPortal: RollbackReport;
  readonly setTarget: object;
  readonly setInitialVersion: object;
  readonly forgetPortal: object;
  readonly listUpgrades: Items<RegisteredUpgrade>;
  readonly listAudit: AuditPage;
  readonly listBatches: Items<Batch>;
  readonly countMatching: { readonly matched: number };
  readonly startBatch: { readonly id: string; readonly matched: number };
  readonly stopBatch: object;
  readonly getPause: { readonly pause?: Pause };
  readonly pause: object;
  readonly resume: object;
  readonly recount: object;
  readonly listOutbox: OutboxPage;
  readonly retryOutbox: { readonly count: number };
  readonly getRollout: { readonly rollout?: RolloutStatus };
  readonly pauseRollout: object;
  readonly resumeRollout: object;
  readonly promoteRollout: object;
  readonly abortRollout: object;
  readonly listSilences: Items<Silence>;
  readonly addSilence: Silence;
  readonly removeSilence: object;
  readonly exportPortals: Response;
  readonly exportAudit: Response;
}

/** The id of a route that the console calls. */
export type RouteId = keyof Answers;

/** The parameters of a call. */
export interface CallInput {
  /** `{portal}` of the path: a `member_id` or a domain. */
  readonly portal?: string;
  /** `{id}` of the path. */
  readonly id?: string;
  /** `{target}` of the path. */
  readonly target?: string;
  /** The query, as texts; undefined members are left out. */
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  /** The body of an action, `reason` included. */
  readonly body?: Readonly<Record<string, unknown>>;
}

/**
 * Calls a route of the operator API.
 *
 * @throws {ApiError} if the call is refused, for instance because the query has an unknown name or an invalid value
 * @throws what the route throws, such as a `StorageError`
 */
export type Call = <Id extends RouteId>(id: Id, input?: CallInput) => Promise<Answers[Id]>;

/** Parts of {@linkcode createCalls}. */
export interface CallsParts {
  readonly routes: readonly Route[];
  readonly runner: RouteRunner;
}

/** Returns the function that makes the calls of one request. */
export function createCalls({ routes, runner }: CallsParts): (operator: Operator, signal: () => AbortSignal) => Call {
  const byId = new Map(routes.map((route) => [route.id, route]));
  return (operator, signal) => async <Id extends RouteId>(id: Id, input: CallInput = {}): Promise<Answers[Id]> => {
    const route = byId.get(id)!;
    const { portal, id: named, target, query = {}, body = {} } = input;
    const match: Match = {
      route,
      ...(portal !== undefined && { portal }),
      ...(named !== undefined && { id: named }),
      ...(target !== undefined && { target }),
    };
    return await runner.run({
      ...{ match, operator, holder: JSON.stringify(operator.name), reason: null },
      get signal() {
        return signal();
      },
      readQuery: () => readQuery(urlOf(query), route.query),
      readBody: () => Promise.resolve(checkedBody(route, body)),
      readLines: () => {
        throw new ApiError(400, { code: "invalid", message: `the console does not call ${id}` });
      },
    }) as Answers[Id];
  };
}

function urlOf(query: NonNullable<CallInput["query"]>): URL {
  const url = new URL("http://console.invalid/");
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) url.searchParams.set(name, String(value));
  }
  return url;
}

/** @throws {ApiError} 400 */
function checkedBody(route: Route, body: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const issues = issuesOf(route.body, body, "");
  if (issues.length > 0) throw invalid(issues);
  return body;
}
