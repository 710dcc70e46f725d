/** `onappupdate skip`: marks an upgrade as done without running it. */
import { actOnPortals, PORTAL_ARGUMENT, type PortalActOptions, portalActOptions } from "./act_on_portals.ts";
import { defineCommand } from "./command.ts";
import { usageError } from "./exit.ts";
import { SKIP_FILTER_OPTIONS } from "./portal_filter.ts";

/** Skips an upgrade on a portal, or on all that match. */
export const skip = defineCommand<PortalActOptions>({
  usage: "skip",
  summary: "mark a due upgrade as done without running it",
  description: "ONAPPINSTALL as the upgrade marks the handlers of the installation as done; upgrades wait for them.",
  group: "Act:",
  arguments: [PORTAL_ARGUMENT],
  options: [
    { flags: "--upgrade <id>", description: "the upgrade to skip" },
    ...portalActOptions(SKIP_FILTER_OPTIONS),
  ],
  examples: [
    "onappupdate skip acme.bitrix24.de --upgrade 3 \\\n" +
    '--app ./app.ts --reason "done by hand"',
  ],
  run: (invocation) => {
    const { upgrade, ...filter } = invocation.options;
    if (upgrade === undefined) throw usageError("wanted --upgrade ID: onappupdate upgrades lists them");
    return actOnPortals(invocation, {
      ...{ action: "skip", path: "/skip", verb: `skip upgrade ${upgrade} of`, upgradeId: upgrade, filter },
    });
  },
});
