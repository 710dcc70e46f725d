/** `onappupdate resume`: ends a pause. */
import type { Pause } from "../plugin/admin_reports.ts";
import { act, ACT_OPTIONS, type ActOptions, whenText } from "./act.ts";
import { defineCommand } from "./command.ts";

/** Ends the pause of all work. */
export const resume = defineCommand<ActOptions>({
  usage: "resume",
  summary: "end the pause",
  group: "Act:",
  options: ACT_OPTIONS,
  examples: ['onappupdate resume --url https://ops.example --reason "4.0.1 is deployed"'],
  run: (invocation) =>
    act(invocation, async ({ client, reason, confirm }) => {
      const { pause } = await client.get<{ readonly pause?: Pause }>("/pause");
      await confirm("Resume all work on portals?");
      await client.post("/resume", { reason });
      invocation.show({ paused: false }, () =>
        pause === undefined
          ? "There was no pause. A paused rollout goes on with: onappupdate rollout resume"
          : `Resumed. ${whenText(client)}`.trim());
    }),
});
