/**
 * Compares the processor time that `app.fetch` takes for an event with that of the minimum that does the same: parse the
 * body, compare the token in constant time, one durable write by the bare client. As a ratio, for each backend.
 *
 * Every event is another one and asks for nothing: it announces the version that the portal has. 64 connections. The
 * logger is silent, nothing is encrypted. Server and load are processes of their own, which take turns round by round.
 *
 * Also prints the time that receivers of other libraries take for a webhook of the same size. They verify and parse,
 * and store nothing.
 *
 *     deno run -A scripts/bench/accept.ts
 *     node scripts/bench/accept.ts          (in a project that has the package installed)
 */
import { type Backend, BACKENDS, memoryFolder } from "./_backends.ts";
import { report, rounds } from "./_bench.ts";
import { type Child, startChild } from "./_child.ts";
import { encodeRequest, sendAll } from "./_load.ts";
import { emptyEvents } from "./_portals.ts";
import { RECEIVERS } from "./_receivers.ts";
import { startRedis } from "../redis_server.ts";

/** Minimum share: processor time of the minimum, divided by that of the app. */
const WANTED: Readonly<Record<Backend, number>> = { memory: 0.35, Redis: 0.4, file: 0.4, "Deno KV": 0.5 };
const EVENTS = 2000;
/** Events before the first round, so that the runtime has compiled what a server runs all the time. */
const WARM_UP = 10_000;
const CONNECTIONS = 64;

const nextEvent = emptyEvents();
const payload = JSON.stringify(Object.fromEntries(new URLSearchParams(nextEvent())));

/** Returns the processor time (µs) of a request. */
async function measure(child: Child, requests: readonly string[]): Promise<number> {
  const port = await child.ask<number>("port");
  const before = await child.ask<number>("cpu");
  await sendAll(port, requests, CONNECTIONS);
  return (await child.ask<number>("cpu") - before) / requests.length;
}

async function compareWithMinimum(backend: Backend, folder: string, redisPort: number): Promise<void> {
  const start = (kind: string): Promise<Child> =>
    startChild("_accept_server.ts", [kind, backend, folder, String(redisPort)]);
  const [minimum, app] = [await start("minimum"), await start("app")];
  try {
    const requestsOf = (count: number): string[] =>
      Array.from({ length: count }, () => encodeRequest({ body: nextEvent() }));
    for (const child of [minimum, app]) await measure(child, requestsOf(WARM_UP));
    const times = await rounds(async () => {
      const requests = requestsOf(EVENTS);
      return { minimum: await measure(minimum, requests), app: await measure(app, requests) };
    });
    report({ name: `CPU of the minimum for an event, ${backend}`, values: times.map((of) => of.minimum), unit: "µs" });
    report({ name: `CPU of the app for an event, ${backend}`, values: times.map((of) => of.app), unit: "µs" });
    report({
      name: `CPU of the minimum ÷ of the app, ${backend}`,
      values: times.map((of) => of.minimum / of.app),
      wanted: { atLeast: WANTED[backend] },
    });
  } finally {
    await minimum.stop();
    await app.stop();
  }
}

async function measureReceivers(): Promise<void> {
  const servers: [kind: string, Child][] = [];
  try {
    for (const kind of Object.keys(RECEIVERS)) servers.push([kind, await startChild("_accept_server.ts", [kind])]);
    const times = await rounds(async () => {
      const round: Record<string, number> = {};
      for (const [kind, child] of servers) {
        const { request } = RECEIVERS[kind]!;
        const requests = Array.from({ length: EVENTS }, (_, n) => encodeRequest(request(n, payload)));
        round[kind] = await measure(child, requests);
      }
      return round;
    });
    for (const [kind, { name }] of Object.entries(RECEIVERS)) {
      report({ name: `CPU of ${name} for a webhook`, values: times.map((of) => of[kind]!), unit: "µs" });
    }
  } finally {
    for (const [, child] of servers) await child.stop();
  }
}

const folder = memoryFolder();
const server = await startRedis("--appendonly", "no");
try {
  for (const backend of BACKENDS) await compareWithMinimum(backend, folder.path, server.port);
  await measureReceivers();
} finally {
  await server.remove();
  folder.remove();
}
