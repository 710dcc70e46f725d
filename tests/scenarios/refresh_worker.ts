/** One process of the refresh race: for each line on stdin, calls a portal 50 times at once over the shared storage. */
import process from "node:process";
import { createInterface } from "node:readline";
import { createApp, type Storage } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { rest } from "@b24/onappupdate/rest";
import { forwardingFetch } from "@b24/onappupdate/testing";
import { quietLogger, trustAll } from "../support/app.ts";
import { connectRedis } from "../support/redis.ts";

const [kind, address, bitrix24, memberId, clientId, clientSecret] = process.argv.slice(2) as [
  "file" | "redis",
  string,
  string,
  string,
  string,
  string,
];

const redis = kind === "redis" ? await connectRedis("node-redis", [Number(address)]) : undefined;
const storage: Storage = redis === undefined ? fileStorage({ path: address }) : redisStorage(redis.client);
const portals = rest({ rate: { burst: 1000, perSecond: 1000 } });
const app = createApp({
  storage,
  clientId,
  clientSecret,
  fetch: forwardingFetch(bitrix24),
  // A busy machine must not look like an OAuth host that does not answer.
  oauthTimeoutMs: 60_000,
  logger: quietLogger,
  tickEveryMs: false,
}).use(trustAll).use(portals);
await app.start();

async function makeCalls(): Promise<string> {
  const calls = await Promise.allSettled(
    Array.from({ length: 50 }, () => portals.portal(memberId).call<{ ID: string }>("profile")),
  );
  const failed = calls.flatMap((call) => call.status === "rejected" ? [String(call.reason)] : []);
  return `${calls.length - failed.length} ok ${failed.length} failed ${failed[0] ?? ""}`;
}

const print = (line: string): boolean => process.stdout.write(`${line}\n`);
print("ready");
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "end") break;
  print(await makeCalls());
}
await app.close();
redis?.close();
process.exit(0);
