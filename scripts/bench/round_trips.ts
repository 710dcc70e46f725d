/**
 * Counts the round trips to Redis before an event is answered 200, through a proxy that delays replies, for both client
 * libraries. Starts a Redis server of its own.
 *
 *     deno run -A scripts/bench/round_trips.ts
 *     node scripts/bench/round_trips.ts          (in a project that has the package installed)
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { createApp, type Storage } from "@b24/onappupdate";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { backgroundWork, post, quietLogger, trustAll } from "../../tests/support/app.ts";
import { startRedis } from "../redis_server.ts";
import { report } from "./_bench.ts";

/** Maximum number of round trips. */
const WANTED = 3;
const EVENTS = 20;
/** Delay (ms) of a reply. Much longer than client and server compute, so that commands sent together count once. */
const DELAY_MS = 10;

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
  const app = createApp({ storage, logger: quietLogger, tickEveryMs: false, checks: false }).use(trustAll)
    .upgrade("3", async ({ step }) => void await step("one", () => 1));
  const { platform, settled } = backgroundWork();
  /** Returns the round trips until the answer, once the background work is done as well. */
  const send = async (body: string): Promise<number> => {
    const before = roundTrips;
    const { status } = await app.fetch(post(body), platform);
    const trips = roundTrips - before;
    if (status !== 200) throw new Error(`an event was answered ${status}, wanted 200`);
    await settled();
    return trips;
  };
  const max = { "an install": 0, "an update": 0, "a repeated update": 0 };
  // The first event also loads the scripts into the server.
  await send(newPortal().install(2));
  for (let n = 0; n < EVENTS; n++) {
    const portal = newPortal();
    max["an install"] = Math.max(max["an install"], await send(portal.install(2)));
    const update = portal.update(3);
    max["an update"] = Math.max(max["an update"], await send(update));
    max["a repeated update"] = Math.max(max["a repeated update"], await send(update));
  }
  await app.close();
  for (const [event, trips] of Object.entries(max)) {
    if (trips === 0) throw new Error(`saw no round trip before the answer to ${event}, with ${name}`);
    report({
      name: `round trips to Redis before the answer to ${event}, ${name}`,
      values: [trips],
      wanted: { atMost: WANTED },
      isExact: true,
    });
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
