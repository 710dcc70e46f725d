/**
 * Counts storage operations, bytes, Redis keys and requests that work costs. The same counts are tests:
 * tests/unit/costs_test.ts and tests/integration/costs_test.ts. Starts a Redis server of its own.
 *
 *     deno run -A scripts/bench/costs.ts
 *     node scripts/bench/costs.ts          (in a project that has the package installed)
 */
import { redisCosts, restCosts, storageCosts } from "../../tests/support/costs.ts";
import { startRedis } from "../redis_server.ts";
import { report } from "./_bench.ts";

const server = await startRedis("--appendonly", "no");
try {
  for (const costs of [await storageCosts(), await restCosts(), await redisCosts(server.port)]) {
    for (const { name, count, atMost, unit } of costs) {
      report({ name, values: [count], wanted: { atMost }, isExact: true, ...(unit === undefined ? {} : { unit }) });
    }
  }
} finally {
  await server.remove();
}
