/**
 * Compares upgrades of one step over Redis with BullMQ, which does the same: add a job, record its step, set the new
 * version, complete the job. Portals per second and processor time of the Redis server, as ratios.
 *
 * Both have 64 portals at a time in this process, take turns round by round on one server, and see new portals in every
 * round. The app also parses and verifies the events, keeps the runs, and runs each step once; its events are verified
 * before, so that neither waits for another host. For comparison only: Umzug, which runs one migration a portal and
 * records it in Redis, without a queue, retries or other processes.
 *
 *     deno run -A scripts/bench/upgrades.ts
 *     node scripts/bench/upgrades.ts          (in a project that has the package installed)
 */
import { createApp } from "@b24/onappupdate";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { Umzug } from "umzug";
import { backgroundWork, post, quietLogger, trustAll } from "../../tests/support/app.ts";
import { startRedis } from "../redis_server.ts";
import { report, rounds } from "./_bench.ts";
import { bench24, benchPortal, forEach } from "./_portals.ts";

/** Minimum ratio of the rates, and maximum ratio of the processor times of the server. */
const WANTED = { rate: 1, serverCpu: 1 };
const PORTALS = 1000;
const CONCURRENCY = 64;

const server = await startRedis("--appendonly", "no");

/** The cost of one contestant for PORTALS upgrades. */
interface Took {
  /** Portals per second. */
  readonly rate: number;
  /** Processor time (µs) of the Redis server for a portal. */
  readonly serverCpu: number;
}

async function serverCpuMicros(): Promise<number> {
  const info = await server.command("INFO", "cpu");
  const seconds = (name: string): number => Number(new RegExp(`${name}:([\\d.]+)`).exec(info)![1]);
  return (seconds("used_cpu_user") + seconds("used_cpu_sys")) * 1_000_000;
}

async function measure(run: () => Promise<void>): Promise<Took> {
  const cpuBefore = await serverCpuMicros();
  const start = performance.now();
  await run();
  const elapsed = performance.now() - start;
  return { rate: PORTALS / elapsed * 1000, serverCpu: (await serverCpuMicros() - cpuBefore) / PORTALS };
}

/** A contestant: prepares a round, and returns what is measured. */
interface Contestant {
  readonly prepare: (round: number) => Promise<() => Promise<void>>;
  readonly close: () => Promise<unknown>;
}

async function openApp(): Promise<Contestant> {
  const client = await createClient({ socket: { host: "127.0.0.1", port: server.port } }).connect();
  let upgraded = 0;
  const app = createApp({ storage: redisStorage(client), logger: quietLogger, checks: false, tickEveryMs: false })
    .use(trustAll)
    .upgrade("3", async ({ step }) => {
      await step("one", () => 1);
      upgraded++;
    });
  const { platform, settled } = backgroundWork();
  const bitrix24 = bench24();
  const send = async (body: string): Promise<void> => {
    const { status } = await app.fetch(post(body), platform);
    if (status !== 200) throw new Error(`an event was answered ${status}, wanted 200`);
  };
  return {
    prepare: async (round) => {
      const portals = Array.from({ length: PORTALS }, (_, n) => benchPortal(bitrix24, round * PORTALS + n));
      await forEach(PORTALS, CONCURRENCY, (n) => send(portals[n]!.install(2)));
      await settled();
      const updates = portals.map((portal) => portal.update(3));
      upgraded = 0;
      return async () => {
        await forEach(PORTALS, CONCURRENCY, (n) => send(updates[n]!));
        await settled();
        if (upgraded !== PORTALS) throw new Error(`upgraded ${upgraded} portals, wanted ${PORTALS}`);
      };
    },
    close: async () => {
      await app.close();
      client.destroy();
    },
  };
}

function openBullMq(): Contestant {
  const connection = { host: "127.0.0.1", port: server.port, maxRetriesPerRequest: null };
  const versions = new Redis(server.port, "127.0.0.1");
  const queue = new Queue("upgrades", { connection });
  let left = 0;
  let finish: () => void = () => {};
  const worker = new Worker("upgrades", async (job) => {
    await job.updateData({ ...job.data, step: "one" });
    await versions.set(`version:${job.data.memberId}`, "3.0.0");
  }, { connection, concurrency: CONCURRENCY });
  worker.on("completed", () => {
    if (--left === 0) finish();
  });
  return {
    prepare: async (round) => {
      await worker.waitUntilReady();
      left = PORTALS;
      const finished = new Promise<void>((resolve) => finish = resolve);
      return async () => {
        await forEach(PORTALS, CONCURRENCY, (n) => queue.add("upgrade", { memberId: `${round}-${n}`, to: "3.0.0" }));
        await finished;
      };
    },
    close: async () => {
      await worker.close();
      await queue.close();
      versions.disconnect();
    },
  };
}

function openUmzug(): Contestant {
  const client = new Redis(server.port, "127.0.0.1");
  const migrate = async (memberId: string): Promise<void> => {
    const key = `umzug:${memberId}`;
    const umzug = new Umzug({
      migrations: [{ name: "3", up: async () => void await client.set(`umzug-version:${memberId}`, "3.0.0") }],
      logger: undefined,
      storage: {
        logMigration: async ({ name }) => void await client.sadd(key, name),
        unlogMigration: async ({ name }) => void await client.srem(key, name),
        executed: () => client.smembers(key),
      },
    });
    await umzug.up();
  };
  return {
    prepare: (round) => Promise.resolve(() => forEach(PORTALS, CONCURRENCY, (n) => migrate(`${round}-${n}`))),
    close: () => Promise.resolve(client.disconnect()),
  };
}

const [app, bullMq, umzug] = [await openApp(), openBullMq(), openUmzug()];
try {
  const took = await rounds(async (round) => ({
    app: await measure(await app.prepare(round)),
    bullMq: await measure(await bullMq.prepare(round)),
    umzug: await measure(await umzug.prepare(round)),
  }));
  const contestants = [["the app", "app"], ["BullMQ", "bullMq"], ["Umzug", "umzug"]] as const;
  for (const [name, key] of contestants) {
    report({
      name: `upgrades of one step over Redis, ${name}`,
      values: took.map((of) => of[key].rate),
      unit: "per second",
    });
    report({
      name: `CPU of redis-server for an upgrade of one step, ${name}`,
      values: took.map((of) => of[key].serverCpu),
      unit: "µs",
    });
  }
  report({
    name: "upgrades of one step per second over Redis, the app ÷ BullMQ",
    values: took.map((of) => of.app.rate / of.bullMq.rate),
    wanted: { atLeast: WANTED.rate },
  });
  report({
    name: "CPU of redis-server for an upgrade of one step, the app ÷ BullMQ",
    values: took.map((of) => of.app.serverCpu / of.bullMq.serverCpu),
    wanted: { atMost: WANTED.serverCpu },
  });
} finally {
  for (const { close } of [app, bullMq, umzug]) await close();
  await server.remove();
}
