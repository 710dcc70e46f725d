/** `onappupdate retry`: tries portals again. */
import type { Portal } from "../portal/portal.ts";
import { actOnPortals, PORTAL_ARGUMENT, type PortalActOptions, portalActOptions } from "./act_on_portals.ts";
import { defineCommand } from "./command.ts";
import { FILTER_OPTIONS } from "./portal_filter.ts";

/** Retries a portal, or all that match. */
export const retry = defineCommand<PortalActOptions>({
  usage: "retry",
  summary: "retry portals that are parked, blocked or waiting",
  description: "Attempts are counted from zero. Many portals become a batch operation, which is stored.",
  group: "Act:",
  arguments: [PORTAL_ARGUMENT],
  options: portalActOptions(FILTER_OPTIONS),
  examples: [
    'onappupdate retry acme.bitrix24.de --app ./app.ts --reason "ticket 17"',
    "onappupdate retry --status parked --upgrade 3 --expect 40 --yes \\\n" +
    '--reason "fixed in 3.0.1" --url https://ops.example',
  ],
  run: (invocation) => actOnPortals(invocation, { action: "retry", path: "/retry", verb: "retry", remarkOf }),
});

/** No upgrade of such a portal is due, but events of it may have failed. */
function remarkOf({ state, version = "an unknown version" }: Portal): string {
  const only = "no upgrade is due, and only events that failed are tried again.";
  if (state === "uninstalled") return `The app is removed from it: ${only}`;
  return state === "current" ? `It is current on ${version}: ${only}` : "";
}
