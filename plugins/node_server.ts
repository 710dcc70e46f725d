/**
 * Serves an app on Node or Deno through `@hono/node-server`, and stops without losing a request; mounts it in Express,
 * Nest, Fastify and Koa.
 *
 * Runs on Node 22.13 and later and on Deno, with the same time-outs. `Deno.serve(app.fetch)` has no limit on connections
 * that send nothing: behind a proxy that limits them it is enough; where clients connect directly, use this function.
 *
 * @module
 */
import { createAdaptorServer } from "@hono/node-server";
import { checkOptions, option, type OptionRules } from "../mod.ts";
import type { Server, ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import process from "node:process";
import { clearTimeout, setTimeout } from "node:timers";

export {
  type FastifyReplyLike,
  type FastifyRequestLike,
  type Fetchable,
  type KoaContextLike,
  type NodeHandler,
  type NodeRequest,
  toNodeHandler,
} from "./node_server/handler.ts";
export type { KeptBody } from "./node_server/parsed_body.ts";

/** An object that can be served: an app of this package, or any object with these two members. */
export interface Servable {
  /**
   * Answers one request: that of an app, or of a router such as Hono. `platform` is `{ incoming, outgoing }`: the request and the
   * response of Node.
   */
  readonly fetch: (request: Request, ...platform: never[]) => Response | Promise<Response>;
  /** Finishes or releases the work in progress. Called once, after the last request was answered. */
  readonly close: () => Promise<void>;
}

const APP_RULES: OptionRules<{ readonly app: Servable }> = {
  app: option.required(option.value("an app of createApp(), or an object with fetch() and close()", (app) => {
    const { fetch, close } = Object(app) as Partial<Servable>;
    return typeof fetch === "function" && typeof close === "function";
  })),
};

/** A signal that asks the process to stop. */
export type StopSignal = "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGQUIT" | "SIGBREAK" | "SIGUSR2";

/** The address of a server. */
export interface Listening {
  /** The host, as in the options. */
  readonly hostname: string;
  /** The port; for port 0, the free port that was chosen. */
  readonly port: number;
  /** Host and port as a URL, such as `http://127.0.0.1:8000`. */
  readonly url: string;
}

/** Options of {@linkcode serve}. */
export interface NodeServerOptions {
  /**
   * The port to listen on; 0 for any free port.
   *
   * @default 8000
   */
  readonly port?: number;
  /**
   * The address to listen on. By default only this host can reach the server, which suits a reverse proxy on the same
   * host. In a container, or with a proxy on another host, use `"0.0.0.0"`.
   *
   * @default "127.0.0.1"
   */
  readonly hostname?: string;
  /**
   * The signals that stop the server; `[]` for none.
   *
   * @default ["SIGINT", "SIGTERM"]
   */
  readonly signals?: readonly StopSignal[];
  /**
   * Milliseconds that requests in flight may take to finish once the server stops, and that the app may take to close, which
   * begins a second after that at the latest. Use more than `limits.closeMs` of the app plus 2000, so that the app can abort
   * and release its work. Minimum: 0.
   *
   * @default 15000
   */
  readonly graceMs?: number;
  /** Called once, as soon as the server accepts connections. */
  readonly onListen?: (listening: Listening) => void;
}

const OPTION_RULES: OptionRules<NodeServerOptions> = {
  port: option.number({ min: 0, max: 65_535, isWhole: true }),
  hostname: option.text("an address to listen on"),
  signals: option.list(
    "the names of signals",
    option.oneOf("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK", "SIGUSR2"),
  ),
  graceMs: option.duration({ min: 0 }),
  onListen: option.function(),
};

/** A running server. */
export interface NodeServer extends Listening {
  /** Settles when the server has stopped, by a signal or by `close`. The same promise as that of `close`. */
  readonly finished: Promise<void>;
  /**
   * Stops the server: refuses new connections, closes those without a request, waits for requests in flight, for a second at
   * most, and closes the app. Connections that are still busy after `graceMs` are destroyed. Every call returns the same promise, which rejects if `close` of the app
   * rejects or takes longer than `graceMs`.
   */
  readonly close: () => Promise<void>;
}

const SERVER_OPTIONS = {
  // Against slow clients: requests of Bitrix24 are small and arrive at once.
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 5_000,
  maxHeaderSize: 16 * 1024,
  // Above the 60 seconds after which common proxies and load balancers close an idle connection. A server that closes it
  // first may do so just as the proxy sends an event over it, which is then lost.
  keepAliveTimeout: 75_000,
};

/**
 * Serves `app` over HTTP until a signal or `close()` stops it. Use a reverse proxy or a load balancer for TLS.
 *
 * The first of `options.signals` stops the server as `close()` does. The process then ends with exit code 0 as soon as
 * nothing else keeps it alive, at the latest after another `graceMs`; if the app could not be closed, its error ends the
 * process. A second signal ends the process at once with exit code 1; its work is resumed as after a crash.
 *
 * @throws {Error} if the server cannot listen on the address, for example because the port is in use; `cause` is the
 * system's error
 * @throws {TypeError} if `app` has no `fetch` or `close`, or an option is unknown or invalid
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
  checkOptions("cannot serve", options, OPTION_RULES);
  checkOptions("cannot serve", { app }, APP_RULES);
  const { port = 8000, hostname = "127.0.0.1", signals = ["SIGINT", "SIGTERM"], graceMs = 15_000 } = options;
  const server = createAdaptorServer({
    fetch: (request, platform) => app.fetch(request, platform as never),
    hostname,
    serverOptions: SERVER_OPTIONS,
    // By default the library replaces the global Request and Response.
    overrideGlobalObjects: false,
  }) as Server;
  const silent = limitSilentConnections(server);
  const requests = trackRequests(server);
  const listening = await listen(server, hostname, port);

  let settle: (stopped: Promise<void>) => void;
  const finished = new Promise<void>((resolve) => settle = resolve);
  let closing = false;
  const close = (): Promise<void> => {
    if (!closing) {
      closing = true;
      settle(stop(server, { silent, requests }, app, graceMs).finally(removeSignalHandlers));
    }
    return finished;
  };
  let signalled = false;
  const onSignal = (): void => {
    if (signalled) process.exit(1);
    signalled = true;
    // No catch: the runtime prints the error of an app that cannot be closed, and ends the process.
    void close().then(() => endProcess(graceMs));
  };
  const removeSignalHandlers = (): void => signals.forEach((signal) => process.off(signal, onSignal));
  for (const signal of signals) process.on(signal, onSignal);

  options.onListen?.(listening);
  return { ...listening, finished, close };
}

/** The maximum number of connections that have not sent a request yet. A client sends its request at once. */
const MAX_SILENT = 128;

/**
 * Destroys connections that send no request in time, and the oldest ones if there are too many. Node ends them itself,
 * though later; Deno does not, and silent connections would use up the file descriptors of the process. Returns the set of
 * connections that have not sent a request yet; it stays up to date.
 */
function limitSilentConnections(server: Server): Set<Socket> {
  const { headersTimeout, keepAliveTimeout } = SERVER_OPTIONS;
  const timers = new WeakMap<Socket, ReturnType<typeof setTimeout>>();
  /** Connections without a request so far, the oldest first. */
  const silent = new Set<Socket>();
  const arm = (socket: Socket, ms: number): void => {
    clearTimeout(timers.get(socket));
    timers.set(socket, setTimeout(() => socket.destroy(), ms).unref());
  };
  server.on("connection", (socket) => {
    arm(socket, headersTimeout);
    silent.add(socket);
    socket.once("close", () => {
      clearTimeout(timers.get(socket));
      silent.delete(socket);
    });
    if (silent.size <= MAX_SILENT) return;
    const [oldest] = silent;
    // The event `close` comes too late: each connection of a burst has to end another one.
    silent.delete(oldest!);
    oldest!.destroy();
  });
  server.prependListener("request", ({ socket }, response: ServerResponse) => {
    clearTimeout(timers.get(socket));
    silent.delete(socket);
    response.once("close", () => socket.destroyed || arm(socket, keepAliveTimeout));
  });
  return silent;
}

/** Returns the set of responses that are not finished yet; it stays up to date. */
function trackRequests(server: Server): Set<ServerResponse> {
  const requests = new Set<ServerResponse>();
  server.prependListener("request", (_request, response: ServerResponse) => {
    requests.add(response);
    // While the server stops, no connection may stay open for another request.
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
        : `${cause.message}, wanted an address of this host and a port that this user may use`;
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

/** The state of a server. */
interface Activity {
  /** Connections that have not sent a request yet. */
  readonly silent: ReadonlySet<Socket>;
  /** Responses that are not finished yet. */
  readonly requests: ReadonlySet<ServerResponse>;
}

async function stop(
  server: Server,
  { silent, requests }: Activity,
  app: Servable,
  graceMs: number,
): Promise<void> {
  // Also closes connections that are idle after a request.
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  // A connection that has sent a part of a request may still send the rest.
  for (const socket of silent) if (socket.bytesRead === 0) socket.destroy();
  for (const response of requests) if (!response.headersSent) response.setHeader("connection", "close");
  // A host that waits for ten seconds must not end the process before the app has released its work.
  await settlesWithin(closed, Math.min(graceMs, REQUESTS_MS));
  const [hasClosed] = await Promise.all([
    settlesWithin(app.close(), graceMs),
    settlesWithin(closed, graceMs).then((isEnded) => {
      if (!isEnded) server.closeAllConnections();
    }),
  ]);
  if (hasClosed) return;
  throw new Error(
    `cannot close the app: it is still working after ${graceMs} ms, wanted it to finish within graceMs`,
  );
}

/** Time (ms) that requests in flight have before the app closes: those that wait for handlers are answered as these end. */
const REQUESTS_MS = 1000;

/** Returns whether `promise` settles in time, and rejects as it does. */
async function settlesWithin(promise: Promise<void>, timeoutMs: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => timer = setTimeout(() => resolve(false), timeoutMs));
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Ends the process; open resources, such as a client of the storage, have time to end by themselves first. */
function endProcess(graceMs: number): void {
  process.exitCode ??= 0;
  setTimeout(() => process.exit(), graceMs).unref();
}
