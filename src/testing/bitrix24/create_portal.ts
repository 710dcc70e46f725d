/** Makes a portal of a fake Bitrix24, and does with it what a test wants. */
import { eventBody } from "./event.ts";
import { failing, losing } from "./faults.ts";
import { openingRequest } from "./opening.ts";
import type { FakePortal, FakePortalOptions } from "./portal.ts";
import { dropRegistrations } from "./registrations.ts";
import type { Sender } from "./sender.ts";
import { newPair, NO_REGISTRATIONS, type PortalState, scopeText, type World } from "./state.ts";

const SCOPE = ["crm", "placement", "user_brief"];

/** A portal without the app. */
export function createPortal(world: World, sender: Sender, options: FakePortalOptions): FakePortal {
  const { memberId, domain = "example.bitrix24.de", clientId = world.clientId, scope = SCOPE, rateLimit } = options;
  const portal: PortalState = {
    clientId,
    memberId,
    domain,
    version: undefined,
    isFinished: true,
    hasWizard: false,
    isPaid: true,
    status: "S",
    installations: 0,
    rotations: 0,
    ts: options.ts ?? (world.hasClock ? 0 : 1785300000),
    scope: new Set(scope),
    users: new Map([[1, { id: 1, name: "Ada", isAdmin: true, isActive: true }]]),
    registrations: NO_REGISTRATIONS,
    answers: new Map(),
    oauthAnswers: new Map(),
    lists: new Map(),
    rateLimit,
    bucket: { level: 0, at: 0 },
  };
  world.portals.push(portal);
  settle(world, portal, domain);

  const tokens: FakePortal["tokens"] = (userId = 1) => {
    user(userId, {});
    return newPair(world, portal, userId);
  };
  const user: FakePortal["user"] = (id, { admin, name, active }) => {
    const known = portal.users.get(id);
    portal.users.set(id, {
      id,
      name: name ?? known?.name ?? `User ${id}`,
      isAdmin: admin ?? known?.isAdmin ?? false,
      isActive: active ?? known?.isActive ?? true,
    });
  };
  const endTokens = (kind: "accessTokens" | "refreshTokens"): void => {
    for (const token of world[kind].values()) if (token.portal === portal) token.endsAt = 0;
  };
  const event: FakePortal["event"] = (name, data, options = {}) => {
    user(options.userId ?? 1, {});
    return eventBody(world, portal, name, data, options);
  };
  const installed = (): Record<string, string> => ({
    VERSION: String(portal.version),
    ACTIVE: "Y",
    INSTALLED: portal.isFinished ? "Y" : "N",
    LANGUAGE_ID: "ru",
  });
  const payment = (): string =>
    eventBody(world, portal, "ONAPPPAYMENT", {
      CODE: portal.clientId,
      VERSION: String(portal.version ?? ""),
      STATUS: portal.status,
      PAYMENT_EXPIRED: portal.isPaid ? "N" : "Y",
      DAYS: portal.isPaid ? "28" : "0",
    }, { withoutRefresh: true });

  const bodies = {
    install: (version, { wizard = false, finished = !wizard, ...options } = {}) => {
      portal.version = version;
      portal.installations++;
      portal.isFinished = finished;
      portal.hasWizard = wizard;
      return event("ONAPPINSTALL", installed(), options);
    },
    installFinish: () => {
      portal.isFinished = true;
      return event("ONAPPINSTALL", installed());
    },
    update: (to, options = {}) => {
      const { rotateToken = false, dropRegistrations: drops = false, as = "ONAPPUPDATE", wizard, ...others } = options;
      const previous = portal.version;
      if (wizard === true) [portal.hasWizard, portal.isFinished] = [true, false];
      portal.version = to;
      if (rotateToken) portal.rotations++;
      if (drops !== false) dropRegistrations(portal, drops === true ? "all" : drops);
      const data = { VERSION: String(to), PREVIOUS_VERSION: String(previous ?? ""), LANGUAGE_ID: "de" };
      return event(as, as === "ONAPPUPDATE" ? data : installed(), others);
    },
    uninstall: ({ clean = true } = {}) => {
      const body = event("ONAPPUNINSTALL", { LANGUAGE_ID: "ru", CLEAN: clean ? "1" : "0" }, { tokenless: true });
      portal.version = undefined;
      dropRegistrations(portal, "all");
      endTokens("accessTokens");
      endTokens("refreshTokens");
      return body;
    },
    stopPayment: () => {
      portal.isPaid = false;
      return payment();
    },
    pay: () => {
      portal.isPaid = true;
      return payment();
    },
    userReady: ({ userId = 1000, admin = true } = {}) => {
      user(userId, { admin, name: "App" });
      const { accessToken, refreshToken, expiresAt } = newPair(world, portal, userId);
      return event("ONAPPUSERREADY", {
        access_token: accessToken,
        refresh_token: refreshToken,
        expires: String(Math.floor(expiresAt / 1000)),
        expires_in: String(world.accessTokenSeconds),
        scope: scopeText(portal),
        user_id: String(userId),
      }, { tokenless: true });
    },
    event,
  } satisfies Partial<FakePortal>;
  const send: FakePortal["send"] = (body, options) => sender.send(portal, body, options);

  return {
    memberId,
    get domain() {
      return portal.domain;
    },
    ...bodies,
    open: (options = {}) => {
      user(options.userId ?? 1, options.admin === undefined ? {} : { admin: options.admin });
      return openingRequest(world, portal, options);
    },
    send,
    sends: {
      install: (version, options) => send(bodies.install(version, options), options),
      installFinish: (options) => send(bodies.installFinish(), options),
      update: (to, options) => send(bodies.update(to, options), options),
      uninstall: (options) => send(bodies.uninstall(options), options),
      stopPayment: (options) => send(bodies.stopPayment(), options),
      pay: (options) => send(bodies.pay(), options),
      userReady: (options) => send(bodies.userReady(options), options),
      event: (name, data, options) => send(event(name, data, options), options),
    },
    accessToken: (userId) => tokens(userId).accessToken,
    tokens,
    expireTokens: ({ refresh = false } = {}) => {
      endTokens("accessTokens");
      if (refresh) endTokens("refreshTokens");
    },
    user,
    grant: (...scopes) => scopes.forEach((scope) => portal.scope.add(scope)),
    revoke: (...scopes) => scopes.forEach((scope) => portal.scope.delete(scope)),
    rename: (next) => {
      const hosts = world.hosts.get(portal.domain)!;
      hosts.splice(hosts.indexOf(portal), 1);
      world.formerHosts.set(portal.domain, portal);
      portal.domain = next;
      settle(world, portal, next);
    },
    fail: (code, options) => failing(world, portal, code, options),
    lose: (options) => losing(world, portal, options),
    answer: (method, answer, { at = "portal" } = {}) => {
      const answers = at === "portal" ? portal.answers : portal.oauthAnswers;
      if (answer === undefined) answers.delete(method.toLowerCase());
      else answers.set(method.toLowerCase(), answer);
    },
    data: (method, rows, { key } = {}) => void portal.lists.set(method.toLowerCase(), { rows, key }),
    calls: () => world.calls.filter((call) => call.memberId === memberId),
    registrations: () => portal.registrations,
    dropRegistrations: (which = "all") => dropRegistrations(portal, which),
    state: () => ({
      ...(portal.version === undefined ? {} : { version: portal.version }),
      domain: portal.domain,
      finished: portal.isFinished,
      paid: portal.isPaid,
      scope: [...portal.scope],
    }),
  };
}

/** The portal is reached at `domain` from now on. */
function settle(world: World, portal: PortalState, domain: string): void {
  world.hosts.set(domain, [...world.hosts.get(domain) ?? [], portal]);
}
