/**
 * The frame of the command line: how a command registers, and what it gets. A command is a module that exports a
 * {@linkcode CliCommand}, and `main.ts` lists it.
 *
 *     export const decode = defineCommand<{ readonly strict?: boolean }>({
 *       usage: "decode",
 *       summary: "print the event in a captured body",
 *       group: "Try an app",
 *       arguments: [{ usage: "[file]", description: "body of a request; standard input by default" }],
 *       options: [{ flags: "--strict", description: "refuse unknown fields" }],
 *       examples: ["onappupdate decode body.form"],
 *       run: async ({ args: [file = "-"], options, terminal, show }) => {
 *         const event = parse(await terminal.read(file), options.strict);
 *         show(event, () => describe(event)); // with --json the first, else the second
 *       },
 *     });
 *
 * `run` resolves to the exit code, nothing means 0. An `ExitError` that it throws ends the command with a message; every other
 * error is mapped by `report_error.ts`.
 */
import { Argument, type Command, InvalidArgumentError, Option } from "commander";
import type { ExitCode } from "./exit.ts";
import { parseVersion } from "../version.ts";
import { safe, safeStyled, toJson } from "./text.ts";
import type { Terminal } from "./terminal.ts";

/** The headings of `onappupdate --help`, in this order. */
const GROUPS = ["Try an app:", "See:", "Act:", "Set up:"] as const;

/** An argument of a command. */
export interface ArgumentSpec {
  /** `<name>`, `[name]` if it can be left out, `[name...]` for several. */
  readonly usage: string;
  readonly description: string;
  /** The only values that are accepted. */
  readonly choices?: readonly string[];
}

/** An option of a command. */
export interface OptionSpec {
  /** Such as `--to <version>`, `--yes`, or `--set <field>` with `isRepeatable`. */
  readonly flags: string;
  readonly description: string;
  /** The only values that are accepted. */
  readonly choices?: readonly string[];
  /** Turns the text into a value. Throw by `invalid()` to refuse it. */
  readonly parse?: (text: string) => unknown;
  /** The option can be given several times: its value is a list. */
  readonly isRepeatable?: true;
}

/** The input of a command. */
export interface Invocation<Options extends object> {
  /** The arguments, as they were typed; absent ones at the end are missing. */
  readonly args: readonly string[];
  readonly options: Options & { readonly json?: boolean };
  readonly terminal: Terminal;
  /** Prints data on standard output: as JSON with `--json`, otherwise the lines of text. */
  readonly show: (data: unknown, text: () => string) => void;
  /** Prints lines on standard error, without anything that a terminal obeys. */
  readonly note: (text: string) => void;
}

/** A command as its module writes it. */
export interface CommandSpec<Options extends object> {
  readonly usage: string;
  /** One line without a full stop, in the list of commands and at the head of the command's help. */
  readonly summary: string;
  /** More about it, in sentences; the help wraps it. */
  readonly description?: string;
  readonly group: typeof GROUPS[number];
  readonly arguments?: readonly ArgumentSpec[];
  readonly options?: readonly OptionSpec[];
  /** Whole command lines; one that is long has a backslash at the end of a line. */
  readonly examples: readonly string[];
  readonly run: (invocation: Invocation<Options>) => Promise<ExitCode | void>;
}

/** A command that can be added to a program. Its exit code is passed to `onEnd`. */
export interface CliCommand {
  readonly register: (program: Command, terminal: Terminal, onEnd: (code: ExitCode) => void) => void;
}

/** Makes a command of its description. */
export function defineCommand<Options extends object>(spec: CommandSpec<Options>): CliCommand {
  return {
    register: (program, terminal, onEnd) => {
      const command = describedCommand(program, spec);
      command.action(async () => {
        const options = command.opts<Options & { readonly json?: boolean }>();
        const show = (data: unknown, text: () => string): void => {
          terminal.stdout.write(options.json === true ? `${toJson(data)}\n` : withLineEnd(safeStyled(text())));
        };
        const note = (text: string): void => terminal.stderr.write(withLineEnd(text.split("\n").map(safe).join("\n")));
        onEnd(await spec.run({ args: command.args, options, terminal, show, note }) ?? 0);
      });
    },
  };
}

/** Makes a command of several: `onappupdate rollout pause`. */
export function defineGroup(
  spec: Pick<CommandSpec<object>, "usage" | "summary" | "group">,
  commands: readonly CliCommand[],
): CliCommand {
  return {
    register: (program, terminal, onEnd) => {
      const group = program.command(spec.usage).summary(spec.summary).description(sentence(spec.summary))
        .helpGroup(spec.group).helpCommand(false);
      for (const command of commands) command.register(group, terminal, onEnd);
    },
  };
}

function describedCommand<Options extends object>(program: Command, spec: CommandSpec<Options>): Command {
  const { usage, summary, description, group, arguments: args = [], options = [], examples } = spec;
  const command = program.command(usage).summary(summary).helpGroup(group)
    .description(description === undefined ? sentence(summary) : `${sentence(summary)}\n\n${description}`);
  for (const { usage, description, choices } of args) {
    const argument = new Argument(usage, description);
    command.addArgument(choices === undefined ? argument : argument.choices(choices));
  }
  for (const spec of options) command.addOption(optionOf(spec));
  command.option("--json", "print JSON");
  return command.addHelpText(
    "after",
    ["", "Examples:", ...examples.map((lines) => `  $ ${lines.replaceAll("\n", "\n      ")}`)].join("\n"),
  );
}

function optionOf({ flags, description, choices, parse, isRepeatable }: OptionSpec): Option {
  const option = new Option(flags, description);
  if (choices !== undefined) option.choices(choices);
  const read = (text: string): unknown => {
    // The parser below takes the place of the one of commander that checks them.
    if (choices?.includes(text) === false) throw invalid(`one of ${choices.join(", ")}`);
    return parse === undefined ? text : parse(text);
  };
  if (isRepeatable === true) {
    option.argParser((text: string, before: readonly unknown[] | undefined) => [...before ?? [], read(text)]);
  } else if (parse !== undefined) option.argParser(parse);
  return option;
}

/** Returns the error of an option's value, to be thrown by `parse`. */
export function invalid(wanted: string): InvalidArgumentError {
  return new InvalidArgumentError(`Wanted ${wanted}.`);
}

/** Returns a `parse` of whole numbers. */
export function wholeNumber(min: number, max: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (/^\d+$/.test(text) && number >= min && number <= max) return number;
    throw invalid(max === Number.MAX_SAFE_INTEGER ? `a whole number from ${min}` : `a whole number, ${min} to ${max}`);
  };
}

/** Returns a version as it was typed. @throws {InvalidArgumentError} if it is not one */
export function versionText(text: string): string {
  try {
    parseVersion(text);
    return text;
  } catch {
    throw invalid("a version such as 3, 2.1 or 2.1.0");
  }
}

/** Returns the option of a list's length. `what`: what is listed, in the plural. */
export function limitOption(what: string, byDefault: number, max?: number): OptionSpec {
  return {
    flags: "--limit <n>",
    description: `at most n ${what} (default: ${byDefault})`,
    parse: wholeNumber(1, max),
  };
}

function sentence(summary: string): string {
  return `${summary[0]!.toUpperCase()}${summary.slice(1)}.`;
}

function withLineEnd(text: string): string {
  return text === "" || text.endsWith("\n") ? text : `${text}\n`;
}
