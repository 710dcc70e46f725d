/** A process on a Redis storage, for the requirements that need several. Arguments: library, ports, prefix. */
import process from "node:process";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { storageWorker } from "@b24/onappupdate/testing";
import { connectRedis, type RedisLibrary } from "../../../support/redis.ts";

const [, , library, ports, prefix] = process.argv as [string, string, RedisLibrary, string, string];
const { client, close } = await connectRedis(library, ports.split(",").map(Number));
await storageWorker(redisStorage(client, { prefix }));
close();
