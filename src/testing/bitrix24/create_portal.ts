/** Creates portals of a fake Bitrix24. */
import { checkOptions, option, type OptionRules } from "../../check_options.ts";
import { defined } from "../../defined.ts";
import { EVENT_RULES, forgedBody } from "./event.ts";
import { breakConnections, failCalls } from "./faults.ts";
import { LIST_RULES } from "./list_state.ts";
import { openingRequest } from "./opening.ts";
import {
  type FakePortal,
  type FakePortalOptions,
  type FakeSends,
  INSTALL_RULES,
  PORTAL_RULES,
  UNINSTALL_RULES,
  UPDATE_RULES,
  USER_READY_RULES,
} from "./portal.ts";
import { type PortalEvents, portalEvents } from "./portal_events.ts";
import { dropRegistrations } from "./registrations.ts";
import { DELIVERY_RULES, type FakeDelivery, type Sender } from "./sender.ts";
import {
  expireTokens,
  issueTokens,
  NO_REGISTRATIONS,
  type PortalState,
  setUser,
  USER_RULES,
  type World,
} from "./state.ts";

const SCOPE = ["crm", "placement", "user_brief"];

/** Creates a portal without the app. */
export function createPortal(world: World, sender: Sender, options: FakePortalOptions): FakePortal {
  checkOptions("cannot create a portal", options, PORTAL_RULES);
  const portal = newPortal(world, options);
  const { memberId } = portal;
  addPortal(world, portal);
  const events = portalEvents(world, portal);
  const send: FakePortal["send"] = (body, delivery) => sender.send(portal, body, delivery);
  const tokens: FakePortal["tokens"] = (userId = 1) => {
    setUser(portal, userId, {});
    return issueTokens(world, portal, userId);
  };

  return {
    memberId,
    get domain() {
      return portal.domain;
    },
    ...events,
    forge: (name, data = {}, options = {}) => forgedBody(world, portal, name, data, options),
    open: (options = {}) => openingRequest(world, portal, options),
    send,
    sends: sendsOf(events, send),
    accessToken: (userId) => tokens(userId).accessToken,
    tokens,
    expireTokens: (options = {}) => {
      checkOptions("cannot expire tokens", options, { refresh: option.flag() });
      expireTokens(world, portal, "accessTokens");
      if (options.refresh === true) expireTokens(world, portal, "refreshTokens");
    },
    user: (userId, options) => {
      checkOptions(`cannot change user ${userId}`, options, USER_RULES);
      setUser(portal, userId, options);
    },
    grant: (...scopes) => scopes.forEach((scope) => portal.scope.add(scope)),
    revoke: (...scopes) => scopes.forEach((scope) => portal.scope.delete(scope)),
    rename: (domain) => {
      const portals = world.hosts.get(portal.domain)!;
      portals.splice(portals.indexOf(portal), 1);
      world.formerHosts.set(portal.domain, portal);
      portal.domain = domain;
      addHost(world, portal, domain);
    },
    fail: (code, options) => failCalls(world, portal, code, options),
    lose: (options) => breakConnections(world, portal, options),
    answer: (method, answer, options = {}) => {
      checkOptions(`cannot replace ${method}`, options, { at: option.oneOf("portal", "oauth") });
      const answers = options.at === "oauth" ? portal.oauthAnswers : portal.answers;
      if (answer === undefined) answers.delete(method.toLowerCase());
      else answers.set(method.toLowerCase(), answer);
    },
    data: (method, rows, options = {}) => {
      checkOptions(`cannot add ${method}`, options, LIST_RULES);
      portal.lists.set(method.toLowerCase(), { rows, key: options.key, next: options.next });
    },
    calls: () => world.calls.filter((call) => call.memberId === memberId),
    registrations: () => portal.registrations,
    dropRegistrations: (which = "all") => {
      checkOptions("cannot drop registrations", { which }, { which: option.oneOf("all", "bizproc") });
      dropRegistrations(portal, which);
    },
    state: () => ({
      ...defined({ version: portal.version }),
      domain: portal.domain,
      finished: portal.isFinished,
      paid: portal.isPaid,
      scope: [...portal.scope],
    }),
  };
}

/** Returns the functions that create an event and send it. The options of both are checked before the portal changes. */
function sendsOf(events: PortalEvents, send: FakePortal["send"]): FakeSends {
  async function deliver<Options extends object>(
    rules: OptionRules<Options>,
    create: (options: Options) => string,
    options = {} as Options & FakeDelivery,
  ): Promise<readonly number[]> {
    const allRules = { ...rules, ...DELIVERY_RULES } as OptionRules<Options & FakeDelivery>;
    checkOptions("cannot send an event", options, allRules);
    const { lose, duplicate, reorder, ...others } = options;
    return await send(create(others as unknown as Options), defined({ lose, duplicate, reorder }));
  }
  return {
    install: (version, options) => deliver(INSTALL_RULES, (others) => events.install(version, others), options),
    installFinish: (options) => deliver<object>({}, events.installFinish, options),
    update: (to, options) => deliver(UPDATE_RULES, (others) => events.update(to, others), options),
    uninstall: (options) => deliver(UNINSTALL_RULES, events.uninstall, options),
    stopPayment: (options) => deliver<object>({}, events.stopPayment, options),
    pay: (options) => deliver<object>({}, events.pay, options),
    userReady: (options) => deliver(USER_READY_RULES, events.userReady, options),
    event: (name, data, options) => deliver(EVENT_RULES, (others) => events.event(name, data, others), options),
  };
}

function newPortal(
  world: World,
  { memberId, domain = "example.bitrix24.de", clientId = world.clientId, ts, scope = SCOPE, rateLimit }:
    FakePortalOptions,
): PortalState {
  return {
    clientId,
    memberId,
    domain,
    version: undefined,
    isFinished: true,
    installationStates: [],
    hasWizard: false,
    isPaid: true,
    status: "S",
    installations: 0,
    rotations: 0,
    ts: ts ?? (world.hasClock ? 0 : 1785300000),
    scope: new Set(scope),
    users: new Map([[1, { id: 1, name: "Ada", isAdmin: true, isActive: true }]]),
    registrations: NO_REGISTRATIONS,
    answers: new Map(),
    oauthAnswers: new Map(),
    lists: new Map(),
    idempotentAnswers: new Map(),
    rateLimit,
    bucket: { level: 0, at: 0 },
    operating: new Map(),
  };
}

function addPortal(world: World, portal: PortalState): void {
  world.portals.push(portal);
  addHost(world, portal, portal.domain);
}

function addHost(world: World, portal: PortalState, domain: string): void {
  world.hosts.set(domain, [...world.hosts.get(domain) ?? [], portal]);
}
