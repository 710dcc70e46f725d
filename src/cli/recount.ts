/** `onappupdate recount`: repairs lists and counts. */
import { act, ACT_OPTIONS, type ActOptions } from "./act.ts";
import { defineCommand } from "./command.ts";

/** Counts all portals anew. */
export const recount = defineCommand<ActOptions>({
  usage: "recount",
  summary: "count all portals anew, and repair lists and counts",
  description: "Ticks do the same, a part at a time: this is for those who cannot wait.",
  group: "Act:",
  options: ACT_OPTIONS,
  examples: ['onappupdate recount --app ./app.ts --reason "after a crash" --yes'],
  run: (invocation) =>
    act(invocation, async ({ client, reason, confirm }) => {
      await confirm("Count all portals anew?");
      await client.post("/recount", { reason });
      invocation.show({ recounted: true }, () => "Counted anew.");
    }),
});
