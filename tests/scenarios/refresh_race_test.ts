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
import { CLIENT_ID, MEMBER_ID, post, recordingLogger } from "../support/app.ts";
import { root, runArgs } from "../support/process.ts";
import { connectRedis, startRedis } from "../support/redis.ts";
import { describe, it } from "../support/test.ts";

const CLIENT_SECRET = "client-secret-0123456789abcdef";
const PROCESSES = 3;

interface Place {
  readonly kind: "file" | "redis";
  readonly at: string;
  readonly storage: Storage;
  readonly end: () => Promise<void>;
}

const PLACES: Readonly<Record<string, () => Promise<Place>>> = {
  "a file": () => {
    const folder = mkdtempSync(join(tmpdir(), "onappupdate-race-"));
    const at = join(folder, "portals.db");
    const end = (): Promise<void> => Promise.resolve(rmSync(folder, { recursive: true }));
    return Promise.resolve({ kind: "file", at, storage: fileStorage({ path: at }), end });
  },
  Redis: async () => {
    const server = await startRedis();
    const { client, close } = await connectRedis("node-redis", [server.port]);
    const end = async (): Promise<void> => {
      close();
      await server.remove();
    };
    return { kind: "redis", at: String(server.port), storage: redisStorage(client), end };
  },
};

/** A process that calls the portal when it is told to. */
function worker(place: Place, bitrix24: string): {
  readonly line: () => Promise<string>;
  readonly tell: (line: string) => void;
  readonly exited: Promise<unknown>;
} {
  const file = "tests/scenarios/refresh_worker.ts";
  const args = [file, place.kind, place.at, bitrix24, MEMBER_ID, CLIENT_ID, CLIENT_SECRET];
  const child = spawn(process.execPath, [...runArgs, ...args], { cwd: root, stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  return {
    line: async () => {
      const { value, done } = await lines.next();
      if (done) throw new Error(`${file} ended early`);
      return value;
    },
    tell: (line) => void child.stdin!.write(`${line}\n`),
    exited: new Promise((resolve) => child.on("close", resolve)),
  };
}

describe(`${PROCESSES} processes with 50 calls each on a token that has ended`, () => {
  for (const [name, open] of Object.entries(PLACES)) {
    it(`over ${name}: one refresh, and no call fails`, async () => {
      const place = await open();
      const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, clock: Date.now });
      const portal = bitrix24.portal({ memberId: MEMBER_ID });
      const server = await bitrix24.serve();
      const app = createApp({
        storage: { ...place.storage, close: undefined as never },
        clientId: CLIENT_ID,
        clientSecret: CLIENT_SECRET,
        fetch: bitrix24.fetch,
        acknowledge: "handled",
        tickEveryMs: false,
        checks: false,
        logger: recordingLogger().logger,
      }).use(applicationToken());
      assert.equal((await app.fetch(post(portal.install(1)))).status, 200);

      const workers = Array.from({ length: PROCESSES }, () => worker(place, server.url));
      for (const { line } of workers) assert.equal(await line(), "ready");
      for (let round = 1; round <= 2; round++) {
        portal.expireTokens();
        for (const { tell } of workers) tell("go");
        for (const { line } of workers) assert.equal((await line()).trim(), "50 ok 0 failed");
        assert.equal(bitrix24.refreshes(), round);
      }
      for (const { tell } of workers) tell("end");
      await Promise.all(workers.map(({ exited }) => exited));
      await app.close();
      await place.storage.close?.();
      await server.close();
      await place.end();
    });
  }

  it("would be refused where each process refreshed for itself", async () => {
    const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, clock: Date.now });
    const portal = bitrix24.portal({ memberId: MEMBER_ID });
    const install = portal.install(1);
    const alone = async () => {
      const app = createApp({
        storage: memoryStorage(),
        clientId: CLIENT_ID,
        clientSecret: CLIENT_SECRET,
        fetch: bitrix24.fetch,
        acknowledge: "handled",
        tickEveryMs: false,
        checks: false,
        logger: recordingLogger().logger,
      }).use(applicationToken());
      assert.equal((await app.fetch(post(install))).status, 200);
      return app;
    };
    const apps = [await alone(), await alone()] as const;
    portal.expireTokens();
    const access = await Promise.all(apps.map(({ credentials }) => credentials.get(MEMBER_ID)));
    await apps[0].credentials.refresh(MEMBER_ID, access[0]!);
    await assert.rejects(apps[1].credentials.refresh(MEMBER_ID, access[1]!), { name: "NoCredentialsError" });
    for (const app of apps) await app.close();
  });
});
