/** `onappupdate rollout`: shows and operates the rollout of a version. */
import type { RolloutState, RolloutStatus, RolloutWait } from "../plugin/rollout.ts";
import { act, ACT_OPTIONS, type ActOptions } from "./act.ts";
import { type ArgumentSpec, type CliCommand, defineCommand, defineGroup, type OptionSpec } from "./command.ts";
import { CONNECT_OPTIONS, type ConnectOptions, withClient } from "./connect.ts";
import { badAnswer, EXIT, type ExitCode } from "./exit.ts";
import type { OperatorClient } from "./operator_client.ts";
import { CHANGE_OPTIONS, type ChangeOptions, changesOf } from "./rollout_changes.ts";
import { rolloutText } from "./rollout_text.ts";

const VERSION_ARGUMENT: ArgumentSpec = {
  usage: "[version]",
  description: "whose rollout; by default, the running one of the highest version",
};

/** Outcomes with which `rollout status` can fail. */
const FAILURES: readonly (RolloutWait["on"] | RolloutState)[] = ["failures", "resume", "promote", "aborted"];

interface StatusOptions extends ConnectOptions {
  readonly failOn?: readonly string[];
}

/** @throws {ExitError} if there is none */
async function readRollout(client: OperatorClient, target: string | undefined): Promise<RolloutStatus> {
  const { rollout } = await client.get<{ readonly rollout?: RolloutStatus }>("/rollout", { target });
  if (rollout !== undefined) return rollout;
  const begins = "one begins when code with the option rollout runs";
  throw badAnswer(
    target === undefined
      ? `there is no rollout that is not aborted: ${begins}; to see an aborted one, name its version`
      : `there is no rollout of ${target}: ${begins}`,
  );
}

const status = defineCommand<StatusOptions>({
  usage: "status",
  summary: "show its stages, counts, pace, failures, and what it waits for",
  group: "See:",
  arguments: [VERSION_ARGUMENT],
  options: [
    {
      flags: "--fail-on <state>",
      description: "exit with 1 if it waits for this, or is aborted; repeatable",
      ...{ choices: FAILURES, isRepeatable: true },
    },
    ...CONNECT_OPTIONS,
  ],
  examples: [
    "onappupdate rollout status --app ./app.ts",
    "onappupdate rollout status 3 --url https://ops.example --fail-on failures",
  ],
  run: (invocation) =>
    withClient(invocation, async (client): Promise<ExitCode> => {
      const { args: [target], options: { failOn = [] }, terminal, show, note } = invocation;
      const rollout = await readRollout(client, target);
      show(rollout, () => rolloutText(rollout, terminal));
      const found = rollout.waitsFor?.on ?? rollout.state;
      if (!failOn.includes(found)) return EXIT.done;
      note(`failed: ${found}`);
      return EXIT.bad;
    }),
});

/** An action on a rollout. */
interface ActionSpec<Options extends ActOptions> {
  readonly name: "set" | "pause" | "resume" | "promote" | "abort";
  readonly summary: string;
  readonly description: string;
  readonly options?: readonly OptionSpec[];
  readonly example: string;
  /** For people, once it is done. */
  readonly done: string;
  /** Returns the body of the request. @throws {ExitError} if the options are invalid */
  readonly bodyOf?: (options: Options) => object;
  /** Returns what the body says of the rollout that was shown. */
  readonly seenOf?: (shown: RolloutStatus) => object;
}

function action<Options extends ActOptions>(spec: ActionSpec<Options>): CliCommand {
  const { name, summary, description, options = [], example, done, bodyOf = () => ({}), seenOf = () => ({}) } = spec;
  return defineCommand<Options>({
    ...{ usage: name, summary, description, group: "Act:" },
    arguments: [VERSION_ARGUMENT],
    options: [...options, ...ACT_OPTIONS],
    examples: [`onappupdate rollout ${name} 3 --app ./app.ts \\\n${example}`],
    run: (invocation) => {
      const body = bodyOf(invocation.options);
      return act(invocation, async ({ client, reason, confirm }) => {
        const shown = await readRollout(client, invocation.args[0]);
        const { target, state, counts: { current, upgrading, parked, held } } = shown;
        const counts = `${current} current, ${upgrading} upgrading, ${parked} parked, ${held} held`;
        await confirm(`${name[0]!.toUpperCase()}${name.slice(1)} the rollout of ${target}, ${state}: ${counts}?`);
        // By its version: what was shown is what is acted on.
        const path = `/rollout/${encodeURIComponent(target)}${name === "set" ? "" : `/${name}`}`;
        const answer = await client.post<{ readonly target: string }>(path, { ...body, ...seenOf(shown), reason });
        invocation.show(answer, () => `The rollout of ${target} ${done}`);
      });
    },
  });
}

/** Shows and operates the rollout of a version. */
export const rollout = defineGroup({
  usage: "rollout",
  summary: "show and operate the rollout of a version",
  group: "Act:",
}, [
  status,
  action({
    ...{ name: "pause", summary: "pause a rollout", example: '--reason "prices are wrong"' },
    description: "No upgrade begins and none is retried. What runs goes on to its end.",
    done: "is paused. It goes on with: onappupdate rollout resume",
  }),
  action<ActOptions & { readonly retryParked?: true }>({
    ...{
      name: "resume",
      summary: "end the pause of a rollout",
      example: '--retry-parked --reason "3.0.1 is deployed"',
    },
    description: "Ends a pause of an operator or of failures. Failures are counted from zero.",
    options: [{ flags: "--retry-parked", description: "also retry the parked portals of the rollout" }],
    done: "goes on.",
    bodyOf: ({ retryParked = false }) => ({ retryParked }),
  }),
  action({
    ...{ name: "promote", summary: "begin the next stage of a rollout", example: '--reason "five portals look good"' },
    description: "Whether or not the portals of the present stage are done.",
    done: "is in its next stage.",
    // Another operator may promote it while this one is asked.
    seenOf: ({ stages }) => {
      const present = stages.findIndex(({ state }) => state === "present");
      return present < 0 ? {} : { stage: present + 1 };
    },
  }),
  action({
    ...{ name: "abort", summary: "end a rollout for good", example: '--reason "prices are wrong"' },
    description:
      "No portal goes on to the version. Portals that have not begun go back to the version they had; those that have " +
      "begun wait: roll them back, or deploy a higher version.",
    done: "is aborted.",
  }),
  action<ActOptions & ChangeOptions>({
    ...{
      name: "set",
      summary: "change the options of a rollout",
      example: '--failed 10 --any-time --reason "ticket 17"',
    },
    description: "Options that are left out stay as they are. The present stage stays the one with its number.",
    options: CHANGE_OPTIONS,
    done: "has the new options.",
    bodyOf: changesOf,
  }),
]);
