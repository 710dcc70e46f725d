import assert from "node:assert/strict";
import { createApp, encrypted, memoryStorage, type Storage } from "@b24/onappupdate";
import { bodyLimit } from "../../../src/app/body_limit.ts";
import { settingsOf } from "../../../src/app/settings.ts";
import { MEMBER_ID, post, quietLogger, recordingLogger, trustAll } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const capabilities = { durable: true, scope: "host" } as const;

/** A memory storage that takes values of at most `maxValueBytes`, as Deno KV does. */
function limited(maxValueBytes: number): Storage {
  const storage = memoryStorage();
  return {
    ...storage,
    capabilities: { ...storage.capabilities, maxValueBytes },
    put: (key, value, options) => {
      const bytes = new TextEncoder().encode(JSON.stringify(value)).length;
      if (bytes > maxValueBytes) return Promise.reject(new TypeError(`cannot store ${bytes} bytes`));
      return storage.put(key, value, options);
    },
  };
}

describe("bodyLimit()", () => {
  const KV = 786_432;
  const cases: readonly [name: string, maxValueBytes: number | undefined, option: number | undefined, limit: object][] =
    [
      ["is 1 MiB by default", undefined, undefined, { bodyBytes: 1_048_576 }],
      ["is less if the storage takes less", KV, undefined, { bodyBytes: 353_894 }],
      ["is 1 MiB for a storage that takes much more", 2 ** 30, undefined, { bodyBytes: 1_048_576 }],
      ["is the option", undefined, 10_000_000, { bodyBytes: 10_000_000 }],
      ["is the option if the storage takes it", KV, 100_000, { bodyBytes: 100_000 }],
      ["is lowered if the storage does not take the option", KV, 2 ** 20, { bodyBytes: 353_894, loweredFrom: 2 ** 20 }],
      ["is at least 1", 0, undefined, { bodyBytes: 1 }],
    ];
  for (const [name, maxValueBytes, option, limit] of cases) {
    it(name, () => {
      const all = maxValueBytes === undefined ? capabilities : { ...capabilities, maxValueBytes };
      assert.deepEqual(bodyLimit(all, option), limit);
    });
  }

  it("is in the settings of the app, with the option that it replaces", () => {
    const storage = limited(KV);
    assert.equal(settingsOf({ storage: memoryStorage() }).limits.bodyBytes, 1_048_576);
    const lowered = settingsOf({ storage, limits: { bodyBytes: 600_000 } });
    assert.deepEqual([lowered.limits.bodyBytes, lowered.bodyBytesLoweredFrom], [353_894, 600_000]);
    assert.equal("bodyBytesLoweredFrom" in settingsOf({ storage }), false);
    const key = { keys: { "1": new Uint8Array(32) }, current: "1" };
    assert.equal(settingsOf({ storage: encrypted(storage, key) }).limits.bodyBytes, 265_396);
  });

  it("is logged when the app starts", async () => {
    const { logger, lines } = recordingLogger();
    const app = createApp({ storage: limited(KV), limits: { bodyBytes: 600_000 }, logger, tickEveryMs: false });
    await app.use(trustAll).start();
    await app.close();
    const started = lines.map((line) => JSON.parse(line)).find(({ event }) => event === "app.started");
    assert.deepEqual([started.bodyBytes, started.bodyBytesLoweredFrom], [353_894, 600_000]);
  });
});

describe("a storage takes the largest body that is accepted", () => {
  const stores: readonly [name: string, storage: () => Storage][] = [
    ["of 64 KiB", () => limited(65_536)],
    ["of 64 KiB, encrypted", () => encrypted(limited(65_536), { keys: { "1": new Uint8Array(32) }, current: "1" })],
  ];
  for (const [name, storage] of stores) {
    // Quotes and line ends take twice their size in JSON.
    for (const filler of ["a", '"', "\n", "ы"]) {
      it(`${name}, full of ${JSON.stringify(filler)}`, async () => {
        const options = { storage: storage(), logger: quietLogger, acknowledge: "handled" } as const;
        let messages = 0;
        const app = createApp(options).use(trustAll).on("ONIMBOTMESSAGEADD", () => void messages++);
        const { bodyBytes } = settingsOf(options).limits;
        const auth = `auth[member_id]=${MEMBER_ID}&auth[domain]=a.bitrix24.de&auth[application_token]=t`;
        const head = `event=ONIMBOTMESSAGEADD&ts=1785312000&${auth}&data[MESSAGE]=`;
        const body = (bytes: number): string =>
          head + filler.repeat(Math.floor((bytes - head.length) / new TextEncoder().encode(filler).length));
        assert.equal((await app.fetch(post(body(bodyBytes)))).status, 200);
        assert.equal((await app.fetch(post(body(bodyBytes + 2)))).status, 413);
        await app.close();
        assert.equal(messages, 1);
      });
    }
  }
});
