/** `onappupdate set-initial-version`: sets the version that the data of portals is on. */
import { actOnPortals, PORTAL_ARGUMENT, type PortalActOptions, portalActOptions } from "./act_on_portals.ts";
import { defineCommand, versionText } from "./command.ts";
import { usageError } from "./exit.ts";
import { FILTER_OPTIONS } from "./portal_filter.ts";

interface SetInitialVersionOptions extends PortalActOptions {
  readonly to?: string;
}

/** Sets the version of the data of a portal, or of all that match. */
export const setInitialVersion = defineCommand<SetInitialVersionOptions>({
  usage: "set-initial-version",
  summary: "set the version that the data of portals is on",
  description:
    "For portals that are blocked on `version`: they had the app before this library, and no event named it.",
  group: "Act:",
  arguments: [PORTAL_ARGUMENT],
  options: [
    { flags: "--to <version>", description: "the version", parse: versionText },
    ...portalActOptions(FILTER_OPTIONS),
  ],
  examples: [
    "onappupdate set-initial-version --to 1.4.0 --expect 12 \\\n" +
    '--blocked-on version --app ./app.ts --reason "as in the old database"',
  ],
  run: (invocation) => {
    const { to } = invocation.options;
    if (to === undefined) throw usageError("wanted --to VERSION");
    return actOnPortals(invocation, {
      ...{ action: "setInitialVersion", path: "/set-initial-version", version: to },
      verb: `set the initial version to ${to} of`,
    });
  },
});
