/** Erases a portal from what the notifier stores. Pure functions. */
import type { ForgottenPortal } from "../../mod.ts";
import type { NotificationMessage } from "./message.ts";

/** Returns the value without a portal: lists do not name it, and texts say `[forgotten]` instead. */
export function withoutPortal<Value>(value: Value, portal: ForgottenPortal): Value {
  return erased(value, portal) as Value;
}

function erased(value: unknown, portal: ForgottenPortal): unknown {
  if (typeof value === "string") return portal.without(value);
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    return value.filter((item) => item !== portal.memberId && Object(item).memberId !== portal.memberId)
      .map((item) => erased(item, portal));
  }
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, erased(member, portal)]));
}

/** Returns a message of the outbox without a portal; `undefined` for one to the customer of the portal. */
export function messageWithoutPortal<Entry extends { readonly message: NotificationMessage }>(
  entry: Entry,
  portal: ForgottenPortal,
): Entry | undefined {
  return entry.message.kind === "portal_upgraded" ? undefined : withoutPortal(entry, portal);
}
