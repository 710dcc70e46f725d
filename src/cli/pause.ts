/** `onappupdate pause`: stops all work on portals. */
import { act, ACT_OPTIONS, type ActOptions } from "./act.ts";
import { defineCommand } from "./command.ts";

/** Pauses all work on portals. */
export const pause = defineCommand<ActOptions>({
  usage: "pause",
  summary: "pause all work on portals, in all processes",
  description: "No handler and no upgrade begins until `onappupdate resume`. Events are received and stored meanwhile.",
  group: "Act:",
  options: ACT_OPTIONS,
  examples: ['onappupdate pause --url https://ops.example --reason "wrong prices after 4"'],
  run: (invocation) =>
    act(invocation, async ({ client, reason, confirm }) => {
      await confirm("Pause all work on portals?");
      await client.post("/pause", { reason });
      invocation.show({ paused: true }, () => "Paused. Other processes notice within five seconds.");
    }),
});
