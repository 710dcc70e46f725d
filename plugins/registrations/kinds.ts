/** All kinds of registrations. */
import { connectors } from "./connectors.ts";
import type { Declaration } from "./declaration.ts";
import { events } from "./events.ts";
import type { Declared, Kind } from "./kind.ts";
import { messageSenders } from "./message_senders.ts";
import { placements } from "./placements.ts";
import { activities, robots } from "./robots.ts";
import { triggers } from "./triggers.ts";
import { userFieldTypes } from "./user_field_types.ts";

/** All kinds. Pass to each only registrations of its own kind, from {@linkcode declaredOf}. */
export const KINDS: readonly Kind[] = [
  events,
  placements,
  robots,
  activities,
  messageSenders,
  userFieldTypes,
  connectors,
  triggers,
] as readonly Kind[];

/** Returns the declared registrations of a kind. */
export function declaredOf({ key }: Kind, declaration: Declaration): readonly Declared[] {
  return declaration[key] ?? [];
}
