/** `onappupdate outbox`: messages of plugins. */
import type { OutboxMessage } from "../plugin/outbox.ts";
import { act, ACT_OPTIONS, type ActOptions, whenText } from "./act.ts";
import { defineCommand, type Invocation, limitOption } from "./command.ts";
import { withClient } from "./connect.ts";
import { usageError } from "./exit.ts";
import { defined } from "../defined.ts";
import { counted, table, time } from "./text.ts";

interface OutboxOptions extends ActOptions {
  readonly plugin?: string;
  readonly id?: string;
  readonly channel?: string;
  readonly waiting?: true;
  readonly limit?: number;
}

const DEFAULT_LIMIT = 100;

/** Lists the messages of plugins, or retries dead letters. */
export const outbox = defineCommand<OutboxOptions>({
  usage: "outbox",
  summary: "list messages that could not be delivered, or retry them",
  description:
    "Messages of plugins, such as notifications. `retry` delivers dead letters again: one, or all of a plugin " +
    "or of one of its channels.",
  group: "Act:",
  arguments: [{ usage: "[action]", description: "list by default", choices: ["list", "retry"] }],
  options: [
    { flags: "--plugin <name>", description: "only messages of this plugin; required for retry" },
    { flags: "--id <id>", description: "the one message to retry" },
    { flags: "--channel <name>", description: "only the dead letters of this channel to retry" },
    { flags: "--waiting", description: "list those that wait instead of dead letters" },
    limitOption("messages", DEFAULT_LIMIT, 1000),
    ...ACT_OPTIONS,
  ],
  examples: [
    "onappupdate outbox --app ./app.ts",
    "onappupdate outbox retry --plugin notifications \\\n" +
    '--app ./app.ts --reason "SMTP is up"',
  ],
  run: (invocation) => {
    const { args: [action = "list"], options: { plugin, id, channel } } = invocation;
    if (action === "list") {
      if (id !== undefined || channel !== undefined) throw usageError("--id and --channel are for retry");
      return list(invocation);
    }
    if (plugin === undefined) throw usageError("wanted --plugin NAME: whose dead letters are to be retried");
    return retry(invocation, plugin);
  },
});

function list(invocation: Invocation<OutboxOptions>): Promise<void> {
  return withClient(invocation, async (client) => {
    const { options: { plugin, waiting, limit = DEFAULT_LIMIT }, terminal: { stdout }, show, note } = invocation;
    const state = waiting === true ? "waiting" : "dead";
    const found = await client.get<{ readonly items: readonly OutboxMessage[]; readonly next?: object }>("/outbox", {
      ...{ state, plugin, limit },
    });
    const rows = found.items.map(({ plugin, channel = "", id, putAt, attempts, nextTryAt, deadAt, error = "" }) => [
      ...[plugin, channel, id, time(putAt), `${attempts}`, time(nextTryAt ?? deadAt ?? putAt), error],
    ]);
    const heads = ["PLUGIN", "CHANNEL", "ID", "PUT", ">ATTEMPTS", waiting === true ? "NEXT" : "FAILED", "ERROR"];
    show(found, () => rows.length === 0 ? "" : table(heads, rows, stdout));
    if (rows.length === 0) note(waiting === true ? "No message waits." : "There are no dead letters.");
    if (found.next !== undefined) note(`There are more: raise --limit ${limit}.`);
  });
}

async function retry(invocation: Invocation<OutboxOptions>, plugin: string): Promise<void> {
  const { options: { id, channel }, show } = invocation;
  await act(invocation, async ({ client, reason, confirm }) => {
    const letters = id === undefined ? "all dead letters" : `the dead letter ${id}`;
    const of = channel === undefined ? plugin : `${plugin}, channel ${channel},`;
    await confirm(`Deliver ${letters} of ${of} again?`);
    const { count } = await client.post<{ readonly count: number }>("/outbox/retry", {
      plugin,
      reason,
      ...defined({ id, channel }),
    });
    show(
      { count },
      () =>
        count === 0
          ? "No dead letters match: nothing was done. onappupdate outbox lists them."
          : `${counted(count, "message")} to be delivered again. ${whenText(client)}`.trim(),
    );
  });
}
