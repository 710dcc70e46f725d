/** `onappupdate set-target`: sets the version that portals should be on. */
import { actOnPortals, PORTAL_ARGUMENT, type PortalActOptions, portalActOptions } from "./act_on_portals.ts";
import { defineCommand, versionText } from "./command.ts";
import { usageError } from "./exit.ts";
import { FILTER_OPTIONS } from "./portal_filter.ts";

interface SetTargetOptions extends PortalActOptions {
  readonly to?: string;
}

/** Sets the target of a portal, or of all that match. */
export const setTarget = defineCommand<SetTargetOptions>({
  usage: "set-target",
  summary: "set the version that portals should be on",
  description: "For portals whose target is wrong. It is not fixed: a later event that Bitrix24 confirms raises it.",
  group: "Act:",
  arguments: [PORTAL_ARGUMENT],
  options: [
    { flags: "--to <version>", description: "the version", parse: versionText },
    ...portalActOptions(FILTER_OPTIONS),
  ],
  examples: [
    "onappupdate set-target acme.bitrix24.de --to 3 \\\n" +
    '--app ./app.ts --reason "4 was withdrawn"',
  ],
  run: (invocation) => {
    const { to } = invocation.options;
    if (to === undefined) throw usageError("wanted --to VERSION");
    return actOnPortals(invocation, {
      ...{ action: "setTarget", path: "/set-target", verb: `set the target to ${to} of`, version: to },
    });
  },
});
