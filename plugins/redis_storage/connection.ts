/** One interface for the clients of both libraries. */
import { option, type OptionRules } from "../../mod.ts";
import type { Script } from "./scripts.ts";

/** The part of a client of `redis` that is used: of `createClient`, `createCluster` or `createSentinel`. */
export interface NodeRedisClient {
  /** Whether `connect()` was called and the client has not been closed since. */
  readonly isOpen: boolean;
  /** Whether commands are sent at once. */
  readonly isReady: boolean;
  /** Reads a string. */
  readonly get: (key: string) => Promise<unknown>;
  /** Runs a script that the server has cached. */
  readonly evalSha: (sha: string, options: { keys: string[]; arguments: string[] }) => Promise<unknown>;
  /** Runs a script. */
  readonly eval: (script: string, options: { keys: string[]; arguments: string[] }) => Promise<unknown>;
  /** Returns a client on the same connection with other options. */
  // deno-lint-ignore no-explicit-any -- the types of the options differ between the three clients
  readonly withCommandOptions: (options: any) => Pick<NodeRedisClient, "get" | "evalSha" | "eval">;
}

/** The part of a client of `ioredis` that is used: of `Redis` or `Cluster`. */
export interface IoredisClient {
  /** `ready` if commands are sent at once. */
  readonly status: string;
  /** Whether it is a `Cluster`. */
  readonly isCluster: boolean;
  /** Calls `listener` when a connection is lost, or a cluster has another node. */
  // deno-lint-ignore no-explicit-any -- the listeners of the two events take different arguments
  readonly on: (event: "close" | "+node", listener: (...args: any[]) => void) => unknown;
  /** The connections of a cluster. */
  readonly nodes?: () => readonly Pick<IoredisClient, "on">[];
  /** Reads a string. */
  readonly get: (key: string) => Promise<unknown>;
  /** Runs a script that the server has cached. */
  readonly evalsha: (sha: string, keys: number, ...keysAndArguments: string[]) => Promise<unknown>;
  /** Runs a script. */
  readonly eval: (script: string, keys: number, ...keysAndArguments: string[]) => Promise<unknown>;
}

/** A client of either library. */
export interface Connection {
  /** Returns `waiting` while the client connects or reconnects. */
  readonly state: () => "ready" | "waiting" | "closed";
  /**
   * Returns a number that changes if the client may have sent a command a second time on its own. Absent: the client does
   * so without a sign.
   */
  readonly interruptions?: () => number;
  /** Absent if the client may read from a replica, which may be stale. */
  readonly get?: (key: string) => Promise<unknown>;
  readonly evalsha: (script: Script, keys: string[], args: string[]) => Promise<unknown>;
  readonly eval: (script: Script, keys: string[], args: string[]) => Promise<unknown>;
}

/** The rule of a client that is passed to the storage. A URL may have a password, so it is not shown. */
export const CLIENT_RULES: OptionRules<{ readonly client: NodeRedisClient | IoredisClient }> = {
  client: option.required(option.value(
    "a client of redis (node-redis) 5 or later, but no pool, or of ioredis",
    (client) => isNodeRedis(client) || isIoredis(client),
    { isSecret: true },
  )),
};

function isNodeRedis(client: unknown): client is NodeRedisClient {
  const { evalSha, withCommandOptions, isReady } = Object(client) as Partial<NodeRedisClient>;
  // A pool has no `isReady`.
  return typeof evalSha === "function" && typeof withCommandOptions === "function" && typeof isReady === "boolean";
}

function isIoredis(client: unknown): client is IoredisClient {
  const { evalsha, on } = Object(client) as Partial<IoredisClient>;
  return typeof evalsha === "function" && typeof on === "function";
}

/** Returns the client as a connection. */
export function connectionOf(client: NodeRedisClient | IoredisClient): Connection {
  return isNodeRedis(client) ? nodeRedisConnection(client) : ioredisConnection(client);
}

function nodeRedisConnection(client: NodeRedisClient): Connection {
  // The client would start a timer for each command. The storage has its own for all of them.
  const commands = client.withCommandOptions({ timeout: undefined });
  const isCluster = "slots" in client;
  // Sends an interrupted command again when it has found the new master.
  const isSentinel = "getSentinelNode" in client;
  return {
    state: () => client.isReady ? "ready" : client.isOpen ? "waiting" : "closed",
    ...(isSentinel ? {} : { interruptions: () => 0 }),
    ...(isCluster || isSentinel ? {} : { get: (key) => commands.get(key) }),
    evalsha: ({ sha }, keys, args) => commands.evalSha(sha, { keys, arguments: args }),
    eval: ({ text }, keys, args) => commands.eval(text, { keys, arguments: args }),
  };
}

function ioredisConnection(client: IoredisClient): Connection {
  // Sends the commands of a lost connection again, to the same or another node.
  let interruptions = 0;
  const watch = (node: Pick<IoredisClient, "on">): unknown => node.on("close", () => void interruptions++);
  if (client.isCluster) {
    for (const node of client.nodes?.() ?? []) watch(node);
    client.on("+node", watch);
  } else watch(client);
  return {
    // With lazyConnect, a client in status `wait` connects when it receives a command.
    state: () => /^(ready|wait)$/.test(client.status) ? "ready" : client.status === "end" ? "closed" : "waiting",
    interruptions: () => interruptions,
    ...(client.isCluster ? {} : { get: (key) => client.get(key) }),
    evalsha: ({ sha }, keys, args) => client.evalsha(sha, keys.length, ...keys, ...args),
    eval: ({ text }, keys, args) => client.eval(text, keys.length, ...keys, ...args),
  };
}
