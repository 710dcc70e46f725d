/** The REST methods of fake portals that register something. */
import { defined } from "../../defined.ts";
import { AUTOMATION_METHODS } from "./automation.ts";
import { missing, Refusal } from "./errors.ts";
import {
  addRegistration,
  adminMethod,
  haveSame,
  isEmpty,
  type Methods,
  removeRegistrations,
  requireFields,
  requireHandler,
  updateRegistrations,
  userMethod,
} from "./registering.ts";
import { isMap, phpMap } from "./request.ts";
import { type FakeRegistration, NO_REGISTRATIONS, type PortalState } from "./state.ts";

/** Drops registrations as an update can. */
export function dropRegistrations(portal: PortalState, which: "all" | "bizproc"): void {
  portal.registrations = which === "all"
    ? NO_REGISTRATIONS
    : { ...portal.registrations, robots: [], activities: [], senders: [] };
}

/** Bitrix24's words. */
const ALREADY = "Handler already binded";
/** The fields that identify an event handler. */
const EVENT_KEYS = ["EVENT", "HANDLER", "AUTH_TYPE", "EVENT_TYPE", "AUTH_CONNECTOR"] as const;

/**
 * Returns the event with its name in upper case, and without EVENT_TYPE unless it is offline: then without handler and user. Its
 * AUTH_CONNECTOR is that of the request.
 */
function normalizeEvent(given: FakeRegistration, connector: unknown): FakeRegistration {
  const offline = /^offline$/i.test(String(given["EVENT_TYPE"] ?? ""));
  const { EVENT_TYPE: _, AUTH_CONNECTOR: __, HANDLER, AUTH_TYPE, ...rest } = given;
  return {
    ...rest,
    ...(isEmpty(given["EVENT"]) ? {} : { EVENT: String(given["EVENT"]).toUpperCase() }),
    ...(isEmpty(connector) ? {} : { AUTH_CONNECTOR: String(connector) }),
    ...(offline ? { EVENT_TYPE: "offline" } : defined({ HANDLER, AUTH_TYPE })),
  };
}

const EVENTS: Methods = [
  [
    "event.bind",
    adminMethod(({ portal, given: raw, connector }) => {
      requireFields(raw, "EVENT");
      const given = normalizeEvent(raw, connector);
      if (given["EVENT_TYPE"] === undefined) requireHandler(given);
      if (portal.registrations.events.some((registered) => haveSame(registered, given, ...EVENT_KEYS))) {
        throw new Refusal("ERROR_CORE", { description: `Unable to set event handler: ${ALREADY}` });
      }
      return addRegistration(portal, "events", given);
    }),
  ],
  [
    "event.unbind",
    adminMethod(({ portal, given: raw, connector }) => {
      const given = normalizeEvent(raw, connector);
      // Only given fields are compared, so few fields unbind many handlers. EVENT_TYPE is always compared, and so is the
      // source of an offline event.
      const isOffline = given["EVENT_TYPE"] !== undefined;
      const fields = ["EVENT", "HANDLER", "AUTH_TYPE"]
        .filter((name) => name in given && (name === "AUTH_TYPE" || !isEmpty(given[name])));
      const asked = fields.length === 0 && !isOffline
        ? []
        : [...fields, "EVENT_TYPE", ...(isOffline ? ["AUTH_CONNECTOR"] : [])];
      return { count: removeRegistrations(portal, "events", (registered) => haveSame(registered, given, ...asked)) };
    }),
  ],
  [
    "event.get",
    userMethod(({ portal }) =>
      portal.registrations.events.map((registered) =>
        registered["EVENT_TYPE"] === undefined
          ? {
            event: registered["EVENT"],
            handler: registered["HANDLER"] ?? "",
            auth_type: String(registered["AUTH_TYPE"] ?? 0),
            offline: 0,
          }
          : { event: registered["EVENT"], connector_id: registered["AUTH_CONNECTOR"] ?? "", offline: 1 }
      )
    ),
  ],
];

const PLACEMENTS: readonly string[] = [
  "CONTACT_CENTER",
  "CRM_COMPANY_DETAIL_TAB",
  "CRM_CONTACT_DETAIL_TAB",
  "CRM_DEAL_DETAIL_TAB",
  "CRM_DEAL_LIST_MENU",
  "CRM_DEAL_LIST_TOOLBAR",
  "CRM_LEAD_DETAIL_TAB",
  "IM_CONTEXT_MENU",
  "IM_NAVIGATION",
  "LEFT_MENU",
  "PAGE_BACKGROUND_WORKER",
  "TASK_VIEW_TAB",
  "USERFIELD_TYPE",
];

const PLACEMENT_METHODS: Methods = [
  ["placement.list", userMethod(() => [...PLACEMENTS])],
  [
    "placement.bind",
    adminMethod(({ portal, given }) => {
      requireFields(given, "PLACEMENT");
      requireHandler(given);
      if (!/^[A-Z0-9_]+$/.test(String(given["PLACEMENT"]))) {
        throw new Refusal("ERROR_PLACEMENT_NOT_FOUND", { description: "Placement not found" });
      }
      if (
        portal.registrations.placements.some((registered) =>
          haveSame(registered, given, "PLACEMENT", "HANDLER", "USER_ID")
        )
      ) {
        throw new Refusal("ERROR_CORE", { description: `Unable to set placement handler: ${ALREADY}` });
      }
      return addRegistration(portal, "placements", given);
    }),
  ],
  [
    "placement.unbind",
    adminMethod(({ portal, given }) => {
      requireFields(given, "PLACEMENT");
      const asked = ["PLACEMENT", "HANDLER", "USER_ID"].filter((name) => !isEmpty(given[name]));
      // Bitrix24 counts the found and the deleted ones.
      return {
        count: 2 * removeRegistrations(portal, "placements", (registered) => haveSame(registered, given, ...asked)),
      };
    }),
  ],
  [
    "placement.get",
    adminMethod(({ portal }) =>
      portal.registrations.placements.map((registered) => ({
        placement: registered["PLACEMENT"],
        userId: Number(registered["USER_ID"] ?? 0),
        handler: registered["HANDLER"],
        options: mapped(registered["OPTIONS"]),
        title: registered["TITLE"] ?? "",
        description: registered["DESCRIPTION"] ?? "",
        langAll: mapped(registered["LANG_ALL"]),
      }))
    ),
  ],
];

function mapped(value: unknown): unknown {
  return phpMap(isMap(value) ? Object.entries(value) : []);
}

/** @throws {Refusal} if another type of the app has the same handler */
function requireFreeHandler(
  portal: PortalState,
  given: FakeRegistration,
  isOther: (registered: FakeRegistration) => boolean,
): void {
  if (
    portal.registrations.userFieldTypes.some((registered) =>
      isOther(registered) && haveSame(registered, given, "HANDLER")
    )
  ) {
    throw new Refusal("ERROR_CORE", { description: `Unable to set placement handler: ${ALREADY}` });
  }
}

const USER_FIELD_TYPES: Methods = [
  [
    "userfieldtype.add",
    adminMethod(({ portal, given }) => {
      requireFields(given, "USER_TYPE_ID");
      requireHandler(given);
      requireFreeHandler(portal, given, () => true);
      if (portal.registrations.userFieldTypes.some((registered) => haveSame(registered, given, "USER_TYPE_ID"))) {
        throw new Refusal("ERROR_CORE", { description: `Unable to set placement handler: ${ALREADY}` });
      }
      return addRegistration(portal, "userFieldTypes", given);
    }),
  ],
  [
    "userfieldtype.update",
    adminMethod(({ portal, given }) => {
      requireFields(given, "USER_TYPE_ID");
      requireHandler(given);
      if (given["TITLE"] === undefined) throw missing("TITLE");
      const isThis = (registered: FakeRegistration): boolean => haveSame(registered, given, "USER_TYPE_ID");
      requireFreeHandler(portal, given, (registered) => !isThis(registered));
      if (!updateRegistrations(portal, "userFieldTypes", isThis, given)) throw new Refusal("ERROR_NOT_FOUND");
      return true;
    }),
  ],
  [
    "userfieldtype.delete",
    adminMethod(({ portal, given }) => {
      requireFields(given, "USER_TYPE_ID");
      const count = removeRegistrations(
        portal,
        "userFieldTypes",
        (registered) => haveSame(registered, given, "USER_TYPE_ID"),
      );
      if (count === 0) throw new Refusal("ERROR_NOT_FOUND");
      return true;
    }),
  ],
  [
    "userfieldtype.list",
    userMethod(({ portal }) =>
      portal.registrations.userFieldTypes.map((registered) => ({
        DESCRIPTION: registered["DESCRIPTION"] ?? "",
        HANDLER: registered["HANDLER"],
        TITLE: registered["TITLE"] ?? "",
        USER_TYPE_ID: registered["USER_TYPE_ID"],
      }))
    ),
  ],
];

const CONNECTORS: Methods = [
  [
    "imconnector.register",
    userMethod(({ portal, given }) => {
      requireFields(given, "ID", "NAME", "ICON");
      requireHandler(given, "PLACEMENT_HANDLER");
      removeRegistrations(portal, "connectors", (registered) => haveSame(registered, given, "ID"));
      return addRegistration(portal, "connectors", given);
    }),
  ],
  [
    "imconnector.unregister",
    userMethod(({ portal, given }) => {
      requireFields(given, "ID");
      removeRegistrations(portal, "connectors", (registered) => haveSame(registered, given, "ID"));
      return true;
    }),
  ],
  // The list also contains connectors of Bitrix24.
  [
    "imconnector.list",
    userMethod(({ portal }) => ({
      livechat: "Live chat",
      ...Object.fromEntries(
        portal.registrations.connectors.map((registered) => [String(registered["ID"]), registered["NAME"]]),
      ),
    })),
  ],
];

/** Methods by name, in lower case. */
export const REGISTRATION_METHODS: Methods = [
  ...EVENTS,
  ...PLACEMENT_METHODS,
  ...USER_FIELD_TYPES,
  ...CONNECTORS,
  ...AUTOMATION_METHODS,
];
