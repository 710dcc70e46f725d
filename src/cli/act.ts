/** The common parts of commands that change something: the operator, the reason, and the question before they act. */
import type { Invocation, OptionSpec } from "./command.ts";
import { CONNECT_OPTIONS, type ConnectOptions, withClient } from "./connect.ts";
import { badAnswer, type ExitCode, usageError } from "./exit.ts";
import type { OperatorClient } from "./operator_client.ts";
import type { Terminal } from "./terminal.ts";

/** The options of all commands that change something. */
export interface ActOptions extends ConnectOptions {
  readonly reason?: string;
  readonly yes?: true;
}

/** The flags of {@linkcode ActOptions}. */
export const ACT_OPTIONS: readonly OptionSpec[] = [
  { flags: "--reason <text>", description: "why, such as a ticket; the audit log shows it" },
  { flags: "--by <name>", description: "who, with --app (default: cli: and your user name)" },
  { flags: "--yes", description: "do not ask; required without a terminal" },
  ...CONNECT_OPTIONS,
];

/** A client with which a command acts. */
export interface Acting {
  readonly client: OperatorClient;
  readonly reason: string;
  /** Asks whether to act. @throws {ExitError} if the person does not want to */
  readonly confirm: (question: string) => Promise<void>;
}

/**
 * Runs `body` once it is known who acts and why. A dry run changes nothing, so it needs no consent.
 *
 * @throws {ExitError} with exit code 2 before anything is done, if nobody can answer questions and they are not answered by
 * options
 */
export async function act<Options extends ActOptions>(
  { options, terminal, note }: Invocation<Options>,
  body: (acting: Acting) => Promise<ExitCode | void>,
  { isDryRun = false }: { readonly isDryRun?: boolean | undefined } = {},
): Promise<ExitCode | void> {
  const { yes = false } = options;
  if (!terminal.isInteractive) {
    const missing = [
      ...(yes || isDryRun ? [] : ["--yes"]),
      ...(options.reason === undefined ? ["--reason TEXT"] : []),
    ];
    if (missing.length > 0) {
      throw usageError(`nothing was done: without a terminal, this command needs ${missing.join(" and ")}`);
    }
  }
  return await withClient({ options, terminal }, async (client) => {
    if (client.isAnonymous) {
      throw usageError(
        "nothing was done: wanted --by NAME, because the user name of the system is not known (on Deno: --allow-sys)",
      );
    }
    const reason = checkedReason(options.reason ?? await askReason(terminal));
    return await body({
      ...{ client, reason },
      confirm: async (question) => {
        if (yes) return;
        note(`${question} (${client.name})`);
        if (/^y(es)?$/i.test((await terminal.ask("Go on? [y/N] ")).trim())) return;
        throw badAnswer("nothing was done");
      },
    });
  });
}

async function askReason({ ask }: Terminal): Promise<string> {
  const reason = await ask("Reason, for the audit log: ");
  if (reason.trim() === "") throw badAnswer("nothing was done: no reason was given");
  return reason;
}

/** As the core refuses others. */
function checkedReason(text: string): string {
  if (/^(?=.*\S)[^\p{Cc}\u2028\u2029]{1,500}$/u.test(text)) return text;
  throw usageError("nothing was done: wanted a reason of 1 to 500 characters without control characters");
}

/** Says when stored work begins, followed by `end`; nothing if it begins at once. */
export function whenText({ isLocal }: OperatorClient, end = ""): string {
  return isLocal ? `The started app goes on with its next tick, by default within 30 seconds.${end}` : "";
}
