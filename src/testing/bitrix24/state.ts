/** What a fake Bitrix24 knows: portals, users, tokens, and what was asked of it. */
import type { FakeParams } from "./request.ts";

/** How many requests a portal takes. */
export interface FakeRateLimit {
  /** How fast the bucket empties; Bitrix24 has 2, and 5 for Enterprise. */
  readonly perSecond: number;
  /** How many requests fit into it; Bitrix24 has 50, and 250 for Enterprise. */
  readonly bucket: number;
}

/** A call of a REST method, or of the OAuth host; never with its token. */
export interface FakeCall {
  /** The portal's `member_id`; absent when the token was nobody's. */
  readonly memberId?: string;
  /** Such as `crm.deal.list`, or `oauth/token`. */
  readonly method: string;
  /** Where it came: a portal's REST, or the OAuth host. */
  readonly at: "portal" | "oauth";
  /** Without tokens and secrets; of a form all are texts. */
  readonly params: FakeParams;
  /** Whose token it came with; absent when that was nobody's. */
  readonly userId?: number;
  /** It was a command of a `batch`, which is a call of its own. */
  readonly isInBatch?: true;
  /** HTTP status that it was answered with; absent while it has none, and for a lost answer. */
  readonly status?: number;
  /** Bitrix24's code, where it was an error. */
  readonly error?: string;
}

/** Answers a method instead of what is built in: gives its `result`, or a whole `Response`. */
export type FakeMethod = (call: FakeCall) => unknown;

/** Something that the next calls are answered with. */
export interface Fault {
  readonly portal?: PortalState;
  readonly at: "portal" | "oauth";
  readonly method?: string;
  readonly afterEffect: boolean;
  /** Makes the answer; throws a `Refusal`, or what `fetch` does when a connection breaks. */
  readonly strike: () => never;
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
  endsAt: number;
}

/** One portal. */
export interface PortalState {
  readonly clientId: string;
  readonly memberId: string;
  domain: string;
  /** Of the app; `undefined` where it is not installed. */
  version: number | undefined;
  isFinished: boolean;
  /** The app has an install wizard: nothing is sent while the installation is not finished. */
  hasWizard: boolean;
  isPaid: boolean;
  /** As in `auth[status]`. */
  status: string;
  installations: number;
  rotations: number;
  /** Seconds since 1970 of the next event. */
  ts: number;
  scope: Set<string>;
  readonly users: Map<number, UserState>;
  registrations: FakeRegistrations;
  readonly answers: Map<string, FakeMethod>;
  readonly oauthAnswers: Map<string, FakeMethod>;
  readonly lists: Map<string, ListState>;
  readonly rateLimit: FakeRateLimit | undefined;
  /** Requests in the bucket, at a time in milliseconds since 1970. */
  bucket: { level: number; at: number };
}

/** Rows behind a list method. */
export interface ListState {
  readonly rows: readonly Readonly<Record<string, unknown>>[];
  /** Where in the result they are; `undefined`: they are the result. */
  readonly key: string | undefined;
}

/** What an app registered at a portal, each as it was given, with the names of parameters in upper case. */
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

/** Parameters of one registration. */
export type FakeRegistration = Readonly<Record<string, unknown>>;

/** A portal where nothing is registered. */
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

/** What a method is given. */
export interface MethodCall {
  readonly world: World;
  readonly portal: PortalState;
  readonly user: UserState;
  readonly params: FakeParams;
}

/** What a method gives. */
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

/** The whole fake Bitrix24. */
export interface World {
  readonly clientId: string;
  readonly clientSecret: string | undefined;
  readonly oauthHosts: ReadonlySet<string>;
  /** Of the addresses in events and answers. */
  readonly oauthOrigin: string;
  readonly accessTokenSeconds: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Events are sent at the time of the clock, and not an hour after another. */
  readonly hasClock: boolean;
  readonly accessTokens: Map<string, TokenState>;
  readonly refreshTokens: Map<string, TokenState>;
  readonly portals: PortalState[];
  /** By host name, and those that had it before. */
  readonly hosts: Map<string, PortalState[]>;
  readonly formerHosts: Map<string, PortalState>;
  readonly calls: FakeCall[];
  readonly faults: Fault[];
  pairs: number;
  requests: number;
  refreshes: number;
  /** Sends an event that a method asked for. */
  readonly emit: (portal: PortalState, body: string) => void;
}

/** A pair of tokens. */
export interface FakeTokens {
  /** Lives for an hour. */
  readonly accessToken: string;
  /** Lives for 180 days, and dies when it is used. */
  readonly refreshToken: string;
  /** End of the access token in milliseconds since 1970. */
  readonly expiresAt: number;
}

const REFRESH_TOKEN_MS = 180 * 24 * 60 * 60 * 1000;

/** A new pair, which the OAuth host and the portal know. */
export function newPair(world: World, portal: PortalState, userId: number): FakeTokens {
  const count = (++world.pairs).toString(16).padStart(4, "0");
  const hex = (kind: string): string => `${kind}${count}${portal.memberId.repeat(3)}`.slice(0, 70);
  const expiresAt = world.now() + world.accessTokenSeconds * 1000;
  const pair = { accessToken: hex("acce55"), refreshToken: hex("fe5fe5"), expiresAt };
  world.accessTokens.set(pair.accessToken, { portal, userId, endsAt: expiresAt });
  world.refreshTokens.set(pair.refreshToken, { portal, userId, endsAt: world.now() + REFRESH_TOKEN_MS });
  return pair;
}

/** Makes the first fault that is meant for a call happen, and forgets it when it has happened often enough. */
export function strike(
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
  fault.strike();
}

/** `scope` as Bitrix24 writes it. */
export function scopeText(portal: PortalState): string {
  return [...portal.scope].join(",");
}
