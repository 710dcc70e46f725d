/** Connects a command to an app: `--app` loads it, `--url` calls its operator API. */
import { createHash, randomBytes } from "node:crypto";
import type { Logger } from "../logger.ts";
import { operatorApi } from "../../plugins/operator_api.ts";
import { closeInTime } from "./close_in_time.ts";
import type { OptionSpec } from "./command.ts";
import { usageError } from "./exit.ts";
import { readInput } from "./input.ts";
import { loadApp } from "./load_app.ts";
import { createClient, type OperatorClient } from "./operator_client.ts";
import type { Terminal } from "./terminal.ts";
import { safe, toJson } from "./text.ts";
import { isLoopback, readUrl } from "./url.ts";

/** The options of all commands that need an app. */
export interface ConnectOptions {
  readonly app?: string;
  readonly url?: string;
  readonly tokenFile?: string;
  readonly by?: string;
}

/** The flags of {@linkcode ConnectOptions} but `--by`. */
export const CONNECT_OPTIONS: readonly OptionSpec[] = [
  {
    flags: "--app <file>",
    description: "module that exports the app by default; it is loaded, never started; its other effects are its own",
  },
  { flags: "--url <url>", description: "operator API of a running app" },
  { flags: "--token-file <file>", description: "file with the token for --url, or ONAPPUPDATE_TOKEN" },
];

/** The options of commands that ask a portal: the audit log shows it. */
export interface AskOptions extends ConnectOptions {
  readonly reason?: string;
}

/** The flags of {@linkcode AskOptions}. */
export const ASK_OPTIONS: readonly OptionSpec[] = [
  { flags: "--reason <text>", description: "why, for the audit log, which shows that the portal was asked" },
  { flags: "--by <name>", description: "who, with --app (default: cli: and your user name)" },
  ...CONNECT_OPTIONS,
];

/** Runs `body` with a client, and closes it. @throws {ExitError} if the app cannot be reached */
export async function withClient<T>(
  { options, terminal }: { readonly options: ConnectOptions; readonly terminal: Terminal },
  body: (client: OperatorClient) => Promise<T>,
): Promise<T> {
  const client = await connect(options, terminal);
  try {
    return await body(client);
  } finally {
    await closeInTime(() => client.close());
  }
}

async function connect(options: ConnectOptions, terminal: Terminal): Promise<OperatorClient> {
  // An option wins over the environment, in which an empty variable is one that is not set.
  const isGiven = (options.app ?? options.url) !== undefined;
  const [appName, urlName] = isGiven ? ["--app", "--url"] as const : ["ONAPPUPDATE_APP", "ONAPPUPDATE_URL"] as const;
  const { app, url } = isGiven
    ? options
    : { app: terminal.variable(appName) || undefined, url: terminal.variable(urlName) || undefined };
  if (app !== undefined && url !== undefined) throw usageError(`saw ${appName} and ${urlName}, wanted one of them`);
  if (app === "") throw usageError("--app: saw nothing, wanted a file such as ./app.ts");
  if (app !== undefined) return await connectLocally(app, options, terminal);
  if (url === undefined) {
    throw usageError("wanted --app FILE or --url URL (or ONAPPUPDATE_APP or ONAPPUPDATE_URL)");
  }
  return await connectRemotely(urlName, url, options, terminal);
}

async function connectRemotely(
  source: string,
  text: string,
  options: ConnectOptions,
  terminal: Terminal,
): Promise<OperatorClient> {
  const url = readUrl(source, text, "https://ops.example");
  if (options.by !== undefined) throw usageError("--by has no effect with --url: the audit log names the token");
  if (url.protocol === "http:" && !isLoopback(url.hostname)) {
    throw usageError(`${source}: saw http to ${url.hostname}, wanted https: others could read the token`);
  }
  const token = await readToken(options, terminal);
  url.pathname = url.pathname.replace(/\/api\/v1\/?$/, "");
  const name = url.origin + url.pathname.replace(/\/+$/, "");
  return createClient({
    ...{ name, isLocal: false, isAnonymous: false, base: url, token, fetch: terminal.fetch },
    close: () => Promise.resolve(),
  });
}

async function readToken({ tokenFile }: ConnectOptions, terminal: Terminal): Promise<string> {
  const text = tokenFile === undefined ? terminal.variable("ONAPPUPDATE_TOKEN") : await readInput(terminal, tokenFile);
  const token = text?.trim() ?? "";
  const source = tokenFile ?? "ONAPPUPDATE_TOKEN";
  if (token === "") {
    throw usageError(
      "wanted a token for --url: in ONAPPUPDATE_TOKEN, or in a file that --token-file names\n" +
        "An operator of the app can make one: onappupdate token NAME --role operate",
    );
  }
  if (!/^[\x21-\x7e]{1,512}$/.test(token)) throw usageError(`${source} has no token: wanted one line without spaces`);
  return token;
}

async function connectLocally(file: string, options: ConnectOptions, terminal: Terminal): Promise<OperatorClient> {
  const by = operatorOf(options, terminal);
  if (options.tokenFile !== undefined) throw usageError("--token-file has no effect with --app: it is for --url");
  const app = await loadApp(terminal, file);
  const token = randomBytes(32).toString("base64url");
  const sha256 = createHash("sha256").update(token).digest("hex");
  const api = operatorApi({
    app,
    tokens: [{ name: by ?? "cli", role: "operate", sha256 }],
    logger: stderrLogger(terminal),
  });
  return createClient({
    ...{
      name: `the app of ${file}`,
      isLocal: true,
      isAnonymous: by === undefined,
      base: new URL("http://localhost/"),
      token,
    },
    fetch: (url, init) => api.fetch(new Request(url, init)),
    close: () => app.close(),
  });
}

/** Returns the operator's name for the audit log; `undefined` if it is not known. */
function operatorOf({ by }: ConnectOptions, { userName }: Terminal): string | undefined {
  if (by !== undefined) {
    if (by.length <= 100 && by.isWellFormed() && by.trim() !== "" && safe(by) === by) return by;
    throw usageError("--by: wanted 1 to 100 characters without control characters, also of text direction");
  }
  const name = userName();
  return name === undefined ? undefined : `cli:${safe(name).slice(0, 90)}`;
}

/** Logs failures of the operator API on standard error. */
function stderrLogger({ stderr }: Terminal): Logger {
  const quiet = (): void => {};
  const log = (message: string, fields: object = {}): void => stderr.write(`${message} ${toJson(fields)}\n`);
  return { isDebugEnabled: false, debug: quiet, info: quiet, warn: log, error: log };
}
