/** The events of a fake portal: each function changes the portal and returns the body of the event. */
import { checkOptions } from "../../check_options.ts";
import { EVENT_RULES, eventBody } from "./event.ts";
import { endpointOf } from "./oauth.ts";
import { type FakePortal, INSTALL_RULES, UNINSTALL_RULES, UPDATE_RULES, USER_READY_RULES } from "./portal.ts";
import { dropRegistrations } from "./registrations.ts";
import {
  expireTokens,
  issueTokens,
  type PortalState,
  scopeText,
  setInstallation,
  setUser,
  type World,
} from "./state.ts";

/** The functions of {@linkcode FakePortal} that return the body of an event. */
export type PortalEvents = Pick<
  FakePortal,
  "install" | "installFinish" | "update" | "uninstall" | "stopPayment" | "pay" | "userReady" | "event"
>;

/** Returns the functions that create the events of a portal. */
export function portalEvents(world: World, portal: PortalState): PortalEvents {
  const event: PortalEvents["event"] = (name, data, options = {}) => {
    setUser(portal, options.userId ?? 1, {});
    return eventBody(world, portal, name, data, options);
  };
  const payment = (isPaid: boolean): string => {
    portal.isPaid = isPaid;
    return eventBody(world, portal, "ONAPPPAYMENT", paymentData(portal), { withoutRefresh: true });
  };
  return {
    install: (version, options = {}) => {
      checkOptions("cannot install the app", options, INSTALL_RULES);
      const { wizard = false, finished = !wizard, ...others } = options;
      setInstallation(world, portal, { version, isFinished: finished });
      portal.installations++;
      portal.hasWizard = wizard;
      return event("ONAPPINSTALL", installData(portal), others);
    },
    installFinish: () => {
      setInstallation(world, portal, { version: portal.version, isFinished: true });
      return event("ONAPPINSTALL", installData(portal));
    },
    update: (to, options = {}) => {
      checkOptions("cannot update the app", options, UPDATE_RULES);
      const { rotateToken = false, dropRegistrations: drops = false, as = "ONAPPUPDATE", wizard, ...others } = options;
      const previous = portal.version;
      if (wizard === true) portal.hasWizard = true;
      setInstallation(world, portal, { version: to, isFinished: wizard === true ? false : portal.isFinished });
      if (rotateToken) portal.rotations++;
      if (drops !== false) dropRegistrations(portal, drops === true ? "all" : drops);
      const data = { VERSION: String(to), PREVIOUS_VERSION: String(previous ?? ""), LANGUAGE_ID: "de" };
      return event(as, as === "ONAPPUPDATE" ? data : installData(portal), others);
    },
    uninstall: (options = {}) => {
      checkOptions("cannot uninstall the app", options, UNINSTALL_RULES);
      const { clean = true } = options;
      const body = event("ONAPPUNINSTALL", { LANGUAGE_ID: "ru", CLEAN: clean ? "1" : "0" }, { tokenless: true });
      setInstallation(world, portal, { version: undefined, isFinished: portal.isFinished });
      dropRegistrations(portal, "all");
      expireTokens(world, portal, "accessTokens");
      expireTokens(world, portal, "refreshTokens");
      return body;
    },
    stopPayment: () => payment(false),
    pay: () => payment(true),
    userReady: (options = {}) => {
      checkOptions("cannot create the user of the app", options, USER_READY_RULES);
      const { userId = 1000, admin = true, installer = 1 } = options;
      setUser(portal, userId, { admin, name: "App" });
      setUser(portal, installer, {});
      const { accessToken, refreshToken, expiresAt } = issueTokens(world, portal, userId);
      // Bitrix24 documents its OAuth host as the domain, in both maps.
      const domain = new URL(world.oauthOrigin).host;
      const data = {
        access_token: accessToken,
        refresh_token: refreshToken,
        expires: String(Math.floor(expiresAt / 1000)),
        expires_in: String(world.accessTokenSeconds),
        scope: scopeText(portal),
        domain,
        client_endpoint: endpointOf(portal),
        client_id: portal.clientId,
        member_id: portal.memberId,
        user_id: String(userId),
        status: portal.status,
        LANGUAGE_ID: "de",
      };
      return eventBody(world, portal, "ONAPPUSERREADY", data, { userId: installer, domain });
    },
    event: (name, data, options = {}) => {
      checkOptions("cannot create an event", options, EVENT_RULES);
      return event(name, data, options);
    },
  };
}

function installData({ version, isFinished }: PortalState): Record<string, string> {
  return { VERSION: String(version), ACTIVE: "Y", INSTALLED: isFinished ? "Y" : "N", LANGUAGE_ID: "ru" };
}

function paymentData({ clientId, version, status, isPaid }: PortalState): Record<string, string> {
  return {
    CODE: clientId,
    VERSION: String(version ?? ""),
    STATUS: status,
    PAYMENT_EXPIRED: isPaid ? "N" : "Y",
    DAYS: isPaid ? "28" : "0",
  };
}
