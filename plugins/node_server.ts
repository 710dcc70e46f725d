/**
 * Serves an app on Node, through `@hono/node-server`, and stops without losing a request.
 *
 * Runs on Node 22.13 and later, and on Deno's Node compatibility; on Deno itself `Deno.serve(app.fetch)` does.
 *
 * @module
 */
import { createAdaptorServer } from "@hono/node-server";
import type { Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { clearTimeout, setTimeout } from "node:timers";

/** What can be served: an app of this package, or anything with the same two members. */
export interface Servable {
  /** Answers one request. `platform` is what the server knows beside it: here `{ incoming, outgoing }` of Node. */
  readonly fetch: (request: Request, ...platform: unknown[]) => Promise<Response>;
  /** Finishes or hands back what is under way. Called once, after the last request was answered. */
  readonly close: () => Promise<void>;
}

/** A signal that can ask the process to stop. */
export type StopSignal = "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGQUIT" | "SIGBREAK" | "SIGUSR2";

/** Where a server listens. */
export interface Listening {
  /** The address as it was given in the options. */
  readonly hostname: string;
  /** The port; a free one was chosen for port 0. */
  readonly port: number;
  /** Both as a URL, such as `http://127.0.0.1:8000`. */
  readonly url: string;
}

/** Options of {@linkcode serve}. */
export interface NodeServerOptions {
  /** Default 8000; 0 takes any free one. */
  readonly port?: number;
  /**
   * Default `"127.0.0.1"`: only this host reaches the server, which suits a reverse proxy beside it. In a container,
   * or with the proxy elsewhere, `"0.0.0.0"`.
   */
  readonly hostname?: string;
  /** Which signals stop the server; default `["SIGINT", "SIGTERM"]`, `[]` for none. */
  readonly signals?: readonly StopSignal[];
  /**
   * How long in milliseconds requests in flight, and after them the app, may take to finish once the server is told
   * to stop; default 15,000 for each of the two. More than `limits.closeMs` of the app and a second: what is under way
   * then is aborted and given back, not cut off.
   */
  readonly graceMs?: number;
  /** Called once, as soon as connections are accepted. */
  readonly onListen?: (listening: Listening) => void;
}

/** A running server. */
export interface NodeServer extends Listening {
  /** Settles when the server has stopped, whoever stopped it, as the promise of `close` does. */
  readonly finished: Promise<void>;
  /**
   * Stops: accepts no connection any more, lets requests in flight finish, then closes the app. Connections that are
   * still busy after `graceMs` are cut. Every call returns the same promise, which is rejected when the app's own
   * `close` fails or takes longer than `graceMs`.
   */
  readonly close: () => Promise<void>;
}

/** Longer and the timers of Node fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

const SERVER_OPTIONS = {
  // Slow clients: what Bitrix24 sends is small and comes in one go.
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 5_000,
  maxHeaderSize: 16 * 1024,
  // Above the 60 seconds after which the usual proxies and balancers drop an idle connection: a server that drops it
  // first can do so just as the proxy sends an event over it, which is then lost.
  keepAliveTimeout: 75_000,
};

/**
 * Serves `app` over HTTP until a signal or `close()` stops it. Put TLS in front of it: a reverse proxy or a balancer.
 *
 * The first signal of `options.signals` stops it as `close()` does, and the process ends with exit code 0 as soon as
 * nothing else keeps it alive, at the latest `graceMs` after that; if the app could not be closed, its error ends the
 * process. A second signal ends the process at once with exit code 1; what was under way is then resumed like after
 * a crash.
 *
 * @throws {Error} when the address cannot be listened on, such as a port in use; `cause` is the system's error
 * @throws {RangeError} when `port` or `graceMs` is not a number in range
 *
 * @example
 * ```ts
 * import { serve } from "@b24/onappupdate/node-server";
 * import assert from "node:assert/strict";
 *
 * const app = {
 *   fetch: (request: Request) => Promise.resolve(new Response(new URL(request.url).pathname)),
 *   close: () => Promise.resolve(),
 * };
 * const server = await serve(app, { port: 0 });
 * const response = await fetch(`${server.url}/bitrix24/events`);
 * assert.equal(await response.text(), "/bitrix24/events");
 * await server.close();
 * ```
 */
export async function serve(app: Servable, options: NodeServerOptions = {}): Promise<NodeServer> {
  const { port = 8000, hostname = "127.0.0.1", signals = ["SIGINT", "SIGTERM"], graceMs = 15_000 } = options;
  if (!(graceMs >= 0 && graceMs <= LONGEST_TIMER_MS)) {
    throw new RangeError(`cannot serve with graceMs ${graceMs}, wanted milliseconds from 0 to ${LONGEST_TIMER_MS}`);
  }
  const server = createAdaptorServer({
    fetch: (request, platform) => app.fetch(request, platform),
    hostname,
    serverOptions: SERVER_OPTIONS,
    // Else the library puts classes of its own in the place of the global Request and Response.
    overrideGlobalObjects: false,
  }) as Server;
  const requests = trackRequests(server);
  const listening = await listen(server, hostname, port);

  let settle: (stopped: Promise<void>) => void;
  const finished = new Promise<void>((resolve) => settle = resolve);
  let closing = false;
  const close = (): Promise<void> => {
    if (!closing) {
      closing = true;
      settle(stop(server, requests, app, graceMs).finally(forgetSignals));
    }
    return finished;
  };
  let signalled = false;
  const onSignal = (): void => {
    if (signalled) process.exit(1);
    signalled = true;
    // No catch: the error of an app that cannot be closed is for the runtime to print.
    void close().then(() => endProcess(graceMs));
  };
  const forgetSignals = (): void => signals.forEach((signal) => process.off(signal, onSignal));
  for (const signal of signals) process.on(signal, onSignal);

  options.onListen?.(listening);
  return { ...listening, finished, close };
}

/** The responses that are not finished yet, kept up to date. */
function trackRequests(server: Server): Set<ServerResponse> {
  const requests = new Set<ServerResponse>();
  server.prependListener("request", (_request, response: ServerResponse) => {
    requests.add(response);
    // While stopping, no connection may wait for another request.
    if (!server.listening) response.setHeader("connection", "close");
    response.once("close", () => requests.delete(response));
  });
  return requests;
}

async function listen(server: Server, hostname: string, port: number): Promise<Listening> {
  await new Promise<void>((resolve, reject) => {
    const refuse = (cause: NodeJS.ErrnoException): void => {
      const saw = cause.code === "EADDRINUSE"
        ? "the port is in use, wanted a free one"
        : `${cause.message}, wanted an address of this host and a port open to this user`;
      reject(new Error(`cannot listen on ${hostname}:${port}: ${saw}`, { cause }));
    };
    server.once("error", refuse);
    server.listen(port, hostname, () => {
      server.off("error", refuse);
      resolve();
    });
  });
  const bound = (server.address() as AddressInfo).port;
  return { hostname, port: bound, url: `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${bound}` };
}

async function stop(server: Server, requests: Set<ServerResponse>, app: Servable, graceMs: number): Promise<void> {
  // Closes idle connections, too.
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  for (const response of requests) if (!response.headersSent) response.setHeader("connection", "close");
  if (!await settlesWithin(closed, graceMs)) server.closeAllConnections();
  if (!await settlesWithin(app.close(), graceMs)) {
    throw new Error(`cannot close the app: still at work after ${graceMs} ms, wanted it to finish within graceMs`);
  }
}

/** Whether `promise` settles in time; its rejection is passed on. */
async function settlesWithin(promise: Promise<void>, timeoutMs: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => timer = setTimeout(() => resolve(false), timeoutMs));
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Lets what is still open, such as a client of the storage, come to its own end first. */
function endProcess(graceMs: number): void {
  process.exitCode ??= 0;
  setTimeout(() => process.exit(), graceMs).unref();
}
