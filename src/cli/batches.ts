/** `onappupdate batches`: batch operations. */
import type { Batch } from "../plugin/admin_pages.ts";
import { act, ACT_OPTIONS, type ActOptions } from "./act.ts";
import { defineCommand, type Invocation, limitOption } from "./command.ts";
import { withClient } from "./connect.ts";
import { usageError } from "./exit.ts";
import { describeMatch } from "./portal_filter.ts";
import type { Output } from "./terminal.ts";
import { counted, painter, safe, time } from "./text.ts";

interface BatchesOptions extends ActOptions {
  readonly limit?: number;
}

const DEFAULT_LIMIT = 20;

/** Lists batch operations, or ends one. */
export const batches = defineCommand<BatchesOptions>({
  usage: "batches",
  summary: "list batch operations, or end one",
  description: "Those that are running come first. `stop` ends one after the portals that it is acting on.",
  group: "Act:",
  arguments: [
    { usage: "[action]", description: "list by default", choices: ["list", "stop"] },
    { usage: "[id]", description: "the batch operation to stop" },
  ],
  options: [
    limitOption("that are over", DEFAULT_LIMIT, 1000),
    ...ACT_OPTIONS,
  ],
  examples: [
    "onappupdate batches --app ./app.ts",
    'onappupdate batches stop ID --app ./app.ts --reason "wrong filter"',
  ],
  run: (invocation) => {
    const [action = "list", id] = invocation.args;
    if (action === "list" && id === undefined) return list(invocation);
    if (action === "list" || id === undefined) throw usageError("wanted batches, or batches stop ID");
    return stop(invocation, id);
  },
});

function list(invocation: Invocation<BatchesOptions>): Promise<void> {
  return withClient(invocation, async (client) => {
    const { options: { limit = DEFAULT_LIMIT }, terminal: { stdout }, show, note } = invocation;
    const { items } = await client.get<{ readonly items: readonly Batch[] }>("/batches", { limit });
    show({ items }, () => items.map((batch) => describe(batch, stdout)).join("\n\n"));
    if (items.length === 0) note("No batch operation is recorded.");
  });
}

function describe(batch: Batch, output: Output): string {
  const {
    id,
    state,
    action,
    upgradeId,
    version,
    match,
    rollout,
    matched,
    done,
    refused,
    changed,
    startedAt,
    by,
    reason,
  } = batch;
  const what = [action, upgradeId ?? version].filter((part) => part !== undefined).join(" ");
  const ofRollout = rollout === undefined ? "" : `, in the rollout of ${safe(rollout)}`;
  const paint = painter(output);
  return [
    `${paint(state === "running" ? "cyan" : "dim", state)}  ${safe(what)}: ${safe(describeMatch(match))}${ofRollout}`,
    `  ${counted(matched, "portal")} matched: ${done} done, ${refused} refused, ${changed} changed meanwhile`,
    `  ${time(startedAt)} by ${safe(by)}: ${safe(reason)}`,
    paint("dim", `  ${safe(id)}`),
  ].join("\n");
}

async function stop(invocation: Invocation<BatchesOptions>, id: string): Promise<void> {
  await act(invocation, async ({ client, reason, confirm }) => {
    await confirm(`Stop the batch operation ${id}?`);
    await client.post(`/batches/${encodeURIComponent(id)}/stop`, { reason });
    invocation.show({ id }, () => `Stopped: ${id}.`);
  });
}
