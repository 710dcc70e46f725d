/** The clients of both libraries, as one. */
import type { Script } from "./scripts.ts";

/** What is used of a client of `redis`: of `createClient`, `createCluster` and `createSentinel`. */
export interface NodeRedisClient {
  /** `connect()` was called, and it was not closed since. */
  readonly isOpen: boolean;
  /** Commands are sent at once. */
  readonly isReady: boolean;
  /** Runs a script that the server knows. */
  readonly evalSha: (sha: string, options: { keys: string[]; arguments: string[] }) => Promise<unknown>;
  /** Runs a script. */
  readonly eval: (script: string, options: { keys: string[]; arguments: string[] }) => Promise<unknown>;
}

/** What is used of a client of `ioredis`: of `Redis` and `Cluster`. */
export interface IoredisClient {
  /** `ready` when commands are sent at once. */
  readonly status: string;
  /** Runs a script that the server knows. */
  readonly evalsha: (sha: string, keys: number, ...keysAndArguments: string[]) => Promise<unknown>;
  /** Runs a script. */
  readonly eval: (script: string, keys: number, ...keysAndArguments: string[]) => Promise<unknown>;
}

/** A client, whichever it is. */
export interface Connection {
  readonly state: () => "ready" | "waiting" | "closed";
  readonly evalsha: (script: Script, keys: string[], args: string[]) => Promise<unknown>;
  readonly eval: (script: Script, keys: string[], args: string[]) => Promise<unknown>;
}

/** @throws {TypeError} when the client is of neither library */
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
      // One that waits (lazyConnect) connects when it is given a command.
      state: () => /^(ready|wait)$/.test(redis.status) ? "ready" : redis.status === "end" ? "closed" : "waiting",
      evalsha: ({ sha }, keys, args) => redis.evalsha(sha, keys.length, ...keys, ...args),
      eval: ({ text }, keys, args) => redis.eval(text, keys.length, ...keys, ...args),
    };
  }
  throw new TypeError("cannot use this client, wanted one of redis (node-redis) or of ioredis");
}
