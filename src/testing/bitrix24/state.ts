/** The state of a fake Bitrix24: portals, users, tokens, and the calls so far. */
import { option, type OptionRule, type OptionRules } from "../../check_options.ts";
import { TOKEN_MARKER } from "./marker.ts";
import type { ListState } from "./list_state.ts";
import type { FakeParams } from "./request.ts";

/** The request limit of a portal: a leaky bucket. */
export interface FakeRateLimit {
  /** Requests per second that leave the bucket. Minimum: 0. Bitrix24 has 2, or 5 for Enterprise. */
  readonly perSecond: number;
  /** Size of the bucket in requests. Minimum: 1. Bitrix24 has 50, or 250 for Enterprise. */
  readonly bucket: number;
}

/** The rule of a {@linkcode FakeRateLimit}. */
export const RATE_LIMIT_RULE: OptionRule = option.object<FakeRateLimit>({
  perSecond: option.required(option.number({ min: 0 })),
  bucket: option.required(option.number({ min: 1 })),
});

/** A call of a REST method or of the OAuth host, without its token. */
export interface FakeCall {
  /** `member_id` of the portal; absent if the token is unknown. */
  readonly memberId?: string;
  /** Name of the method, such as `crm.deal.list`, `api/tasks.task.add` for one of REST 3.0, or `oauth/token`. */
  readonly method: string;
  /** The REST of a portal, or the OAuth host. */
  readonly at: "portal" | "oauth";
  /** Parameters without tokens and secrets. Those of a form are all strings. */
  readonly params: FakeParams;
  /** User of the token; absent if the token is unknown. */
  readonly userId?: number;
  /** The call was a command of a `batch`, which is listed as well. */
  readonly isInBatch?: true;
  /** The `Idempotency-Key` of a call of REST 3.0. */
  readonly idempotencyKey?: string;
  /** The call was not run: it has the answer of an earlier one with the same `Idempotency-Key`. */
  readonly isReplayed?: true;
  /** HTTP status of the answer; absent until there is one, and if the connection broke. */
  readonly status?: number;
  /** Bitrix24's error code; absent if the call succeeded. */
  readonly error?: string;
}

/** Replaces a method: returns its `result`, or a complete `Response`. */
export type FakeMethod = (call: FakeCall) => unknown;

/** A fault of the next calls. */
export interface Fault {
  readonly portal?: PortalState;
  readonly at: "portal" | "oauth";
  readonly method?: string;
  readonly afterEffect: boolean;
  /** Throws a `Refusal`, or the error of `fetch` for a broken connection. */
  readonly raise: () => never;
  times: number;
}

/** A user of a portal. */
export interface UserState {
  readonly id: number;
  readonly name: string;
  readonly isAdmin: boolean;
  readonly isActive: boolean;
}

/** An access or refresh token. */
export interface TokenState {
  readonly portal: PortalState;
  readonly userId: number;
  /** Milliseconds since 1970. */
  expiresAt: number;
}

/** One portal. */
export interface PortalState {
  readonly clientId: string;
  readonly memberId: string;
  domain: string;
  /** Version of the app; `undefined` if it is not installed. */
  version: number | undefined;
  isFinished: boolean;
  /** The states of the installation so far, for an OAuth host that is behind. */
  readonly installationStates: InstallationState[];
  /** The app has an install wizard: nothing is sent while the installation is not finished. */
  hasWizard: boolean;
  isPaid: boolean;
  /** The value of `auth[status]`. */
  status: string;
  installations: number;
  rotations: number;
  /** `ts` of the next event, in seconds since 1970. */
  ts: number;
  scope: Set<string>;
  readonly users: Map<number, UserState>;
  registrations: FakeRegistrations;
  readonly answers: Map<string, FakeMethod>;
  readonly oauthAnswers: Map<string, FakeMethod>;
  readonly lists: Map<string, ListState>;
  /** Answers of successful calls of REST 3.0 with an `Idempotency-Key`, with the bodies of these calls. */
  readonly idempotentAnswers: Map<string, { readonly body: string; readonly answer: string; readonly at: number }>;
  readonly rateLimit: FakeRateLimit | undefined;
  /** Number of requests in the bucket at a time in milliseconds since 1970. */
  bucket: { level: number; at: number };
  /** When each method ran and how long, in milliseconds, by name in lower case. */
  readonly operating: Map<string, readonly { readonly at: number; readonly ms: number }[]>;
}

/** The state of an installation that `app.info` reports from a time on. */
export interface InstallationState {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly version: number | undefined;
  readonly isFinished: boolean;
}

/** The registrations of the app on a portal: the parameters of each, with names in upper case. */
export interface FakeRegistrations {
  /** `event.bind`. */
  readonly events: readonly FakeRegistration[];
  /** `placement.bind`. */
  readonly placements: readonly FakeRegistration[];
  /** `bizproc.robot.add`. */
  readonly robots: readonly FakeRegistration[];
  /** `bizproc.activity.add`. */
  readonly activities: readonly FakeRegistration[];
  /** `messageservice.sender.add`. */
  readonly senders: readonly FakeRegistration[];
  /** `userfieldtype.add`. */
  readonly userFieldTypes: readonly FakeRegistration[];
  /** `imconnector.register`. */
  readonly connectors: readonly FakeRegistration[];
  /** `crm.automation.trigger.add`. */
  readonly triggers: readonly FakeRegistration[];
}

/** The parameters of one registration. */
export type FakeRegistration = Readonly<Record<string, unknown>>;

/** No registrations. */
export const NO_REGISTRATIONS: FakeRegistrations = {
  events: [],
  placements: [],
  robots: [],
  activities: [],
  senders: [],
  userFieldTypes: [],
  connectors: [],
  triggers: [],
};

/** The input of a method. */
export interface MethodCall {
  readonly world: World;
  readonly portal: PortalState;
  readonly user: UserState;
  readonly params: FakeParams;
  /** `auth_connector` of the request: that of a command of a batch is ignored. */
  readonly connector: unknown;
}

/** The output of a method. */
export interface MethodResult {
  readonly result: unknown;
  readonly total?: number;
  readonly next?: number;
}

/** A REST method. */
export interface RestMethod {
  /** Only administrators may call it. */
  readonly forAdmins?: true;
  readonly run: (call: MethodCall) => MethodResult;
}

/** The state of all hosts. */
export interface World {
  readonly clientId: string;
  readonly clientSecret: string | undefined;
  readonly oauthHosts: ReadonlySet<string>;
  /** Origin of `server_endpoint` in events and answers. */
  readonly oauthOrigin: string;
  readonly accessTokenSeconds: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** `ts` of events is the time of the clock. Otherwise, events are an hour apart. */
  readonly hasClock: boolean;
  readonly accessTokens: Map<string, TokenState>;
  readonly refreshTokens: Map<string, TokenState>;
  readonly portals: PortalState[];
  /** Portals by host name. */
  readonly hosts: Map<string, PortalState[]>;
  /** Renamed portals by their former host name. */
  readonly formerHosts: Map<string, PortalState>;
  readonly calls: FakeCall[];
  readonly faults: Fault[];
  /** Milliseconds by which `app.info` of the OAuth hosts is behind. */
  lagMs: number;
  oauthOutage: FakeOutage | undefined;
  issuedPairs: number;
  requests: number;
  refreshes: number;
  /** Sends an event that a method requested. */
  readonly emit: (portal: PortalState, body: string) => void;
}

/** An outage of the OAuth hosts: connections fail, or requests are never answered. */
export type FakeOutage = "down" | "hanging";

/** Changes the installation of a portal. */
export function setInstallation(
  world: World,
  portal: PortalState,
  { version, isFinished }: Pick<InstallationState, "version" | "isFinished">,
): void {
  Object.assign(portal, { version, isFinished });
  portal.installationStates.push({ at: world.now(), version, isFinished });
}

/** Returns what the OAuth hosts know of the installation of a portal. */
export function reportedInstallation({ now, lagMs }: World, portal: PortalState): Omit<InstallationState, "at"> {
  // A removal is known at once: the tokens are void.
  if (lagMs === 0 || portal.version === undefined) return portal;
  const known = portal.installationStates.findLast(({ at }) => at <= now() - lagMs);
  return known ?? { version: undefined, isFinished: false };
}

/** A token pair. */
export interface FakeTokens {
  /** Valid for an hour by default. */
  readonly accessToken: string;
  /** Valid for 180 days, and only once. */
  readonly refreshToken: string;
  /** Expiry of the access token, in milliseconds since 1970. */
  readonly expiresAt: number;
}

const REFRESH_TOKEN_MS = 180 * 24 * 60 * 60 * 1000;

/** Returns a new token pair of a user. */
export function issueTokens(world: World, portal: PortalState, userId: number): FakeTokens {
  const count = (++world.issuedPairs).toString(16).padStart(4, "0");
  const hex = (kind: string): string => `${kind}${TOKEN_MARKER}${count}${portal.memberId.repeat(3)}`.slice(0, 70);
  const expiresAt = world.now() + world.accessTokenSeconds * 1000;
  const pair = { accessToken: hex("acce55"), refreshToken: hex("fe5fe5"), expiresAt };
  world.accessTokens.set(pair.accessToken, { portal, userId, expiresAt });
  world.refreshTokens.set(pair.refreshToken, { portal, userId, expiresAt: world.now() + REFRESH_TOKEN_MS });
  return pair;
}

/** Throws the error of the first fault that applies to a call, and removes the fault after its last time. */
export function applyFault(
  world: World,
  when: "before" | "after",
  call: { readonly portal?: PortalState; readonly at: "portal" | "oauth"; readonly method: string },
): void {
  const index = world.faults.findIndex((fault) =>
    fault.at === call.at && fault.afterEffect === (when === "after") &&
    (fault.portal === undefined || fault.portal === call.portal) &&
    (fault.method === undefined || fault.method === call.method)
  );
  const fault = world.faults[index];
  if (fault === undefined) return;
  if (--fault.times <= 0) world.faults.splice(index, 1);
  fault.raise();
}

/** Expires the access or refresh tokens of a portal. */
export function expireTokens(world: World, portal: PortalState, kind: "accessTokens" | "refreshTokens"): void {
  for (const token of world[kind].values()) if (token.portal === portal) token.expiresAt = 0;
}

/** Creates a user, or changes an existing one. */
export function setUser(portal: PortalState, id: number, { admin, name, active }: FakeUserOptions): void {
  const before = portal.users.get(id);
  portal.users.set(id, {
    id,
    name: name ?? before?.name ?? `User ${id}`,
    isAdmin: admin ?? before?.isAdmin ?? false,
    isActive: active ?? before?.isActive ?? true,
  });
}

/** Returns the scopes as Bitrix24 writes them. */
export function scopeText(portal: PortalState): string {
  return [...portal.scope].join(",");
}

/** Options of {@linkcode FakePortal.user}. Absent ones do not change the user. */
export interface FakeUserOptions {
  /** Whether the user is an administrator. */
  readonly admin?: boolean;
  /** Name in `profile`. */
  readonly name?: string;
  /** False: the user has no access to the app, so calls with their tokens fail with `user_access_error`. */
  readonly active?: boolean;
}

/** The rules of {@linkcode FakeUserOptions}. */
export const USER_RULES: OptionRules<FakeUserOptions> = {
  admin: option.flag(),
  name: option.text("a name"),
  active: option.flag(),
};
