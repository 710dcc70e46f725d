/** Programs of the distribution's packages, unpacked into a cache folder without root. */
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { read } from "./run.ts";

/** Returns the cache folder `name` of this user; that of root is readable by all users. */
export function cacheFolder(name: string): string {
  const caches = process.getuid?.() === 0 ? "/var/cache" : process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  return join(caches, "onappupdate", name);
}

/**
 * Downloads what `apt-get install` of a package would install here, unpacks it below `cache`, and makes scripts in
 * `cache/bin` that run its programs.
 *
 * @throws {Error} if there is no apt-get, or the package has no such program
 */
export async function unpackPrograms(name: string, programs: readonly string[], cache: string): Promise<void> {
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
    const wanted = await apt("install", "--print-uris", "--no-install-recommends", name);
    const packages = [...wanted.matchAll(/^'\S+' ([^_\s]+)_(\S+)_\w+\.deb /gm)]
      .map(([, name, version]) => `${name}=${decodeURIComponent(version!)}`);
    await apt("download", ...packages);
    for (const file of readdirSync(root).filter((file) => file.endsWith(".deb"))) {
      await read("dpkg", ["-x", file, "."], { cwd: root });
      rmSync(join(root, file));
    }
    const files = readdirSync(root, { recursive: true, encoding: "utf8" });
    for (const program of programs) {
      const file = files.find((file) => file.endsWith(`/bin/${program}`));
      if (file === undefined) throw new Error(`found no ${program} in ${packages.join(", ")}`);
      // By a script of its own, so that no other program gets these libraries.
      const script = `#!/bin/sh
here=$(dirname "$(dirname "$0")")
for libraries in "$here"/root/usr/lib "$here"/root/usr/lib/*-linux-* "$here"/root/lib "$here"/root/lib/*-linux-*; do
  LD_LIBRARY_PATH="$libraries:$LD_LIBRARY_PATH"
done
export LD_LIBRARY_PATH
exec "$here/root/${file}" "$@"
`;
      writeFileSync(join(bin, program), script, { mode: 0o755 });
    }
    for (const name of ["root", "bin"]) {
      rmSync(join(cache, name), { recursive: true, force: true });
      renameSync(join(folder, name), join(cache, name));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
