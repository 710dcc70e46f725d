/** Event handlers. */
import { NonRetriableError } from "../../mod.ts";
import { type Command, type Declared, type Kind, withoutUndefined } from "./kind.ts";
import { type Fields, maps, text } from "./listed.ts";

/** The kind of event handlers. */
export const events: Kind<"events"> = {
  key: "events",
  list: "event.get",
  parse: (listed) =>
    maps(listed).filter((fields) => isOffline(fields) || text(fields.handler) !== "").map((fields) => ({
      id: isOffline(fields)
        ? offlineId(fields.event, fields.connector_id)
        : onlineId(fields.event, fields.handler, fields.auth_type),
      fields,
    })),
  id: ({ event, handler, userId, offline, authConnector }) =>
    offline ? offlineId(event, authConnector) : onlineId(event, handler, userId),
  isSame: ({ event, handler, userId, offline }, registered) => {
    // Older portals do not list the source.
    if (offline) return isOffline(registered) && isUnlisted(registered) && isEvent(event, registered);
    // Bitrix24 binds handlers of users who are not administrators for that user.
    return userId === undefined && !isOffline(registered) &&
      onlineId(event, handler) === onlineId(registered.event, registered.handler);
  },
  add: bind,
  remove: unbind,
};

function onlineId(event: unknown, handler: unknown, userId?: unknown): string {
  const whose = Number(userId ?? 0) === 0 ? "" : ` as user ${userId}`;
  return `${text(event).toUpperCase()} ${text(handler)}${whose}`;
}

/** Bitrix24 ignores handler and user of offline events. */
function offlineId(event: unknown, authConnector: unknown): string {
  const source = text(authConnector) === "" ? "" : ` of source ${authConnector}`;
  return `${text(event).toUpperCase()} offline${source}`;
}

function isOffline({ offline }: Fields): boolean {
  return Number(offline ?? 0) === 1;
}

function isUnlisted(registered: Fields): boolean {
  return registered.connector_id === undefined;
}

function isEvent(event: string, registered: Fields): boolean {
  return event.toUpperCase() === text(registered.event).toUpperCase();
}

function bind({ event, handler, userId, offline, authConnector, params }: Declared<"events">): Command {
  return [
    "event.bind",
    withoutUndefined({
      ...{ event, handler, auth_type: userId },
      ...{ event_type: offline ? "offline" : undefined, auth_connector: authConnector },
      ...params,
    }),
  ];
}

function unbind(registered: Fields): Command {
  const { event, handler, auth_type, connector_id } = registered;
  // Never without both, or Bitrix24 unbinds every handler of the app.
  if (text(event) === "") {
    throw new NonRetriableError("cannot unbind an event handler: Bitrix24 lists one without an event");
  }
  // Nor without the user or the source, or it unbinds those of all others, or none.
  const source = text(connector_id) === "" ? {} : { auth_connector: connector_id };
  const whose = isOffline(registered) ? { event_type: "offline", ...source } : { auth_type: Number(auth_type ?? 0) };
  return ["event.unbind", { event, handler: text(handler), ...whose }];
}
