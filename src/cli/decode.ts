/** `onappupdate decode`: the event in a captured body. */
import { parseEvent } from "../bitrix24/parse.ts";
import type { B24Event } from "../bitrix24/events.ts";
import { parseVersion } from "../version.ts";
import { defineCommand } from "./command.ts";
import { readInput } from "./input.ts";
import { safe, toJson } from "./text.ts";

/** Prints the event in a captured body, without its tokens. */
export const decode = defineCommand<object>({
  usage: "decode",
  summary: "print the event in a captured request body",
  description: "Reads the body of a request of Bitrix24, a form or JSON, and prints its event as " +
    "handlers receive it. Tokens are not printed. Exits with 1 if it is no event.",
  group: "Try an app:",
  arguments: [{ usage: "[file]", description: "the body; standard input if left out or -" }],
  examples: ["onappupdate decode body.form", "pbpaste | onappupdate decode"],
  run: async ({ args: [file = "-"], terminal, show }) => {
    const body = (await readInput(terminal, file)).trim();
    const event = parseEvent(body, body.startsWith("{") ? "json" : "form");
    show(event, () => [toJson(event), ...meaningOf(event)].join("\n"));
  },
});

/** Returns what the version of an event counts as. */
function meaningOf(event: B24Event): string[] {
  if (event.name !== "ONAPPUPDATE" && event.name !== "ONAPPINSTALL") return [];
  const { version } = event.data;
  try {
    return [`VERSION ${version} is ${parseVersion(version)}`];
  } catch {
    return [`VERSION ${safe(version)} is no version, unless the option versions of the app says which one`];
  }
}
