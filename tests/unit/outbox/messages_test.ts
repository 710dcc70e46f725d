import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import {
  buryMessage,
  deleteMessage,
  deleteStored,
  type DueMessage,
  listDueMessages,
  type MessageOptions,
  moveMessage,
  putMessage,
  type StoredMessage,
  takeMessage,
  type TakenMessage,
} from "../../../src/outbox/messages.ts";
import { deadLetterKey, outboxMessageKey } from "../../../src/portal/keys.ts";
import { describe, it } from "../../support/test.ts";
import { type VirtualTime, virtualTime } from "../../support/time.ts";
import { withoutWrite } from "../../support/without_write.ts";

const MINUTE = 60_000;
const NAME = { plugin: "chat", id: "1" };
const LETTER = deadLetterKey("chat", "1");

interface TakenTwice {
  readonly time: VirtualTime;
  readonly storage: Storage;
  readonly options: MessageOptions;
  readonly due: () => Promise<readonly DueMessage[]>;
  readonly first: TakenMessage;
  readonly second: TakenMessage;
  /** Returns the message as it is stored. */
  readonly stored: () => Promise<StoredMessage | undefined>;
  readonly letter: () => Promise<StoredMessage | undefined>;
}

/** Returns a message that a process has taken for a minute, and another one after that. */
async function takenTwice(isAtomic: boolean): Promise<TakenTwice> {
  const time = virtualTime();
  const memory = memoryStorage({ clock: time.now });
  const storage: Storage = isAtomic ? memory : withoutWrite(memory);
  const options = { storage, clock: time.now, random: () => crypto.randomUUID() };
  const due = async (): Promise<DueMessage[]> => await Array.fromAsync(listDueMessages(storage, time.now()));
  const take = async (): Promise<TakenMessage> => (await takeMessage(options, (await due())[0]!, time.now() + MINUTE))!;
  await putMessage(options, NAME, { message: "hello" }, time.now());
  const first = await take();
  assert.deepEqual(await due(), []);
  await time.elapse(MINUTE);
  const second = await take();
  return {
    ...{ time, storage, options, due, first, second },
    stored: async () => (await storage.get<StoredMessage>(outboxMessageKey("chat", "1")))?.value,
    letter: async () => (await storage.get<StoredMessage>(LETTER))?.value,
  };
}

/** Returns the storage, which runs `after` once it has read the message. */
function withAfterRead(storage: Storage, after: () => Promise<void>): Storage {
  let isDone = false;
  return {
    ...storage,
    get: async (key, options) => {
      const entry = await storage.get(key, options);
      if (!isDone && key[1] === outboxMessageKey("chat", "1")[1]) {
        isDone = true;
        await after();
      }
      return entry as never;
    },
  };
}

for (const isAtomic of [true, false]) {
  describe(`a message that another process has taken since, ${isAtomic ? "one write at once" : "one by one"}`, () => {
    it("is not deleted", async () => {
      const { storage, time, due, first, second, stored } = await takenTwice(isAtomic);
      assert.equal(await deleteMessage(storage, first), false);
      assert.equal(await deleteStored(storage, first.entry), false);
      assert.deepEqual(await stored(), second.entry.value);
      await time.elapse(MINUTE);
      assert.deepEqual((await due()).map(({ due }) => due), [second.entry.value.due], "it has its place");
      assert.equal(await deleteMessage(storage, second), true);
      assert.deepEqual(await Array.fromAsync(storage.list(["outbox"])), []);
    });

    it("does not become a dead letter", async () => {
      const { storage, time, first, second, stored, letter } = await takenTwice(isAtomic);
      assert.equal(await buryMessage(storage, first, { error: "no", deadAt: time.now() }), false);
      assert.deepEqual([await stored(), await letter()], [second.entry.value, undefined]);
    });

    it("stays the dead letter that the other process has made of it", async () => {
      const { storage, time, first, second, stored, letter } = await takenTwice(isAtomic);
      assert.equal(await buryMessage(storage, second, { error: "the second", deadAt: time.now() }), true);
      await time.elapse(1);
      assert.equal(await buryMessage(storage, first, { error: "the first", deadAt: time.now() }), false);
      assert.deepEqual([await stored(), (await letter())?.error], [undefined, "the second"]);
    });

    it("stays the dead letter that the other process makes of it meanwhile", async () => {
      const { options, storage, time, second, stored, letter } = await takenTwice(isAtomic);
      const deadAt = time.now();
      const overtaken = withAfterRead(storage, async () => {
        const third = await moveMessage(options, second, deadAt, { attempts: 3 });
        assert.equal(await buryMessage(storage, third!, { error: "the third", deadAt }), true);
      });
      assert.equal(await buryMessage(overtaken, second, { error: "the second", deadAt }), false);
      assert.deepEqual([await stored(), (await letter())?.error], [undefined, "the third"]);
    });

    it("leaves no dead letter if the other process takes it meanwhile", async () => {
      const { options, storage, time, second, stored, letter } = await takenTwice(isAtomic);
      let third: TakenMessage | undefined;
      const overtaken = withAfterRead(storage, async () => {
        third = await moveMessage(options, second, time.now(), { attempts: 3 });
      });
      assert.equal(await buryMessage(overtaken, second, { error: "no", deadAt: time.now() }), false);
      assert.deepEqual([await stored(), await letter()], [third!.entry.value, undefined]);
    });

    it("is not moved", async () => {
      const { options, time, due, first, second, stored } = await takenTwice(isAtomic);
      assert.equal(await moveMessage(options, first, time.now(), {}), undefined);
      assert.deepEqual(await stored(), second.entry.value);
      assert.deepEqual(await due(), []);
    });
  });
}

it("a message becomes a dead letter in place of an older one with its name", async () => {
  const { storage, time, second, stored, letter } = await takenTwice(true);
  await storage.put(LETTER, { ...second.entry.value, error: "an older one", deadAt: 1 });
  assert.equal(await buryMessage(storage, second, { error: "no", deadAt: time.now() }), true);
  assert.deepEqual([await stored(), (await letter())?.error], [undefined, "no"]);
  assert.deepEqual(await Array.fromAsync(storage.list(["outbox"]), ({ key }) => key), [LETTER]);
});
