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
      id: isOffline(fields) ? offlineId(fields.event) : onlineId(fields.event, fields.handler, fields.auth_type),
      fields,
    })),
  id: ({ event, handler, userId, offline }) => offline ? offlineId(event) : onlineId(event, handler, userId),
  // Bitrix24 binds handlers of users who are not administrators for that user.
  isSame: ({ event, handler, userId, offline }, registered) =>
    userId === undefined && !offline && !isOffline(registered) &&
    onlineId(event, handler) === onlineId(registered.event, registered.handler),
  add: bind,
  remove: unbind,
};

function onlineId(event: unknown, handler: unknown, userId?: unknown): string {
  const whose = Number(userId ?? 0) === 0 ? "" : ` as user ${userId}`;
  return `${text(event).toUpperCase()} ${text(handler)}${whose}`;
}

/** Bitrix24 ignores handler and user of offline events. */
function offlineId(event: unknown): string {
  return `${text(event).toUpperCase()} offline`;
}

function isOffline({ offline }: Fields): boolean {
  return Number(offline ?? 0) === 1;
}

function bind({ event, handler, userId, offline, params }: Declared<"events">): Command {
  const type = offline ? "offline" : undefined;
  return ["event.bind", withoutUndefined({ event, handler, auth_type: userId, event_type: type, ...params })];
}

function unbind(registered: Fields): Command {
  const { event, handler, auth_type } = registered;
  // Never without both, or Bitrix24 unbinds every handler of the app.
  if (text(event) === "") {
    throw new NonRetriableError("cannot unbind an event handler: Bitrix24 lists one without an event");
  }
  // Nor without the user, or it unbinds those of all others.
  const whose = isOffline(registered) ? { event_type: "offline" } : { auth_type: Number(auth_type ?? 0) };
  return ["event.unbind", { event, handler: text(handler), ...whose }];
}
