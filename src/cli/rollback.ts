/** `onappupdate rollback`: rolls portals back. */
import { actOnPortals, PORTAL_ARGUMENT, type PortalActOptions, portalActOptions } from "./act_on_portals.ts";
import { defineCommand } from "./command.ts";
import { FILTER_OPTIONS } from "./portal_filter.ts";

/** Rolls a portal back, or all that match. */
export const rollback = defineCommand<PortalActOptions>({
  usage: "rollback",
  summary: "undo the last run of portals",
  description:
    "Calls the `undo` functions of the finished steps of the current or last run, the last step first. The portal " +
    "is then parked on the version from which that run started. With --app, the handlers of one portal run in this process.",
  group: "Act:",
  arguments: [PORTAL_ARGUMENT],
  options: portalActOptions(FILTER_OPTIONS),
  examples: ['onappupdate rollback acme.bitrix24.de --app ./app.ts --reason "ticket 17"'],
  run: (invocation) =>
    actOnPortals(invocation, {
      ...{ action: "rollback", path: "/rollback", verb: "roll back", endsAtOnce: true },
      remarkOf: () => "It is parked: onappupdate retry begins its upgrades anew.",
    }),
});
