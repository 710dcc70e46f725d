/**
 * How often an event goes to Redis and back before it is answered 200: counted on the wire, for both clients, in a slow
 * network. Starts a Redis server of its own.
 *
 *     deno run -A scripts/bench/round_trips.ts
 *     node scripts/bench/round_trips.ts          (in a project that has the package installed)
 */
// deno-lint-ignore-file no-console
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import process from "node:process";
import { createApp, type Plugin, type Storage } from "@b24/onappupdate";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { startRedis } from "../redis_server.ts";

const WANTED = 3;
const EVENTS = 20;
/** Long beside what takes the client and the server to answer, so that what is sent at once counts once. */
const DELAY_MS = 10;

const trusting: Plugin = { name: "trusting", phase: "verify", around: (_ctx, next) => next() };
const quiet = (): void => {};
const logger = { debug: quiet, info: quiet, warn: quiet, error: quiet };
const bitrix24 = fakeBitrix24({ clientId: "app.5f3a" });
let portals = 0;
const newPortal = (): FakePortal => bitrix24.portal({ memberId: (++portals).toString(16).padStart(32, "0") });

const server = await startRedis("--appendonly", "no");
let roundTrips = 0;
const proxy = createServer((client) => {
  const upstream = connect(server.port, "127.0.0.1").setNoDelay(true);
  let isAnswered = true;
  client.setNoDelay(true).on("data", (data) => {
    if (isAnswered) roundTrips++;
    isAnswered = false;
    upstream.write(data);
  });
  upstream.on("data", (data) =>
    void setTimeout(() => {
      isAnswered = true;
      client.write(data);
    }, DELAY_MS));
  client.on("close", () => upstream.destroy());
}).listen(0, "127.0.0.1");
await once(proxy, "listening");
const { port } = proxy.address() as AddressInfo;

async function measure(name: string, storage: Storage): Promise<void> {
  const app = createApp({ storage, logger, tickEveryMs: false, checks: false }).use(trusting)
    .upgrade("3", async ({ step }) => void await step("one", () => 1));
  /** Round trips until the answer; resolves when the work is done, too. */
  const post = async (body: string): Promise<number> => {
    const works: Promise<unknown>[] = [];
    const host = { waitUntil: (work: Promise<unknown>): void => void works.push(work) };
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const request = new Request("http://localhost/", { method: "POST", body, headers });
    const before = roundTrips;
    const { status } = await app.fetch(request, host);
    const trips = roundTrips - before;
    if (status !== 200) throw new Error(`an event was answered ${status}`);
    await Promise.all(works);
    return trips;
  };
  const most = { "an install": 0, "an update": 0, "a repeated update": 0 };
  // The first one also tells the server of the scripts.
  await post(newPortal().install(2));
  for (let n = 0; n < EVENTS; n++) {
    const portal = newPortal();
    most["an install"] = Math.max(most["an install"], await post(portal.install(2)));
    const update = portal.update(3);
    most["an update"] = Math.max(most["an update"], await post(update));
    most["a repeated update"] = Math.max(most["a repeated update"], await post(update));
  }
  await app.close();
  for (const [event, trips] of Object.entries(most)) {
    console.log(`${name}: ${trips} round trips before the answer to ${event}, wanted at most ${WANTED}`);
    if (trips === 0 || trips > WANTED) process.exitCode = 1;
  }
}

const nodeRedis = createClient({ socket: { port, host: "127.0.0.1" } });
await nodeRedis.connect();
await measure("node-redis", redisStorage(nodeRedis));
await nodeRedis.close();
const ioredis = new Redis(port, "127.0.0.1");
await measure("ioredis", redisStorage(ioredis));
ioredis.disconnect();
proxy.close();
await server.remove();
