/** A process that stores in Redis, for the tests with several. Arguments: library, where it is, prefix. */
import process from "node:process";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { storageWorker } from "@b24/onappupdate/testing";
import { connectRedis, type RedisLibrary } from "../../../support/redis.ts";

const [, , library, ports, prefix] = process.argv as [string, string, RedisLibrary, string, string];
const { client, close } = await connectRedis(library, ports.split(",").map(Number));
await storageWorker(redisStorage(client, { prefix }));
close();
