/** `onappupdate resume`: ends a pause. */
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
      await confirm("Resume all work on portals?");
      await client.post("/resume", { reason });
      invocation.show({ paused: false }, () => `Resumed. ${whenText(client)}`.trim());
    }),
});
