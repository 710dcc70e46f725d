/** Serves a stand-in over HTTP: the hosts of Bitrix24 for the app, and its page for the developer. */
import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { ADDRESS } from "../../net/stand_in.ts";
import { answerForwarded } from "../../testing/bitrix24/server.ts";
import { runLine } from "./commands.ts";
import { guard } from "./guard.ts";
import { liveFragment, openingForm, standInPage } from "./page.ts";
import type { StandIn } from "./stand_in.ts";

/** Options of {@linkcode serveStandIn}. */
export interface StandInServerOptions {
  /** 0 for any free port. */
  readonly port: number;
  /** Address to listen on. One beyond this machine gets a random token in the path of its URL. */
  readonly host: string;
}

/** A running stand-in. */
export interface StandInServer {
  /** URL for `createApp({ dev })` and for browsers on this machine. */
  readonly url: string;
  /** URL for browsers on other machines; absent if it is served on this one only. */
  readonly remoteUrl?: string;
  readonly close: () => Promise<void>;
}

/** The variables that the app needs in its environment, one a line. */
export function environmentOf({ clientId, clientSecret }: StandIn, url: string): string[] {
  return [`ONAPPUPDATE_DEV=${url}`, `CLIENT_ID=${clientId}`, `CLIENT_SECRET=${clientSecret ?? "dev-secret"}`];
}

const LOOPBACK = new Set(["127.0.0.1", "localhost", "::1"]);

/** Listens. @throws {Error} if it cannot listen on the address */
export async function serveStandIn(standIn: StandIn, { port, host }: StandInServerOptions): Promise<StandInServer> {
  const token = LOOPBACK.has(host) ? undefined : randomBytes(16).toString("hex");
  const live = new Set<ServerResponse>();
  const isWildcard = host === "0.0.0.0" || host === "::";
  let listening = port;
  let url = "";
  const create = (): Server =>
    createServer((request, response) => {
      answer(request, response).catch(() => {
        if (response.headersSent) response.destroy();
        else response.writeHead(500, TEXT).end("the stand-in failed\n");
      });
    });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "GET", url: address = "/", headers } = request;
    const guarded = guard({ method, url: address, headers }, { port: listening, token });
    if ("status" in guarded) return void response.writeHead(guarded.status, TEXT).end(`${guarded.reason}\n`);
    const forwarded = headers[ADDRESS];
    if (forwarded !== undefined && isAddressOf(`${forwarded}`, listening)) {
      // `onappupdate doctor` asks whether a stand-in answers: no call of the app.
      return void response.writeHead(200, TEXT).end("a stand-in for Bitrix24\n");
    }
    if (forwarded !== undefined) return answerForwarded(request, response, standIn.answer);
    const nonce = randomBytes(16).toString("base64");
    const route = `${method} ${guarded.path.replace(/\?.*$/, "")}`;
    if (route === "GET /") {
      response.writeHead(200, htmlHeaders(nonce)).end(standInPage(standIn, environmentOf(standIn, url), nonce));
    } else if (route === "GET /fragment") {
      response.writeHead(200, htmlHeaders(nonce)).end(liveFragment(standIn));
    } else if (route === "GET /live") {
      response.writeHead(200, { ...COMMON, "content-type": "text/event-stream" }).write("retry: 1000\n\n");
      live.add(response.once("close", () => live.delete(response)));
    } else if (route === "POST /run") {
      await runNoted(standIn, new URLSearchParams(await bodyOf(request)).get("command") ?? "");
      response.writeHead(303, { ...COMMON, location: "./" }).end();
    } else if (route === "POST /open") {
      openInBrowser(new URLSearchParams(await bodyOf(request)).get("who") ?? "", response, nonce);
    } else {
      const isKnown = ["/", "/fragment", "/live", "/run", "/open"].includes(route.split(" ")[1]!);
      response.writeHead(isKnown ? 405 : 404, TEXT).end(isKnown ? "method not allowed\n" : "not found\n");
    }
  }

  function openInBrowser(who: string, response: ServerResponse, nonce: string): void {
    const portal = standIn.selected();
    if (portal.state().version === undefined) {
      return void response.writeHead(409, TEXT).end(`the app is not installed on ${portal.domain}, install it first\n`);
    }
    const isAdmin = who !== "user";
    const opening = portal.open({ userId: isAdmin ? 1 : 7, admin: isAdmin, url: standIn.page });
    standIn.transcript.add({
      kind: "note",
      text: `the page was opened in the browser, as ${isAdmin ? "admin" : "user"}`,
    });
    void opening.text().then((body) =>
      response.writeHead(200, htmlHeaders(nonce, new URL(standIn.page).origin)).end(
        openingForm(opening.url, body, nonce),
      )
    );
  }

  const first = await listen(create(), port, isWildcard ? host : token === undefined ? host : "127.0.0.1");
  listening = first.port;
  const servers = [first.server];
  // Apps reach it on this machine only, by whatever address others do.
  if (token !== undefined && !isWildcard) servers.push((await listen(create(), listening, host)).server);
  const path = token === undefined ? "" : `/${token}/`;
  const shown = (name: string): string => `http://${name.includes(":") ? `[${name}]` : name}:${listening}${path}`;
  url = shown(host === "::1" ? host : "127.0.0.1");
  const stop = standIn.transcript.listen(() => live.forEach((response) => response.write("data: changed\n\n")));
  return {
    url,
    ...(token === undefined ? {} : { remoteUrl: shown(isWildcard ? "ADDRESS-OF-THIS-MACHINE" : host) }),
    close: async () => {
      stop();
      await Promise.all(servers.map((server) =>
        new Promise<void>((resolve) => {
          server.close(() => resolve());
          server.closeAllConnections();
        })
      ));
    },
  };
}

/** @throws {Error} the system's error, if it cannot listen there */
async function listen(
  server: Server,
  port: number,
  host: string,
): Promise<{ readonly server: Server; readonly port: number }> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  const address = server.address();
  return { server, port: typeof address === "object" && address !== null ? address.port : port };
}

/** Returns whether a URL is one of the stand-in itself. */
function isAddressOf(text: string, port: number): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  return url.protocol === "http:" && LOOPBACK.has(url.hostname.replace(/^\[|\]$/g, "")) && url.port === `${port}`;
}

/** Runs a command. What is wrong with it becomes a note, for all who look on. */
export async function runNoted(standIn: StandIn, line: string): Promise<void> {
  try {
    await runLine(standIn, line);
  } catch (error) {
    standIn.transcript.add({ kind: "note", text: error instanceof Error ? error.message : String(error) });
  }
}

const COMMON = {
  "cache-control": "no-store",
  // With no-referrer, browsers would send forms of the page itself with the origin null.
  "referrer-policy": "same-origin",
  "x-content-type-options": "nosniff",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
};
const TEXT = { ...COMMON, "content-type": "text/plain; charset=utf-8" };

/** `target` is the origin that forms may be sent to besides the page's own. */
function htmlHeaders(nonce: string, target = ""): Record<string, string> {
  const policy = [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    `style-src 'nonce-${nonce}'`,
    "connect-src 'self'",
    `form-action 'self' ${target}`.trim(),
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ];
  return { ...COMMON, "content-type": "text/html; charset=utf-8", "content-security-policy": policy.join("; ") };
}

const MAX_BODY_BYTES = 16 * 1024;

/** @throws {RangeError} if the body is larger than any command */
async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw new RangeError("the body is too large");
    chunks.push(chunk);
  }
  return new TextDecoder().decode(await new Blob(chunks as BlobPart[]).arrayBuffer());
}
