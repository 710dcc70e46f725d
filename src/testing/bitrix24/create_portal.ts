/** Creates portals of a fake Bitrix24. */
import { defined } from "../../defined.ts";
import { forgedBody } from "./event.ts";
import { breakConnections, failCalls } from "./faults.ts";
import { openingRequest } from "./opening.ts";
import type { FakePortal, FakePortalOptions } from "./portal.ts";
import { portalEvents } from "./portal_events.ts";
import { dropRegistrations } from "./registrations.ts";
import type { Sender } from "./sender.ts";
import { expireTokens, issueTokens, NO_REGISTRATIONS, type PortalState, setUser, type World } from "./state.ts";

const SCOPE = ["crm", "placement", "user_brief"];

/** Creates a portal without the app. */
export function createPortal(world: World, sender: Sender, options: FakePortalOptions): FakePortal {
  const portal = newPortal(world, options);
  const { memberId } = portal;
  world.portals.push(portal);
  addHost(world, portal, portal.domain);

  const events = portalEvents(world, portal);
  const send: FakePortal["send"] = (body, options) => sender.send(portal, body, options);
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
    open: (options = {}) => {
      setUser(portal, options.userId ?? 1, defined({ admin: options.admin }));
      return openingRequest(world, portal, options);
    },
    send,
    sends: {
      install: (version, options) => send(events.install(version, options), options),
      installFinish: (options) => send(events.installFinish(), options),
      update: (to, options) => send(events.update(to, options), options),
      uninstall: (options) => send(events.uninstall(options), options),
      stopPayment: (options) => send(events.stopPayment(), options),
      pay: (options) => send(events.pay(), options),
      userReady: (options) => send(events.userReady(options), options),
      event: (name, data, options) => send(events.event(name, data, options), options),
    },
    accessToken: (userId) => tokens(userId).accessToken,
    tokens,
    expireTokens: ({ refresh = false } = {}) => {
      expireTokens(world, portal, "accessTokens");
      if (refresh) expireTokens(world, portal, "refreshTokens");
    },
    user: (userId, options) => setUser(portal, userId, options),
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
    answer: (method, answer, { at = "portal" } = {}) => {
      const answers = at === "portal" ? portal.answers : portal.oauthAnswers;
      if (answer === undefined) answers.delete(method.toLowerCase());
      else answers.set(method.toLowerCase(), answer);
    },
    data: (method, rows, { key, next } = {}) => void portal.lists.set(method.toLowerCase(), { rows, key, next }),
    calls: () => world.calls.filter((call) => call.memberId === memberId),
    registrations: () => portal.registrations,
    dropRegistrations: (which = "all") => dropRegistrations(portal, which),
    state: () => ({
      ...defined({ version: portal.version }),
      domain: portal.domain,
      finished: portal.isFinished,
      paid: portal.isPaid,
      scope: [...portal.scope],
    }),
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

function addHost(world: World, portal: PortalState, domain: string): void {
  world.hosts.set(domain, [...world.hosts.get(domain) ?? [], portal]);
}
