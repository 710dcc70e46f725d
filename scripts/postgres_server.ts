/** PostgreSQL servers of our own. */
import { chmodSync, chownSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { ensurePostgres } from "./postgres_binary.ts";
import { read } from "./run.ts";
import { type ServerProcess, startServer } from "./server_process.ts";

/** A server that can be stopped and started again. */
export interface PostgresServer extends Omit<ServerProcess, "signal"> {
  /** Address of its database, for a superuser without a password. */
  readonly url: string;
}

/** PostgreSQL refuses to run as root: nobody on Debian. */
const NOBODY = { uid: 65534, gid: 65534 };

/**
 * Starts an empty server and waits until it accepts connections. `settings` are settings of its configuration, such as
 * `max_connections=20`. It does not wait for the disk, because the tests kill the server, and not the host.
 *
 * @throws {Error} if there is no PostgreSQL and it cannot be fetched, or the server ends
 */
export async function startPostgres(...settings: readonly string[]): Promise<PostgresServer> {
  await ensurePostgres();
  const isRoot = process.getuid?.() === 0;
  const server = await startServer({
    command: "postgres",
    args: (port, folder) =>
      ["-D", join(folder, "data"), "-p", String(port)].concat(
        ...["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", ...settings]
          .map((setting) => ["-c", setting]),
      ),
    prepare: async (folder) => {
      const data = join(folder, "data");
      mkdirSync(data, { mode: 0o700 });
      if (isRoot) {
        chmodSync(folder, 0o755);
        chownSync(data, NOBODY.uid, NOBODY.gid);
      }
      const options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"];
      await read("initdb", ["-D", data, ...options], { cwd: folder, ...(isRoot ? { user: NOBODY } : {}) });
    },
    ready: /database system is ready to accept connections/,
    taken: /Address already in use|could not bind|lock file .* already exists|pre-existing shared memory/,
    wanted: "version 12 or later (apt-get install postgresql)",
    // Ends the connections; SIGTERM would wait for their clients.
    stopSignal: "SIGINT",
    ...(isRoot ? { user: NOBODY } : {}),
  });
  return { ...server, url: `postgres://postgres@127.0.0.1:${server.port}/postgres` };
}
