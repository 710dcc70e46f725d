import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import type { Entry, Key } from "@b24/onappupdate/storage";
import { silenceKey } from "../../../../src/portal/keys.ts";
import { OPERATOR } from "../../../support/operator.ts";
import { describe, it } from "../../../support/test.ts";
import { virtualTime } from "../../../support/time.ts";
import { HOUR, MINUTE, notifier } from "./_notifier.ts";

const KEYS: readonly Key[] = [["plugin", "notifications", "group", "portal_parked-0"], silenceKey("0")];

/** Lacks the encryption key of {@linkcode KEYS}. Unlike that of `encrypted()`, its work ends without time passing. */
function withoutKey(storage: Storage): Storage {
  const assertReadable = (key: Key): void => {
    const unreadable = KEYS.find((other) => String(other) === String(key));
    if (unreadable !== undefined) throw new StorageError("its encryption key is missing", { unreadableKey: key });
  };
  return {
    ...storage,
    get: async <T>(key: Key) => {
      assertReadable(key);
      return await storage.get<T>(key);
    },
    list: async function* <T>(...args: Parameters<Storage["list"]>): AsyncGenerator<Entry<T>> {
      for await (const entry of storage.list<T>(...args)) {
        assertReadable(entry.key);
        yield entry;
      }
    },
  };
}

describe("what the notifier has stored and cannot read", () => {
  for (
    const [why, format, open] of [
      ["newer code has stored it", 1000, (storage: Storage) => storage],
      ["its encryption key is missing", 1, withoutKey],
    ] as const
  ) {
    it(`holds back no other notification and no silence: ${why}`, async () => {
      const time = virtualTime();
      const storage = memoryStorage({ clock: time.now });
      for (const key of KEYS) await storage.put(key, { format });
      const made = await notifier({ world: { time, storage: open(storage) } });
      await made.install(2);
      await made.park(0, 1);
      await made.time.elapse(2 * MINUTE);
      assert.deepEqual(made.news(), ["firing 1 portal is parked in upgrade 3"]);

      const silences = made.app.admin.silences;
      const { id } = await silences.add({ upgradeId: "3", until: time.now() + HOUR, ...OPERATOR });
      await made.park(1, 2, "another reason");
      await time.elapse(10 * MINUTE);
      assert.deepEqual(made.news(), []);
      assert.deepEqual((await silences.list()).map((silence) => silence.id), [id]);
      await silences.remove("0", OPERATOR);
      await silences.remove(id, OPERATOR);
      await time.elapse(10 * MINUTE);
      assert.deepEqual(made.news(), ["firing 1 portal is parked in upgrade 3"]);
      // It may name the portal.
      await assert.rejects(made.app.admin.forget(made.portal(0).memberId, OPERATOR));
      await made.close();
    });
  }
});
