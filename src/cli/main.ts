/** The command line, independent of the process. */
import { Command, CommanderError } from "commander";
import type { CliCommand } from "./command.ts";
import { adopt } from "./adopt.ts";
import { audit } from "./audit.ts";
import { batches } from "./batches.ts";
import { check } from "./check.ts";
import { copy } from "./copy.ts";
import { decode } from "./decode.ts";
import { dev } from "./dev.ts";
import { doctor } from "./doctor.ts";
import { forget } from "./forget.ts";
import { newProject } from "./new.ts";
import { outbox } from "./outbox.ts";
import { password } from "./password.ts";
import { pause } from "./pause.ts";
import { plan } from "./plan.ts";
import { portal } from "./portal.ts";
import { portals } from "./portals.ts";
import { recount } from "./recount.ts";
import { resume } from "./resume.ts";
import { retry } from "./retry.ts";
import { rollback } from "./rollback.ts";
import { rollout } from "./rollout.ts";
import { setInitialVersion } from "./set_initial_version.ts";
import { setTarget } from "./set_target.ts";
import { simulate } from "./simulate.ts";
import { silences } from "./silences.ts";
import { skip } from "./skip.ts";
import { status } from "./status.ts";
import { token } from "./token.ts";
import { upgrades } from "./upgrades.ts";
import { EXIT, type ExitCode } from "./exit.ts";
import { rehearse } from "./rehearse.ts";
import { reportError } from "./report_error.ts";
import { PACKAGE_VERSION } from "./templates/versions.ts";
import type { Terminal } from "./terminal.ts";

/** The commands, in the order of the help. */
const COMMANDS: readonly CliCommand[] = [
  ...[newProject, dev, simulate, decode],
  ...[status, portals, portal, plan, check, upgrades, audit, doctor],
  ...[
    retry,
    rollback,
    skip,
    setTarget,
    setInitialVersion,
    batches,
    rollout,
    pause,
    resume,
    forget,
    outbox,
    silences,
    recount,
    adopt,
  ],
  ...[copy, token, password],
  rehearse,
];

/** Runs one command. Resolves to the exit code, and never rejects. */
export async function main(args: readonly string[], terminal: Terminal): Promise<number> {
  let code: ExitCode = EXIT.done;
  const program = createProgram(terminal, (ended) => void (code = ended));
  try {
    await program.parseAsync(upToUnknown(program, withoutHelp(args)), { from: "user" });
    return code;
  } catch (error) {
    // commander has printed its errors. It exits with 1 for what is a mistake in the command.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    return reportError(error, terminal);
  }
}

/** `help status` is `status --help`. */
function withoutHelp(args: readonly string[]): readonly string[] {
  return args[0] === "help" ? [...args.slice(1), "--help"] : args;
}

/** Returns the arguments until an unknown command: commander would print the help of what is before it for its `--help`. */
function upToUnknown(program: Command, args: readonly string[]): string[] {
  let command = program;
  for (const [i, arg] of args.entries()) {
    if (command.commands.length === 0 || arg.startsWith("-")) break;
    const named = command.commands.find((named) => named.name() === arg);
    if (named === undefined) return args.slice(0, i + 1);
    command = named;
  }
  return [...args];
}

function createProgram(terminal: Terminal, onEnd: (code: ExitCode) => void): Command {
  const program = new Command("onappupdate").description(DESCRIPTION).exitOverride().configureOutput({
    writeOut: terminal.stdout.write,
    writeErr: terminal.stderr.write,
    getOutHelpWidth: () => HELP_COLUMNS,
    getErrHelpWidth: () => HELP_COLUMNS,
    getOutHasColors: () => terminal.stdout.hasColor,
    getErrHasColors: () => terminal.stderr.hasColor,
  });
  // `portals --version 2` is not this one.
  program.enablePositionalOptions().version(PACKAGE_VERSION, "-V, --version", "print the version of this package");
  program.configureHelp({ subcommandTerm: (command) => command.name() });
  program.showHelpAfterError("Run the command with --help to see what it takes.").addHelpText("after", EPILOGUE)
    .helpCommand(false);
  for (const command of COMMANDS) command.register(program, terminal, onEnd);
  return program;
}

const HELP_COLUMNS = 79;

const DESCRIPTION = "Tries a Bitrix24 app without a portal, shows its rollout, and acts on it.";

const EPILOGUE = `
The options of a command: onappupdate COMMAND --help
Exit codes: 0 done, 1 asked and the answer is bad, 2 the command is invalid,
3 the app, the operator API, the storage or Bitrix24 does not answer.
Data goes to standard output, everything else to standard error.`;
