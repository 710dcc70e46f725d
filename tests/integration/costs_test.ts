import assert from "node:assert/strict";
import { redisCosts } from "../support/costs.ts";
import { sharedRedis } from "../support/redis.ts";
import { test } from "../support/test.ts";

test("redisStorage() keys of a portal after an upgrade", async () => {
  const server = await sharedRedis();
  try {
    for (const { name, count, atMost } of await redisCosts(server.port)) {
      assert(count <= atMost, `${name}: ${count}, wanted at most ${atMost}`);
    }
  } finally {
    await server.remove();
  }
});
