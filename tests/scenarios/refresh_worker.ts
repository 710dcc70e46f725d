/** Calls one portal many times at once when it is told to, over the storage of others. */
import process from "node:process";
import { createInterface } from "node:readline";
import { createApp, type Plugin, type Storage } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { rest } from "@b24/onappupdate/rest";
import { forwardingFetch } from "@b24/onappupdate/testing";
import { connectRedis } from "../support/redis.ts";

const [kind, place, bitrix24, memberId, clientId, clientSecret] = process.argv.slice(2) as [
  "file" | "redis",
  string,
  string,
  string,
  string,
  string,
];

const redis = kind === "redis" ? await connectRedis("node-redis", [Number(place)]) : undefined;
const storage: Storage = redis === undefined ? fileStorage({ path: place }) : redisStorage(redis.client);
const portals = rest({ rate: { burst: 1000, perSecond: 1000 } });
const trusting: Plugin = { name: "trusting", phase: "verify", around: (_ctx, next) => next() };
const quiet = (): void => {};
const app = createApp({
  storage,
  clientId,
  clientSecret,
  fetch: forwardingFetch(bitrix24),
  logger: { debug: quiet, info: quiet, warn: quiet, error: quiet },
  tickEveryMs: false,
}).use(trusting).use(portals);
await app.start();

async function round(): Promise<string> {
  const calls = await Promise.allSettled(
    Array.from({ length: 50 }, () => portals.portal(memberId).call<{ ID: string }>("profile")),
  );
  const failed = calls.flatMap((call) => call.status === "rejected" ? [String(call.reason)] : []);
  return `${calls.length - failed.length} ok ${failed.length} failed ${failed[0] ?? ""}`;
}

const say = (line: string): boolean => process.stdout.write(`${line}\n`);
say("ready");
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "end") break;
  say(await round());
}
await app.close();
redis?.close();
process.exit(0);
