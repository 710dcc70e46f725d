/** The events of the portal. */
import type { UpdateEvent } from "@b24/onappupdate";
import { MEMBER_ID } from "../support/app.ts";
import { NOW } from "../support/fake_oauth_host.ts";

/** An event, by name. */
export type EventName = "install" | "update 2" | "removal" | "reinstallation" | "update 3" | "deal";

/** In the order in which Bitrix24 sends them. */
const FIELDS: Readonly<Record<EventName, Readonly<Record<string, string>>>> = {
  "install": { event: "ONAPPINSTALL", "data[VERSION]": "1", "data[ACTIVE]": "Y", "data[INSTALLED]": "Y" },
  "update 2": { event: "ONAPPUPDATE", "data[VERSION]": "2", "data[PREVIOUS_VERSION]": "1" },
  "removal": { event: "ONAPPUNINSTALL", "data[CLEAN]": "0" },
  "reinstallation": { event: "ONAPPINSTALL", "data[VERSION]": "2", "data[ACTIVE]": "Y", "data[INSTALLED]": "Y" },
  "update 3": { event: "ONAPPUPDATE", "data[VERSION]": "3", "data[PREVIOUS_VERSION]": "2" },
  "deal": { event: "ONCRMDEALADD", "data[FIELDS][ID]": "17" },
};

/** The names of all events. */
export const EVENT_NAMES = Object.keys(FIELDS) as readonly EventName[];

/** Returns the version in an event, if it has one. */
export function versionOf(name: EventName): number | undefined {
  const version = FIELDS[name]["data[VERSION]"];
  return version === undefined ? undefined : Number(version);
}

/** Returns the name of an update. A missed update, which has no event, has one of its own. */
export function nameOf({ data: { version }, ts }: Pick<UpdateEvent, "data" | "ts">): string {
  const name = EVENT_NAMES.find((name) => tsOf(name) === ts && version.startsWith(String(versionOf(name))));
  return name ?? `missed update ${version}`;
}

/** Returns the name of the event with this id of its delivery; of a missed update, which has no event, the id. */
export function eventOf(deliveryId: string): string {
  const ts = Number(deliveryId.split("~")[0]!.split(":").at(-1));
  return EVENT_NAMES.find((name) => tsOf(name) === ts) ?? deliveryId;
}

function tsOf(name: EventName): number {
  return NOW / 1000 - 100 + EVENT_NAMES.indexOf(name);
}

/** Returns the body of an event. `extra`: further fields. */
export function eventBody(name: EventName, extra: Readonly<Record<string, string>>): string {
  return new URLSearchParams({
    ...{ ts: String(tsOf(name)), "auth[member_id]": MEMBER_ID, "auth[domain]": "example.bitrix24.de" },
    "auth[application_token]": "0123456789abcdef0123456789abcdef",
    ...FIELDS[name],
    ...extra,
  }).toString();
}
