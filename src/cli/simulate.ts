/** `onappupdate simulate`: sends an app what Bitrix24 would send it. */
import { defined } from "../defined.ts";
import { messageWithCause } from "../redact.ts";
import { parseVersion } from "../version.ts";
import { defineCommand, invalid, type Invocation, wholeNumber } from "./command.ts";
import { EXIT, type ExitCode, unreachable, usageError } from "./exit.ts";
import { encoded, FORGERIES, type Kind, KINDS } from "./simulated_event.ts";
import { fieldsToSend, type RequestOptions } from "./simulated_requests.ts";
import type { Terminal } from "./terminal.ts";
import { cut, duration, painter, safe } from "./text.ts";
import { isLoopback, readUrl } from "./url.ts";

interface SimulateOptions extends RequestOptions {
  readonly url?: string;
  readonly page?: string;
  readonly print?: true;
  readonly remote?: true;
}

/** A version, as it was typed: `2.10` is not 2.1. */
function version(text: string): string {
  try {
    parseVersion(text);
    return text;
  } catch {
    throw invalid("a version such as 3, 2.1 or 2.1.0; for any other text use --set data.VERSION=TEXT");
  }
}

function assignment(text: string): readonly [string, string | undefined] {
  const at = text.indexOf("=");
  const path = at < 0 ? text : text.slice(0, at);
  if (!/^[\w-]+(\.[\w-]+)*$/.test(path)) {
    throw invalid("a field and its value, such as data.VERSION=3 or auth.user_id=7");
  }
  return [path, at < 0 ? undefined : text.slice(at + 1)];
}

/** Sends an app events and openings as Bitrix24 would. */
export const simulate = defineCommand<SimulateOptions>({
  usage: "simulate",
  summary: "send an app an event as Bitrix24 does",
  description: "The tokens are made up. An app accepts the event of a portal that it knows if --token is its " +
    "application_token; other events wait for their verification by Bitrix24, which fails. To try whole installations " +
    "with tokens that are valid, use `onappupdate dev`.",
  group: "Try an app:",
  arguments: [{ usage: "<kind>", description: "what is sent", choices: KINDS }],
  options: [
    { flags: "--url <url>", description: "address of the app's event handler" },
    { flags: "--page <url>", description: "address of the app's page, for open" },
    { flags: "--from <version>", description: "version before an update", parse: version },
    { flags: "--to <version>", description: "version after it, as typed: 2.10 is not 2.1", parse: version },
    { flags: "--member <id>", description: "member_id of the portal" },
    { flags: "--domain <host>", description: "domain of the portal" },
    { flags: "--token <token>", description: "application_token of the portal" },
    {
      flags: "--set <field>",
      description: "set a field, such as data.CLEAN=0; without = leave it out; repeatable",
      parse: assignment,
      isRepeatable: true,
    },
    { flags: "--body <file>", description: "send a captured body; --set applies on top" },
    { flags: "--duplicate <n>", description: "send it n more times", parse: wholeNumber(1, 1000) },
    { flags: "--reorder", description: "send a newer event of the portal before it" },
    { flags: "--forge <part>", description: "send it as an attacker would", choices: FORGERIES },
    { flags: "--print", description: "print the body instead of sending it" },
    { flags: "--remote", description: "allow an address that is not on this machine" },
  ],
  examples: [
    "onappupdate simulate update --url http://localhost:8000/ --from 2 --to 3",
    "onappupdate simulate update --to 2.10 --print",
    "onappupdate simulate uninstall --url http://localhost:8000/ --forge token",
    "onappupdate simulate open --page http://localhost:8000/app",
  ],
  run: async (invocation) => {
    const { args: [kind], options, terminal, show, note } = invocation as Invocation<SimulateOptions> & {
      args: [Kind];
    };
    assertFits(kind, options);
    const requests = (await fieldsToSend(kind, options, terminal)).map(encoded);
    if (options.print === true) {
      const [{ query } = { query: new URLSearchParams() }] = requests;
      if (query.size > 0 && options.json !== true) note(`The query of the page's address: ${query}`);
      show(
        requests.map(({ query, body }) => defined({ query: query.size > 0 ? `${query}` : undefined, body })),
        () => requests.map(({ body }) => body).join("\n"),
      );
      return EXIT.done;
    }
    const url = addressOf(kind, options);
    const answers: Answer[] = [];
    for (const { query, body } of requests) answers.push(await send(terminal, withQuery(url, query), body));
    show(answers, () => answers.map((answer) => describe(terminal, answer)).join("\n"));
    if (options.json !== true && hasMadeUpTokens(options)) {
      const events = answers.filter(({ event }) => event !== "opening");
      if (events.some(({ status }) => status === 200)) {
        note(
          "The app has stored it. Bitrix24 does not know its made-up tokens, so its verification fails: the log of the app " +
            `says so. ${WITH_TOKENS}`,
        );
      } else if (options.forge === undefined && events.some(({ status }) => status === 403)) {
        note(`The app refuses it, because its tokens are made up. ${WITH_TOKENS}`);
      }
    }
    return exitCodeOf(answers, options);
  },
});

/** @throws {ExitError} if an option has no meaning for this kind */
function assertFits(kind: Kind, options: SimulateOptions): void {
  const refuse = (name: string, why: string): never => {
    throw usageError(`cannot simulate ${kind} with ${name}: ${why}`);
  };
  const { from, to, member, domain, token, body, page, url, reorder } = options;
  if (from !== undefined && kind !== "update") refuse("--from", "only update has a version before it");
  if (to !== undefined && !["install", "update", "payment"].includes(kind)) refuse("--to", "it has no version");
  if (kind === "open" && url !== undefined) refuse("--url", "an opening goes to the app's page: use --page");
  if (kind !== "open" && page !== undefined) refuse("--page", "an event goes to the event handler: use --url");
  if (body === undefined) return;
  const replaced = defined({
    "--from": from,
    "--to": to,
    "--member": member,
    "--domain": domain,
    "--token": token,
    "--reorder": reorder,
  });
  for (const name of Object.keys(replaced)) refuse(`${name} and --body`, "change fields of a captured body by --set");
}

/** @throws {ExitError} if there is no address, or it is not on this machine */
function addressOf(kind: Kind, { url, page, remote }: SimulateOptions): URL {
  const [option, text, path] = kind === "open"
    ? ["--page", page, "app"] as const
    : ["--url", url, "b24/events"] as const;
  if (text === undefined) throw usageError(`cannot simulate ${kind}: wanted ${option} URL, or --print`);
  const address = readUrl(option, text, `http://localhost:8000/${path}`);
  if (!isLoopback(address.hostname) && remote !== true) {
    throw usageError(
      `${option}: ${address.hostname} is not this machine\n` +
        "Made-up events reach a running app that way. If you mean it, add --remote.",
    );
  }
  return address;
}

function withQuery(url: URL, query: URLSearchParams): URL {
  const whole = new URL(url);
  for (const [name, value] of query) whole.searchParams.set(name, value);
  return whole;
}

/** An answer of the app. */
interface Answer {
  readonly url: string;
  readonly event: string;
  readonly status: number;
  readonly ms: number;
  readonly answer: string;
}

const TIMEOUT_MS = 30_000;

async function send({ fetch, now }: Terminal, url: URL, body: string): Promise<Answer> {
  const before = now();
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body,
      redirect: "manual",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const answer = cut(await response.text(), 4000);
    const event = new URLSearchParams(body).get("event") ?? "opening";
    return { url: url.href, event, status: response.status, ms: now() - before, answer };
  } catch (error) {
    throw unreachable(`${url.origin} does not answer: ${messageWithCause(error)}\nIs the app running there?`, {
      cause: error,
    });
  }
}

function describe({ stdout }: Terminal, { event, status, ms, answer }: Answer): string {
  const paint = painter(stdout);
  const isGood = status >= 200 && status < 300;
  const text = cut(safe(textOf(answer)), 300);
  return `${safe(event)}  ${paint(isGood ? "green" : "red", String(status))}  ${duration(ms)}${
    text === "" ? "" : `  ${text}`
  }`;
}

/** An app that verifies such events later drops them without another answer, and refuses the next ones at once. */
function hasMadeUpTokens({ token, body }: SimulateOptions): boolean {
  return token === undefined && body === undefined;
}

const WITH_TOKENS = "Of a portal that the app knows, pass the application_token by --token. For events that are " +
  "verified: onappupdate dev";

/** Returns what an answer says: the detail of a problem (RFC 9457), or its text. */
function textOf(answer: string): string {
  if (answer.trimStart().startsWith("<")) return "a page";
  try {
    const { detail } = Object(JSON.parse(answer)) as { readonly detail?: unknown };
    return typeof detail === "string" ? detail : answer.trim();
  } catch {
    return answer.trim();
  }
}

/** A forged event may be refused: that is a good answer. */
function exitCodeOf(answers: readonly Answer[], { forge }: SimulateOptions): ExitCode {
  const isGood = ({ status }: Answer): boolean =>
    status >= 200 && status < 300 || forge !== undefined && status >= 400 && status < 500;
  return answers.every(isGood) ? EXIT.done : EXIT.bad;
}
