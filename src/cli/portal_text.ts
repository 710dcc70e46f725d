/** Portals in tables. */
import type { Portal } from "../portal/portal.ts";
import type { PortalCount } from "../portal/totals.ts";
import type { Cell, Style } from "./text.ts";
import { duration, time } from "./text.ts";

const STYLES: Readonly<Record<PortalCount["status"], Style>> = {
  ...{ current: "green", upgrading: "cyan", blocked: "yellow", parked: "red", uninstalled: "dim", held: "dim" },
};

/** Returns the color of a state. */
export function styleOf(state: PortalCount["status"]): Style {
  return STYLES[state];
}

/** Returns the cell of a state. */
export function stateCell(state: PortalCount["status"]): Cell {
  return { text: state, style: STYLES[state] };
}

/** Returns the domain of a portal. That of one whose data is erased is not known. */
export function domainOf({ domain }: Pick<Portal, "domain">): string {
  return domain === "" ? "(erased)" : domain;
}

/** Returns where something failed: `upgrade 3, step "move"`. */
export function placeOf({ upgradeId, step }: { readonly upgradeId?: string; readonly step?: string }): string {
  const upgrade = upgradeId === undefined ? "before an upgrade" : `upgrade ${upgradeId}`;
  return step === undefined ? upgrade : `${upgrade}, step ${JSON.stringify(step)}`;
}

/** Returns why a portal is where it is, and when it goes on; empty if there is nothing to say. */
export function reasonOf({ state, failure, blocked, run }: Portal, now: number): string {
  if (state === "blocked" && blocked !== undefined) {
    return `${blocked.on}: ${blocked.message}${whenOf(blocked.nextTryAt, now)}`;
  }
  if (failure !== undefined) return `${placeOf(failure)}: ${failure.message}${whenOf(failure.retryAt, now)}`;
  if (run === undefined) return "";
  const { current, progress, wakeAt } = run;
  const done = progress === undefined
    ? ""
    : `, ${progress.done}${progress.total === undefined ? "" : ` of ${progress.total}`}`;
  const place = current === undefined ? "begins" : `upgrade ${current.upgradeId}${done}`;
  return wakeAt === undefined ? place : `${place}, sleeps until ${time(wakeAt)}`;
}

function whenOf(at: number | undefined, now: number): string {
  if (at === undefined) return "";
  return at > now ? ` (again in ${duration(at - now)})` : " (again at the next tick)";
}
