/** Event handlers. */
import { NonRetriableError } from "../../mod.ts";
import { type Command, type Declared, given, type Kind } from "./kind.ts";
import { type Fields, rows, text } from "./listed.ts";

/** Their kind. */
export const events: Kind<"events"> = {
  key: "events",
  list: "event.get",
  there: (listed) =>
    rows(listed).filter((fields) => isOffline(fields) || text(fields.handler) !== "").map((fields) => ({
      id: isOffline(fields) ? offlineId(fields.event) : onlineId(fields.event, fields.handler, fields.auth_type),
      fields,
    })),
  id: ({ event, handler, userId, offline }) => offline ? offlineId(event) : onlineId(event, handler, userId),
  // Who is no administrator binds for himself, whatever he asks for.
  isAlso: ({ event, handler, userId, offline }, there) =>
    userId === undefined && !offline && !isOffline(there) &&
    onlineId(event, handler) === onlineId(there.event, there.handler),
  add: bind,
  remove: unbind,
};

function onlineId(event: unknown, handler: unknown, userId?: unknown): string {
  const whose = Number(userId ?? 0) === 0 ? "" : ` as user ${userId}`;
  return `${text(event).toUpperCase()} ${text(handler)}${whose}`;
}

/** Bitrix24 takes no notice of handler and user then. */
function offlineId(event: unknown): string {
  return `${text(event).toUpperCase()} offline`;
}

function isOffline({ offline }: Fields): boolean {
  return Number(offline ?? 0) === 1;
}

function bind({ event, handler, userId, offline, params }: Declared<"events">): Command {
  const type = offline ? "offline" : undefined;
  return ["event.bind", given({ event, handler, auth_type: userId, event_type: type, ...params })];
}

function unbind(there: Fields): Command {
  const { event, handler, auth_type } = there;
  // Never without both: Bitrix24 would unbind every handler of the app.
  if (text(event) === "") {
    throw new NonRetriableError("cannot unbind an event handler: Bitrix24 lists one without an event");
  }
  // Nor without the user: it would unbind those of all others.
  const whose = isOffline(there) ? { event_type: "offline" } : { auth_type: Number(auth_type ?? 0) };
  return ["event.unbind", { event, handler: text(handler), ...whose }];
}
