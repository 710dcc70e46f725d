/** The command line, independent of the process. */
import { InputError } from "../errors.ts";
import { parseVersion } from "../version.ts";
import { parseEvent } from "../bitrix24/parse.ts";

/** The input and output of the command line. */
export interface Terminal {
  /** Returns the content of a file, or of standard input for `-`. */
  readonly read: (path: string) => Promise<string>;
  readonly out: (line: string) => void;
  readonly err: (line: string) => void;
}

const USAGE = `Usage: onappupdate decode [FILE]

Reads the body of a request of Bitrix24 (form or JSON) from FILE, or from standard
input, and prints its event as handlers receive it. Tokens are not printed.

Exit codes: 0 the body is an event, 1 it is not, 2 the command is invalid or FILE
cannot be read.`;

/** Runs one command. Resolves to the exit code. */
export async function main(args: readonly string[], terminal: Terminal): Promise<number> {
  const [command, file = "-", ...rest] = args;
  if (command === "--help" || command === "-h") {
    terminal.out(USAGE);
    return 0;
  }
  if (command !== "decode" || rest.length > 0) {
    terminal.err(USAGE);
    return 2;
  }
  let body: string;
  try {
    body = (await terminal.read(file)).trim();
  } catch (error) {
    terminal.err(`cannot read ${file}: ${error instanceof Error ? error.message : error}`);
    return 2;
  }
  try {
    const event = parseEvent(body, body.startsWith("{") ? "json" : "form");
    terminal.out(JSON.stringify(event, null, 2));
    if (event.name === "ONAPPUPDATE" || event.name === "ONAPPINSTALL") {
      terminal.out(`VERSION ${event.data.version} is ${parseVersion(event.data.version)}`);
    }
    return 0;
  } catch (error) {
    const lines = error instanceof InputError
      ? error.issues.map(({ path, saw, wanted }) => `${path || "body"}: saw ${saw}, wanted ${wanted}`)
      : [error instanceof Error ? error.message : String(error)];
    for (const line of lines) terminal.err(line);
    return 1;
  }
}
