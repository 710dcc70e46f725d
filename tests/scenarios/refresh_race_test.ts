import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { createApp, memoryStorage, type Storage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID, post, quietLogger } from "../support/app.ts";
import { root, runArgs } from "../support/process.ts";
import { connectRedis, startRedis } from "../support/redis.ts";
import { describe, it } from "../support/test.ts";

const CLIENT_SECRET = "client-secret-0123456789abcdef";
const PROCESSES = 3;

/** A storage that several processes can open. */
interface SharedStorage {
  readonly kind: "file" | "redis";
  /** Path or port. */
  readonly address: string;
  readonly storage: Storage;
  readonly remove: () => Promise<void>;
}

const STORAGES: Readonly<Record<string, () => Promise<SharedStorage>>> = {
  "a file": () => {
    const folder = mkdtempSync(join(tmpdir(), "onappupdate-race-"));
    const path = join(folder, "portals.db");
    const remove = (): Promise<void> => Promise.resolve(rmSync(folder, { recursive: true }));
    return Promise.resolve({ kind: "file", address: path, storage: fileStorage({ path }), remove });
  },
  Redis: async () => {
    const server = await startRedis();
    const { client, close } = await connectRedis("node-redis", [server.port]);
    const remove = async (): Promise<void> => {
      close();
      await server.remove();
    };
    return { kind: "redis", address: String(server.port), storage: redisStorage(client), remove };
  },
};

/** Starts refresh_worker.ts, which makes its calls at the line `go` and exits at `end`. */
function worker(shared: SharedStorage, bitrix24: string): {
  readonly read: () => Promise<string>;
  readonly write: (line: string) => void;
  readonly exited: Promise<unknown>;
} {
  const file = "tests/scenarios/refresh_worker.ts";
  const args = [file, shared.kind, shared.address, bitrix24, MEMBER_ID, CLIENT_ID, CLIENT_SECRET];
  const child = spawn(process.execPath, [...runArgs, ...args], { cwd: root, stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  return {
    read: async () => {
      const { value, done } = await lines.next();
      if (done) throw new Error(`${file} exited early`);
      return value;
    },
    write: (line) => void child.stdin!.write(`${line}\n`),
    exited: new Promise((resolve) => child.on("close", resolve)),
  };
}

describe(`${PROCESSES} processes with 50 calls each by an expired access token`, () => {
  for (const [name, open] of Object.entries(STORAGES)) {
    it(`over ${name}: one refresh, and no call fails`, async () => {
      const shared = await open();
      const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, clock: Date.now });
      const portal = bitrix24.portal({ memberId: MEMBER_ID });
      const server = await bitrix24.serve();
      const app = createApp({
        storage: { ...shared.storage, close: undefined as never },
        clientId: CLIENT_ID,
        clientSecret: CLIENT_SECRET,
        fetch: bitrix24.fetch,
        acknowledge: "handled",
        tickEveryMs: false,
        checks: false,
        logger: quietLogger,
      }).use(applicationToken());
      assert.equal((await app.fetch(post(portal.install(1)))).status, 200);

      const workers = Array.from({ length: PROCESSES }, () => worker(shared, server.url));
      for (const { read } of workers) assert.equal(await read(), "ready");
      for (let round = 1; round <= 2; round++) {
        portal.expireTokens();
        for (const { write } of workers) write("go");
        for (const { read } of workers) assert.equal((await read()).trim(), "50 ok 0 failed");
        assert.equal(bitrix24.refreshes(), round);
      }
      for (const { write } of workers) write("end");
      await Promise.all(workers.map(({ exited }) => exited));
      await app.close();
      await shared.storage.close?.();
      await server.close();
      await shared.remove();
    });
  }

  it("without a shared storage: the second refresh by the same token is refused", async () => {
    const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, clock: Date.now });
    const portal = bitrix24.portal({ memberId: MEMBER_ID });
    const install = portal.install(1);
    const startAlone = async () => {
      const app = createApp({
        storage: memoryStorage(),
        clientId: CLIENT_ID,
        clientSecret: CLIENT_SECRET,
        fetch: bitrix24.fetch,
        acknowledge: "handled",
        tickEveryMs: false,
        checks: false,
        logger: quietLogger,
      }).use(applicationToken());
      assert.equal((await app.fetch(post(install))).status, 200);
      return app;
    };
    const apps = [await startAlone(), await startAlone()] as const;
    portal.expireTokens();
    const tokens = await Promise.all(apps.map(({ credentials }) => credentials.get(MEMBER_ID)));
    await apps[0].credentials.refresh(MEMBER_ID, tokens[0]!);
    await assert.rejects(apps[1].credentials.refresh(MEMBER_ID, tokens[1]!), { name: "NoCredentialsError" });
    for (const app of apps) await app.close();
  });
});
