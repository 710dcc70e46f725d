/** `onappupdate status`: where the rollout is. */
import { PORTAL_STATES } from "../app/admin/portals.ts";
import type { PortalState } from "../portal/portal.ts";
import { defineCommand, type Invocation, wholeNumber } from "./command.ts";
import { CONNECT_OPTIONS, type ConnectOptions, withClient } from "./connect.ts";
import { EXIT, type ExitCode, ExitError } from "./exit.ts";
import type { OperatorClient } from "./operator_client.ts";
import { rateOf, type Sample } from "./rate.ts";
import { readStatus, type Status } from "./read_status.ts";
import { statusText } from "./status_text.ts";
import { toJson } from "./text.ts";

interface StatusOptions extends ConnectOptions {
  readonly watch?: true;
  readonly every?: number;
  readonly failOn?: readonly PortalState[];
}

const DEFAULT_EVERY_S = 2;

/** Shows portals by version and state, and what stops them. */
export const status = defineCommand<StatusOptions>({
  usage: "status",
  summary: "show portals by version and state, and what stops any",
  group: "See:",
  options: [
    { flags: "--watch", description: "show it again and again, with the rate, until Ctrl+C" },
    { flags: "--every <s>", description: `seconds between (default: ${DEFAULT_EVERY_S})`, parse: wholeNumber(1, 3600) },
    {
      flags: "--fail-on <state>",
      description: "exit with 1 if a portal is in this state; repeatable",
      choices: PORTAL_STATES,
      isRepeatable: true,
    },
    ...CONNECT_OPTIONS,
  ],
  examples: [
    "onappupdate status --app ./app.ts",
    "onappupdate status --url https://ops.example --watch --fail-on parked",
  ],
  run: (invocation) =>
    withClient(
      invocation,
      (client) => invocation.options.watch === true ? watch(invocation, client) : once(invocation, client),
    ),
});

async function once(
  { options, terminal, show, note }: Invocation<StatusOptions>,
  client: OperatorClient,
): Promise<ExitCode> {
  const found = await readStatus(client, terminal.now());
  show(found, () => statusText(found, terminal.stdout));
  return verdict(found, options, note);
}

function verdict({ totals }: Status, { failOn = [] }: StatusOptions, note: (line: string) => void): ExitCode {
  const failing = failOn.filter((state) => totals[state] > 0);
  if (failing.length === 0) return EXIT.done;
  note(`failed: ${failing.map((state) => `${totals[state]} ${state}`).join(", ")}`);
  return EXIT.bad;
}

async function watch(invocation: Invocation<StatusOptions>, client: OperatorClient): Promise<ExitCode> {
  const { options: { every = DEFAULT_EVERY_S, json, ...options }, terminal, note } = invocation;
  const { stdout } = terminal;
  const interrupted = terminal.interrupted();
  let samples: readonly Sample[] = [];
  while (!interrupted.aborted) {
    try {
      const found = await unlessInterrupted(readStatus(client, terminal.now()), interrupted);
      if (found === undefined) break;
      const { samples: kept, rate } = rateOf(samples, found);
      const shown: Status = rate === undefined ? found : { ...found, rate };
      if (json === true) stdout.write(`${toJson(shown, { onOneLine: true })}\n`);
      else stdout.write(stdout.isTerminal ? redrawn(statusText(shown, stdout)) : `${statusText(shown, stdout)}\n\n`);
      samples = kept;
      const code = verdict(found, options, note);
      if (code !== EXIT.done) return code;
    } catch (error) {
      // Once it has answered, an outage is worth waiting for.
      if (!(error instanceof ExitError) || error.exitCode !== EXIT.unreachable || samples.length === 0) throw error;
      note(error.message);
    }
    await terminal.wait(every * 1000, interrupted);
  }
  return EXIT.done;
}

/** Resolves as `answer` does; to nothing once the signal is aborted, also if the app never answers. */
async function unlessInterrupted<T>(answer: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  const { promise: interrupted, resolve } = Promise.withResolvers<undefined>();
  const onAbort = (): void => resolve(undefined);
  signal.addEventListener("abort", onAbort);
  try {
    return await Promise.race([answer, interrupted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** Draws over the last screen, line by line, so that it does not flicker. */
function redrawn(text: string): string {
  return `\u001b[H${text.split("\n").map((line) => `${line}\u001b[K\n`).join("")}\u001b[J`;
}
