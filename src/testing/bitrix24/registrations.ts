/** The REST methods with which an app registers itself at a fake portal. */
import { AUTOMATION_METHODS } from "./automation.ts";
import { missing, Refusal } from "./errors.ts";
import {
  added,
  admin,
  anybody,
  changed,
  handler,
  isEmpty,
  type Methods,
  removed,
  required,
  same,
} from "./registering.ts";
import { isMap, phpMap } from "./request.ts";
import { type FakeRegistration, NO_REGISTRATIONS, type PortalState } from "./state.ts";

/** What an update may take away. */
export function dropRegistrations(portal: PortalState, which: "all" | "bizproc"): void {
  portal.registrations = which === "all"
    ? NO_REGISTRATIONS
    : { ...portal.registrations, robots: [], activities: [], senders: [] };
}

const ALREADY = "Handler already binded";
const EVENT = ["EVENT", "HANDLER", "AUTH_TYPE", "EVENT_TYPE"] as const;

/** Events have upper case names, and are online unless something else is said. */
function eventOf(given: FakeRegistration): FakeRegistration {
  const offline = /^offline$/i.test(String(given["EVENT_TYPE"] ?? ""));
  const { EVENT_TYPE: _, ...rest } = given;
  return {
    ...rest,
    ...(isEmpty(given["EVENT"]) ? {} : { EVENT: String(given["EVENT"]).toUpperCase() }),
    ...(offline ? { EVENT_TYPE: "offline" } : {}),
  };
}

const EVENTS: Methods = [
  [
    "event.bind",
    admin(({ portal, given: raw }) => {
      required(raw, "EVENT");
      const given = eventOf(raw);
      if (given["EVENT_TYPE"] === undefined) handler(given);
      if (portal.registrations.events.some((there) => same(there, given, ...EVENT))) {
        throw new Refusal("ERROR_CORE", { description: `Unable to set event handler: ${ALREADY}` });
      }
      return added(portal, "events", given);
    }),
  ],
  [
    "event.unbind",
    admin(({ portal, given: raw }) => {
      const given = eventOf(raw);
      // Whatever is not given fits all, up to every handler of the app; but online handlers are meant, if any are.
      const fields = EVENT.filter((name) => name in given && (name === "AUTH_TYPE" || !isEmpty(given[name])));
      const asked = fields.length === 0 ? [] : [...fields, "EVENT_TYPE"];
      return { count: removed(portal, "events", (there) => same(there, given, ...asked)) };
    }),
  ],
  [
    "event.get",
    anybody(({ portal }) =>
      portal.registrations.events.map((there) => ({
        event: there["EVENT"],
        handler: there["HANDLER"] ?? "",
        auth_type: String(there["AUTH_TYPE"] ?? 0),
        offline: there["EVENT_TYPE"] === undefined ? 0 : 1,
      }))
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
  ["placement.list", anybody(() => [...PLACEMENTS])],
  [
    "placement.bind",
    admin(({ portal, given }) => {
      required(given, "PLACEMENT");
      handler(given);
      if (!/^[A-Z0-9_]+$/.test(String(given["PLACEMENT"]))) {
        throw new Refusal("ERROR_PLACEMENT_NOT_FOUND", { description: "Placement not found" });
      }
      if (portal.registrations.placements.some((there) => same(there, given, "PLACEMENT", "HANDLER", "USER_ID"))) {
        throw new Refusal("ERROR_CORE", { description: `Unable to set placement handler: ${ALREADY}` });
      }
      return added(portal, "placements", given);
    }),
  ],
  [
    "placement.unbind",
    admin(({ portal, given }) => {
      required(given, "PLACEMENT");
      const asked = ["PLACEMENT", "HANDLER", "USER_ID"].filter((name) => !isEmpty(given[name]));
      // It counts what it found, and again what it deleted.
      return { count: 2 * removed(portal, "placements", (there) => same(there, given, ...asked)) };
    }),
  ],
  [
    "placement.get",
    admin(({ portal }) =>
      portal.registrations.placements.map((there) => ({
        placement: there["PLACEMENT"],
        userId: Number(there["USER_ID"] ?? 0),
        handler: there["HANDLER"],
        options: mapped(there["OPTIONS"]),
        title: there["TITLE"] ?? "",
        description: there["DESCRIPTION"] ?? "",
        langAll: mapped(there["LANG_ALL"]),
      }))
    ),
  ],
];

function mapped(value: unknown): unknown {
  return phpMap(isMap(value) ? Object.entries(value) : []);
}

/** Another type of the app has this handler already. */
function checkType(portal: PortalState, given: FakeRegistration, isOther: (there: FakeRegistration) => boolean): void {
  if (portal.registrations.userFieldTypes.some((there) => isOther(there) && same(there, given, "HANDLER"))) {
    throw new Refusal("ERROR_CORE", { description: `Unable to set placement handler: ${ALREADY}` });
  }
}

const USER_FIELD_TYPES: Methods = [
  [
    "userfieldtype.add",
    admin(({ portal, given }) => {
      required(given, "USER_TYPE_ID");
      handler(given);
      checkType(portal, given, () => true);
      if (portal.registrations.userFieldTypes.some((there) => same(there, given, "USER_TYPE_ID"))) {
        throw new Refusal("ERROR_CORE", { description: `Unable to set placement handler: ${ALREADY}` });
      }
      return added(portal, "userFieldTypes", given);
    }),
  ],
  [
    "userfieldtype.update",
    admin(({ portal, given }) => {
      required(given, "USER_TYPE_ID");
      handler(given);
      if (given["TITLE"] === undefined) throw missing("TITLE");
      const isThis = (there: FakeRegistration): boolean => same(there, given, "USER_TYPE_ID");
      checkType(portal, given, (there) => !isThis(there));
      if (!changed(portal, "userFieldTypes", isThis, given)) throw new Refusal("ERROR_NOT_FOUND");
      return true;
    }),
  ],
  [
    "userfieldtype.delete",
    admin(({ portal, given }) => {
      required(given, "USER_TYPE_ID");
      const count = removed(portal, "userFieldTypes", (there) => same(there, given, "USER_TYPE_ID"));
      if (count === 0) throw new Refusal("ERROR_NOT_FOUND");
      return true;
    }),
  ],
  [
    "userfieldtype.list",
    anybody(({ portal }) =>
      portal.registrations.userFieldTypes.map((there) => ({
        DESCRIPTION: there["DESCRIPTION"] ?? "",
        HANDLER: there["HANDLER"],
        TITLE: there["TITLE"] ?? "",
        USER_TYPE_ID: there["USER_TYPE_ID"],
      }))
    ),
  ],
];

const CONNECTORS: Methods = [
  [
    "imconnector.register",
    anybody(({ portal, given }) => {
      required(given, "ID", "NAME", "ICON");
      handler(given, "PLACEMENT_HANDLER");
      removed(portal, "connectors", (there) => same(there, given, "ID"));
      return added(portal, "connectors", given);
    }),
  ],
  [
    "imconnector.unregister",
    anybody(({ portal, given }) => {
      required(given, "ID");
      removed(portal, "connectors", (there) => same(there, given, "ID"));
      return true;
    }),
  ],
  // Bitrix24's own are in the list, too.
  [
    "imconnector.list",
    anybody(({ portal }) => ({
      livechat: "Live chat",
      ...Object.fromEntries(portal.registrations.connectors.map((there) => [String(there["ID"]), there["NAME"]])),
    })),
  ],
];

/** By name, in lower case. */
export const REGISTRATION_METHODS: Methods = [
  ...EVENTS,
  ...PLACEMENT_METHODS,
  ...USER_FIELD_TYPES,
  ...CONNECTORS,
  ...AUTOMATION_METHODS,
];
