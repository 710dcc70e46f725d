/** One interface for the clients of both libraries. */
import type { Script } from "./scripts.ts";

/** The part of a client of `redis` that is used: of `createClient`, `createCluster` or `createSentinel`. */
export interface NodeRedisClient {
  /** Whether `connect()` was called and the client has not been closed since. */
  readonly isOpen: boolean;
  /** Whether commands are sent at once. */
  readonly isReady: boolean;
  /** Runs a script that the server has cached. */
  readonly evalSha: (sha: string, options: { keys: string[]; arguments: string[] }) => Promise<unknown>;
  /** Runs a script. */
  readonly eval: (script: string, options: { keys: string[]; arguments: string[] }) => Promise<unknown>;
}

/** The part of a client of `ioredis` that is used: of `Redis` or `Cluster`. */
export interface IoredisClient {
  /** `ready` if commands are sent at once. */
  readonly status: string;
  /** Runs a script that the server has cached. */
  readonly evalsha: (sha: string, keys: number, ...keysAndArguments: string[]) => Promise<unknown>;
  /** Runs a script. */
  readonly eval: (script: string, keys: number, ...keysAndArguments: string[]) => Promise<unknown>;
}

/** A client of either library. */
export interface Connection {
  /** Returns `waiting` while the client connects or reconnects. */
  readonly state: () => "ready" | "waiting" | "closed";
  readonly evalsha: (script: Script, keys: string[], args: string[]) => Promise<unknown>;
  readonly eval: (script: Script, keys: string[], args: string[]) => Promise<unknown>;
}

/**
 * Returns the client as a connection.
 *
 * @throws {TypeError} if the client is of neither library
 */
export function connectionOf(client: NodeRedisClient | IoredisClient): Connection {
  if (typeof (client as NodeRedisClient | undefined)?.evalSha === "function") {
    const redis = client as NodeRedisClient;
    return {
      state: () => redis.isReady ? "ready" : redis.isOpen ? "waiting" : "closed",
      evalsha: ({ sha }, keys, args) => redis.evalSha(sha, { keys, arguments: args }),
      eval: ({ text }, keys, args) => redis.eval(text, { keys, arguments: args }),
    };
  }
  if (typeof (client as IoredisClient | undefined)?.evalsha === "function") {
    const redis = client as IoredisClient;
    return {
      // With lazyConnect, a client in status `wait` connects when it receives a command.
      state: () => /^(ready|wait)$/.test(redis.status) ? "ready" : redis.status === "end" ? "closed" : "waiting",
      evalsha: ({ sha }, keys, args) => redis.evalsha(sha, keys.length, ...keys, ...args),
      eval: ({ text }, keys, args) => redis.eval(text, keys.length, ...keys, ...args),
    };
  }
  throw new TypeError("unsupported client, wanted one of redis (node-redis) or ioredis");
}
