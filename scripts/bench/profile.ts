/**
 * Profiles an app that receives events with nothing to do over memory storage, as in accept.ts, and prints the functions and
 * modules that take the most time.
 *
 *     deno run -A scripts/bench/profile.ts
 *     node scripts/bench/profile.ts          (in a project that has the package installed)
 */
// deno-lint-ignore-file no-console
import { runtime } from "./_bench.ts";
import { startChild } from "./_child.ts";
import { encodeRequest, sendAll } from "./_load.ts";
import { emptyEvents } from "./_portals.ts";
import type { ProfileSummary } from "./_profile.ts";

const [WARM_UP, EVENTS] = [4000, 12_000];
const CONNECTIONS = 64;
/** Number of lines. */
const TOP = 25;

const nextEvent = emptyEvents();
const requests = Array.from({ length: WARM_UP + EVENTS }, () => encodeRequest({ body: nextEvent() }));

const child = await startChild("_accept_server.ts", ["app", "memory", "", "0"]);
try {
  const port = await child.ask<number>("port");
  await sendAll(port, requests.slice(0, WARM_UP), CONNECTIONS);
  await child.ask("cpu");
  await child.ask("startProfile");
  await sendAll(port, requests.slice(WARM_UP), CONNECTIONS);
  await child.ask("cpu");
  const { ms, functions, modules, calls } = await child.ask<ProfileSummary>("stopProfile");
  console.log(`${runtime}: ${(ms / EVENTS * 1000).toFixed(0)} µs for an event`);
  const lists = [
    ["functions, by what they take themselves", functions, TOP],
    ["modules, by what they take themselves", modules, TOP],
    ["functions, with what they call until they await it", calls, 3 * TOP],
  ] as const;
  for (const [title, times, top] of lists) {
    console.log(`\n${title}`);
    for (const { name, share } of times.slice(0, top)) {
      console.log(`${(share * 100).toFixed(1).padStart(6)} %  ${name}`);
    }
  }
} finally {
  await child.stop();
}
