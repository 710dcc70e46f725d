/** Clients of Redis, clusters, and a proxy for them. */
import process from "node:process";
import { Cluster, Redis } from "ioredis";
import { createClient, createCluster } from "redis";
import type { IoredisClient, NodeRedisClient } from "@b24/onappupdate/redis-storage";
import { type RedisServer, sendCommand, startRedis } from "../../scripts/redis_server.ts";
import { type Proxy, startProxy } from "./proxy.ts";
import { until } from "./until.ts";

export { type RedisServer, startRedis };

export type RedisLibrary = "node-redis" | "ioredis";

export interface OpenClient {
  readonly client: NodeRedisClient | IoredisClient;
  readonly close: () => void;
}

/**
 * Time (ms) that a connection may take. By default, one fails if other work keeps the process from noticing it for 5 or 10
 * seconds, which happens on busy machines.
 */
const CONNECT_TIMEOUT_MS = 300_000;

/** Connects a client of `library` to a server at one port, or to a cluster with nodes at several ports. */
export async function connectRedis(library: RedisLibrary, ports: readonly number[]): Promise<OpenClient> {
  const nodes = ports.map((port) => ({ host: "127.0.0.1", port, connectTimeout: CONNECT_TIMEOUT_MS }));
  // Both libraries report here the connections that the tests break.
  const ignore = (): void => {};
  if (library === "ioredis") {
    const client = nodes.length === 1
      ? new Redis(nodes[0]!)
      : new Cluster(nodes, { redisOptions: { connectTimeout: CONNECT_TIMEOUT_MS } });
    client.on("error", ignore);
    return { client, close: () => client.disconnect() };
  }
  const client = nodes.length === 1 ? createClient({ socket: nodes[0]! }) : createCluster({
    rootNodes: nodes.map((socket) => ({ socket })),
    defaults: { socket: { connectTimeout: CONNECT_TIMEOUT_MS } },
  });
  client.on("error", ignore);
  await client.connect();
  return { client, close: () => client.destroy() };
}

/** A server that tests share. */
export type SharedRedis = Pick<RedisServer, "port" | "command" | "remove">;

/**
 * Returns the server that the test runner has started for all files, or a new one if there is none. Several files use it
 * at once, each with a prefix of its own: they must not stop it, change its settings or delete keys of others.
 */
export async function sharedRedis(): Promise<SharedRedis> {
  const port = Number(process.env["TEST_REDIS_PORT"]);
  if (!port) return await startRedis("--appendonly", "no");
  return { port, command: (name, ...args) => sendCommand(port, name, ...args), remove: () => Promise.resolve() };
}

export interface RedisCluster {
  readonly ports: readonly number[];
  readonly nodes: readonly RedisServer[];
  /** Stops all nodes and removes their files. */
  readonly remove: () => Promise<void>;
}

/** Starts a cluster of three masters, which share the slots. */
export async function startCluster(): Promise<RedisCluster> {
  const nodes: RedisServer[] = [];
  const remove = async (): Promise<void> => void await Promise.all(nodes.map((node) => node.remove()));
  try {
    for (const [from, to] of [[0, 5460], [5461, 10_922], [10_923, 16_383]] as const) {
      // Without --appendonly, so that a slow disk does not make a node look down.
      const node = await startRedis(
        ...["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"],
        ...["--appendonly", "no", "--cluster-config-file", "nodes.conf"],
      );
      nodes.push(node);
      const slots = Array.from({ length: to - from + 1 }, (_, i) => String(from + i));
      await node.command("CLUSTER", "ADDSLOTS", ...slots);
      if (node !== nodes[0]) await node.command("CLUSTER", "MEET", "127.0.0.1", String(nodes[0]!.port));
    }
    for (const node of nodes) {
      await until("all nodes of the cluster know each other", async () => {
        const info = await node.command("CLUSTER", "INFO");
        return /cluster_state:ok/.test(info) && /cluster_known_nodes:3/.test(info);
      });
    }
  } catch (error) {
    await remove();
    throw error;
  }
  return { nodes, ports: nodes.map(({ port }) => port), remove };
}

/** Starts a proxy between clients and the server at the port `target`. Only the storage's writes have a number as reply. */
export async function startRedisProxy(target: number): Promise<Proxy> {
  return await startProxy(target, (data) => data[0] === ":".charCodeAt(0));
}
