/** `onappupdate dev`: a stand-in for Bitrix24 on this machine. */
import { standInAddress } from "./dev/address.ts";
import { readAnswers, readPortals, writePortals } from "./dev/file.ts";
import { helpLines } from "./dev/lines.ts";
import { environmentOf, serveStandIn, type StandInServer } from "./dev/server.ts";
import { runSession } from "./dev/session.ts";
import { createStandIn, type StandIn } from "./dev/stand_in.ts";
import { defineCommand, wholeNumber } from "./command.ts";
import { usageError } from "./exit.ts";
import type { Terminal } from "./terminal.ts";

interface DevOptions {
  readonly events?: string;
  readonly page?: string;
  readonly port?: number;
  readonly host?: string;
  readonly file?: string;
  readonly answers?: string;
  readonly clientId?: string;
}

const DEFAULT_URL = "http://127.0.0.1:8000/";
const DEFAULT_PORT = 4024;

/** Serves a stand-in for Bitrix24, and sends events to an app. */
export const dev = defineCommand<DevOptions>({
  usage: "dev",
  summary: "stand in for Bitrix24 on this machine",
  description:
    "Serves the OAuth hosts and the REST of portals, prints the environment of the app, and sends it events " +
    "at a key press or by commands (? lists them). Shows what the app answers and which calls it makes, here and on a " +
    "web page at the same address. The app says createApp({ dev }) with that address.",
  group: "Try an app:",
  arguments: [{ usage: "[url]", description: `address of the app on this machine (default: ${DEFAULT_URL})` }],
  options: [
    { flags: "--events <url>", description: "where events go, if the app's page has another address" },
    { flags: "--page <url>", description: "where openings of the app's page go" },
    {
      flags: "--port <number>",
      description: `port of the stand-in (default: ${DEFAULT_PORT})`,
      parse: wholeNumber(0, 65_535),
    },
    {
      flags: "--host <address>",
      description: "address to listen on; others than this machine need the token in the URL",
    },
    { flags: "--file <path>", description: "keep the portals there over restarts" },
    { flags: "--answers <path>", description: "JSON: rows of list methods and results of others, by name of method" },
    { flags: "--client-id <id>", description: "client_id of the app (default: app.dev)" },
  ],
  examples: [
    "onappupdate dev",
    "onappupdate dev http://127.0.0.1:3000/b24/events --file portals.json",
    "onappupdate dev --page http://127.0.0.1:8000/install",
  ],
  run: async ({ args: [url], options, terminal }) => {
    const { file, answers, events = url ?? DEFAULT_URL, page = url ?? DEFAULT_URL } = options;
    const standIn = createStandIn({
      clientId: options.clientId ?? "app.dev",
      events: standInAddress(events),
      page: standInAddress(page),
      saved: file === undefined ? undefined : await readPortals(file),
      answers: answers === undefined ? undefined : await readAnswers(answers),
      fetch: terminal.fetch,
    });
    const { port = DEFAULT_PORT, host = "127.0.0.1" } = options;
    const server = await serve(standIn, port, host);
    const saver = file === undefined ? undefined : await keepIn(file, standIn);
    try {
      introduce(standIn, server, terminal, options.json === true);
      await runSession({ standIn, terminal, json: options.json === true });
    } finally {
      await server.close();
      await saver?.();
    }
  },
});

async function serve(standIn: StandIn, port: number, host: string): Promise<StandInServer> {
  try {
    return await serveStandIn(standIn, { port, host });
  } catch (error) {
    const { code, message } = error as Error & { readonly code?: string };
    const why = code === "EADDRINUSE" ? "another program has this port" : message;
    const option = code === "ENOTFOUND" || code === "EADDRNOTAVAIL" ? "--host" : "--port";
    throw usageError(`cannot listen on ${host}:${port}: ${why}; name another one with ${option}`, { cause: error });
  }
}

function introduce(
  standIn: StandIn,
  { url, remoteUrl }: StandInServer,
  { stdout, stderr }: Terminal,
  isJson: boolean,
): void {
  const environment = environmentOf(standIn, url);
  const { events, page } = standIn;
  if (isJson) {
    const variables = Object.fromEntries(environment.map((line) => line.split(/=(.*)/s).slice(0, 2)));
    stdout.write(`${JSON.stringify({ kind: "started", url, remoteUrl, events, page, environment: variables })}\n`);
    return;
  }
  stderr.write(`Stand-in for Bitrix24. Set this in the environment of the app, and start it:\n\n`);
  stdout.write(`${environment.join("\n")}\n`);
  stderr.write(
    `\nThe app says createApp({ dev: ONAPPUPDATE_DEV, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET }).\n` +
      `Events go to ${events}${
        page === events
          ? ", openings too: --page URL if the page of the app has another address"
          : `, openings to ${page}`
      }.\n` +
      `Web page: ${remoteUrl ?? url}\n` +
      standIn.portals().map(({ domain, memberId }) => `Portal: ${domain} (member_id ${memberId})\n`).join("") +
      `\n${helpLines().join("\n")}\n\n`,
  );
}

const SAVE_DELAY_MS = 200;

/** Writes the portals to a file soon after each change. Returns a function that writes them for the last time. */
async function keepIn(path: string, standIn: StandIn): Promise<() => Promise<void>> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let writing: Promise<void> = Promise.resolve();
  const save = (): Promise<void> => writing = writing.then(() => writePortals(path, standIn.save()));
  const failed = (error: unknown): void =>
    void standIn.transcript.add({
      kind: "note",
      text: `cannot write ${path}: ${error instanceof Error ? error.message : error}`,
    });
  await save().catch((error: unknown) => {
    throw usageError(`cannot write ${path}: ${error instanceof Error ? error.message : error}`, { cause: error });
  });
  const stop = standIn.transcript.listen((entry) => {
    if (entry.kind === "note" && entry.text.startsWith("cannot write")) return;
    timer ??= setTimeout(() => {
      timer = undefined;
      save().catch(failed);
    }, SAVE_DELAY_MS);
  });
  return async () => {
    stop();
    clearTimeout(timer);
    await save();
  };
}
