/** Finds `redis-server`, or unpacks the distribution's package of it into a cache folder, without root. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";
import { read, run } from "./run.ts";

/** The oldest Redis that the tests accept, as `major.minor`. */
const MIN_VERSION = "6.2";

/**
 * Puts `redis-server` on the PATH of this process and its children.
 *
 * @throws {Error} if there is none and it cannot be fetched; the message says what to install
 */
export async function ensureRedis(): Promise<void> {
  if (await works("redis-server")) return;
  const cache = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "onappupdate", "redis");
  const wrapper = join(cache, "bin", "redis-server");
  if (!await works(wrapper)) {
    try {
      await fetchPackage(cache);
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

/** Downloads what `apt-get install redis-server` would install here, and unpacks it below `cache`. */
async function fetchPackage(cache: string): Promise<void> {
  mkdirSync(cache, { recursive: true });
  // Complete or absent: another run may do the same at the same time.
  const folder = mkdtempSync(join(cache, "part-"));
  const [lists, root, bin] = [join(folder, "lists"), join(folder, "root"), join(folder, "bin")];
  for (const path of [join(lists, "partial"), root, bin]) mkdirSync(path, { recursive: true });
  // Package lists of our own: those of the system can be absent or old, and only root may update them.
  const apt = (...args: string[]): Promise<string> => {
    const options = [`Dir::State::lists=${lists}`, `Dir::Cache=${folder}`, "Debug::NoLocking=1"];
    return read("apt-get", ["-qq", ...options.flatMap((option) => ["-o", option]), ...args], { cwd: root });
  };
  try {
    await apt("update");
    // Lines such as `'http://…/redis-server_7.0.15-1_amd64.deb' redis-server_5%3a7.0.15-1_amd64.deb 72408 SHA256:…`.
    const wanted = await apt("install", "--print-uris", "--no-install-recommends", "redis-server");
    const packages = [...wanted.matchAll(/^'\S+' ([^_\s]+)_(\S+)_\w+\.deb /gm)]
      .map(([, name, version]) => `${name}=${decodeURIComponent(version!)}`);
    await apt("download", ...packages);
    for (const file of readdirSync(root).filter((file) => file.endsWith(".deb"))) {
      await read("dpkg", ["-x", file, "."], { cwd: root });
      rmSync(join(root, file));
    }
    const server = join("root", "usr", "bin", "redis-server");
    if (!existsSync(join(folder, server))) throw new Error(`found no redis-server in ${packages.join(", ")}`);
    // By a script of its own, so that no other program gets these libraries.
    const script = `#!/bin/sh
here=$(dirname "$(dirname "$0")")
for libraries in "$here"/root/usr/lib "$here"/root/usr/lib/*-linux-* "$here"/root/lib "$here"/root/lib/*-linux-*; do
  LD_LIBRARY_PATH="$libraries:$LD_LIBRARY_PATH"
done
export LD_LIBRARY_PATH
exec "$here/${server}" "$@"
`;
    writeFileSync(join(bin, "redis-server"), script, { mode: 0o755 });
    for (const name of ["root", "bin"]) {
      rmSync(join(cache, name), { recursive: true, force: true });
      renameSync(join(folder, name), join(cache, name));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
