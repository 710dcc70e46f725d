/** Finds `redis-server`, or unpacks the distribution's package of it into a cache folder, without root. */
import { delimiter, join } from "node:path";
import process from "node:process";
import { cacheFolder, unpackPrograms } from "./debian_package.ts";
import { run } from "./run.ts";

/** The oldest Redis that the tests accept, as `major.minor`. */
const MIN_VERSION = "6.2";

/**
 * Puts `redis-server` on the PATH of this process and its children.
 *
 * @throws {Error} if there is none and it cannot be fetched; the message says what to install
 */
export async function ensureRedis(): Promise<void> {
  if (await works("redis-server")) return;
  const cache = cacheFolder("redis");
  const wrapper = join(cache, "bin", "redis-server");
  if (!await works(wrapper)) {
    try {
      await unpackPrograms("redis-server", ["redis-server"], cache);
    } catch (error) {
      const how = `install redis-server ${MIN_VERSION} or later (apt-get install redis-server, brew install redis)`;
      throw new Error(`cannot run the tests without Redis: ${how}`, { cause: error });
    }
  }
  process.env["PATH"] = join(cache, "bin") + delimiter + process.env["PATH"];
}

/** Whether `command` starts and is recent enough. */
async function works(command: string): Promise<boolean> {
  const { ok, stdout } = await run(command, ["--version"]);
  const version = /\bv=(\d+)\.(\d+)/.exec(stdout);
  if (!ok || version === null) return false;
  const [major, minor] = MIN_VERSION.split(".").map(Number);
  return Number(version[1]) > major! || (Number(version[1]) === major && Number(version[2]) >= minor!);
}
