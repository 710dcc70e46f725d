import assert from "node:assert/strict";
import { encrypted, memoryStorage, type Storage } from "@b24/onappupdate";
import { CopyError, type CopyProblem, StorageError } from "@b24/onappupdate/errors";
import {
  compareKeys,
  type CopyOptions,
  type CopyProgress,
  type CopyReport,
  copyStorage,
  type Entry,
  type Key,
} from "@b24/onappupdate/storage";
import { describe, it } from "../../support/test.ts";

const HOUR_MS = 3_600_000;
const NOW = 1_785_300_000_000;
/** Unsorted. Some are the beginning of others, some sort differently as UTF-16. */
const KEYS: readonly Key[] = [
  ["portal", "b"],
  ["\u{1F600}"],
  ["\uffee"],
  ["portal"],
  ["inbox", "a", ""],
  ["inbox", "a"],
  [""],
  ["portal", "a"],
  ["a\0"],
  ["a"],
];

interface Scene {
  now: number;
  readonly from: Storage;
  readonly to: Storage;
  readonly copy: (options?: CopyOptions & { readonly from?: Storage; readonly to?: Storage }) => Promise<CopyReport>;
}

/** Returns two storages, and a function that copies from one to the other, with one clock. */
function scene(): Scene {
  const clock = (): number => made.now;
  const made: Scene = {
    now: NOW,
    from: { ...memoryStorage({ clock }), name: "old" },
    to: { ...memoryStorage({ clock }), name: "new" },
    copy: ({ from = made.from, to = made.to, ...options } = {}) => copyStorage(from, to, { clock, ...options }),
  };
  return made;
}

async function fill(storage: Storage, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await storage.put(["n", String(i).padStart(4, "0")], { i });
}

async function entries(storage: Storage): Promise<Omit<Entry<unknown>, "version">[]> {
  const found: Omit<Entry<unknown>, "version">[] = [];
  for await (const { version: _, ...entry } of storage.list<unknown>([])) found.push(entry);
  return found;
}

/** Fails unless `copied` rejects with a CopyError of these problems. */
async function incomplete(copied: Promise<unknown>, problems: readonly CopyProblem[]): Promise<CopyError> {
  let thrown: unknown;
  await copied.catch((error: unknown) => thrown = error);
  assert.ok(thrown instanceof CopyError, `saw ${thrown}`);
  assert.equal(thrown.code, "copy");
  assert.deepEqual(thrown.problems, problems);
  return thrown;
}

describe("copyStorage()", () => {
  it("copies every entry with its value and its expiry, and counts them", async () => {
    const { from, to, copy } = scene();
    for (const [i, key] of KEYS.entries()) await from.put(key, { key }, i % 3 === 0 ? { ttlMs: i * HOUR_MS + 1 } : {});
    await from.put(["gone"], 1, { ttlMs: 0 });
    assert.deepEqual(await copy(), { copied: 10, same: 0, extra: 0 });
    assert.deepEqual(await entries(to), await entries(from));
  });

  it("copies the remaining TTL", async () => {
    const made = scene();
    await made.from.put(["a"], 1, { ttlMs: 2 * HOUR_MS });
    made.now += HOUR_MS;
    await made.copy();
    assert.equal((await made.to.get(["a"]))?.expiresAt, NOW + 2 * HOUR_MS);
  });

  it("does not write entries again that the target has", async () => {
    const { from, to, copy } = scene();
    for (const [i, key] of KEYS.entries()) await from.put(key, { key }, i % 3 === 0 ? { ttlMs: HOUR_MS } : {});
    for (const key of KEYS.slice(0, 4)) {
      await to.put(key, { key }, key === KEYS[0] || key === KEYS[3] ? { ttlMs: HOUR_MS } : {});
    }
    assert.deepEqual(await copy(), { copied: 6, same: 4, extra: 0 });
    const readOnly: Storage = { ...to, put: () => Promise.reject(new Error("written")) };
    assert.deepEqual(await copy({ to: readOnly, overwrite: true }), { copied: 0, same: 10, extra: 0 });
  });

  it("leaves entries alone that only the target has, wherever they sort, and counts them", async () => {
    const { from, to, copy } = scene();
    const ordered = KEYS.toSorted(compareKeys);
    for (const [i, key] of ordered.entries()) await (i % 2 === 0 ? from : to).put(key, i);
    assert.deepEqual(await copy(), { copied: 5, same: 0, extra: 5 });
    assert.deepEqual((await entries(to)).map(({ value }) => value), ordered.map((_, i) => i));
  });

  it("finds each entry between those that only the target has", async () => {
    for (const key of KEYS) {
      const { from, to, copy } = scene();
      for (const other of KEYS) await to.put(other, other);
      await from.put(key, key);
      assert.deepEqual(await copy(), { copied: 0, same: 1, extra: KEYS.length - 1 }, JSON.stringify(key));
    }
  });

  it("treats expiry times within a minute as the same", async () => {
    const made = scene();
    await made.from.put(["a"], 1, { ttlMs: HOUR_MS });
    await made.from.put(["b"], 1, { ttlMs: HOUR_MS });
    await made.to.put(["a"], 1, { ttlMs: HOUR_MS + 60_000 });
    await made.to.put(["b"], 1, { ttlMs: HOUR_MS - 60_000 });
    assert.deepEqual(await made.copy(), { copied: 0, same: 2, extra: 0 });
  });

  it("counts an entry as the same if another writer has written it meanwhile", async () => {
    const { from, to, copy } = scene();
    await from.put(["a"], 1);
    const raced: Storage = {
      ...to,
      put: async (key, value, options) => {
        await to.put(key, value);
        return await to.put(key, value, options);
      },
    };
    assert.deepEqual(await copy({ to: raced }), { copied: 0, same: 1, extra: 0 });
  });

  it("copies from an empty storage to one with more than a batch", async () => {
    const { to, copy } = scene();
    assert.deepEqual(await copy(), { copied: 0, same: 0, extra: 0 });
    await fill(to, 150);
    assert.deepEqual(await copy(), { copied: 0, same: 0, extra: 150 });
  });

  it("treats values as the same in any order of their members", async () => {
    const { from, to, copy } = scene();
    await from.put(["a"], { a: 1, b: { c: [1, null], d: "" } });
    await to.put(["a"], { b: { d: "", c: [1, null] }, a: 1 });
    assert.deepEqual(await copy(), { copied: 0, same: 1, extra: 0 });
  });

  it("copies from a plain storage to an encrypted one, and back", async () => {
    const { from, to, copy } = scene();
    const key = Uint8Array.from({ length: 32 }, (_, i) => i);
    const options = { keys: { one: key }, current: "one" };
    await from.put(["a"], { token: "3a0f7d66" });
    await from.put(["b"], 2, { ttlMs: HOUR_MS });
    assert.deepEqual(await copy({ to: encrypted(to, options) }), { copied: 2, same: 0, extra: 0 });
    for (const { value } of await entries(to)) assert.equal((value as { encrypted: number }).encrypted, 1);
    assert.deepEqual(await copy({ to: encrypted(to, options) }), { copied: 0, same: 2, extra: 0 });

    const back = scene();
    assert.deepEqual(await copy({ from: encrypted(to, options), to: back.to }), { copied: 2, same: 0, extra: 0 });
    assert.deepEqual(await entries(back.to), await entries(from));
  });

  it("skips entries that expire during the copy", async () => {
    const made = scene();
    await fill(made.from, 100);
    await made.from.put(["n", "0050", "short"], 1, { ttlMs: 1000 });
    await made.from.put(["z"], 1, { ttlMs: 1000 });
    const progress = ({ phase, done }: CopyProgress): void => {
      if (phase === "copying" && done === 64) made.now += 1000;
    };
    assert.equal((await made.copy({ progress })).extra, 0);
    assert.equal(await made.to.get(["z"]), null);
  });

  it("writes no entry that has expired by its clock", async () => {
    const { from, to } = scene();
    await from.put(["a"], 1, { ttlMs: 1000 });
    const readOnly: Storage = { ...to, put: () => Promise.reject(new Error("written")) };
    assert.equal((await copyStorage(from, readOnly, { clock: () => NOW + 1000 })).copied, 0);
  });

  it("reports its progress in the order of the keys", async () => {
    const { from, to, copy } = scene();
    await fill(from, 150);
    await to.put(["a"], "extra");
    const reports: CopyProgress[] = [];
    await copy({ progress: (progress) => reports.push(progress) });
    for (const phase of ["copying", "verifying"] as const) {
      const ofPhase = reports.filter((report) => report.phase === phase);
      assert.equal(ofPhase.at(-1)?.done, 150);
      assert.deepEqual(ofPhase.at(-1)?.key, ["n", "0149"]);
      assert.ok(ofPhase.length > 2);
      for (const { done, key } of ofPhase) assert.deepEqual(key, ["n", String(done - 1).padStart(4, "0")]);
    }
    assert.equal(reports.findIndex(({ phase }) => phase === "verifying"), reports.length / 2);
  });
});

describe("copyStorage() copies all other entries, and rejects because of", () => {
  it("an entry that differs, unless overwrite is true", async () => {
    const { from, to, copy } = scene();
    await fill(from, 3);
    await to.put(["n", "0001"], { i: "theirs" });
    const error = await incomplete(copy(), [{ key: ["n", "0001"], problem: "different" }]);
    assert.equal(
      error.message,
      `cannot copy all entries of old to new: ["n","0001"] (different); stop everything that writes to them and ` +
        "repeat, with overwrite: true to keep what old has",
    );
    assert.deepEqual((await entries(to)).map(({ value }) => value), [{ i: 0 }, { i: "theirs" }, { i: 2 }]);
    assert.deepEqual(await copy({ overwrite: true }), { copied: 1, same: 2, extra: 0 });
    assert.deepEqual(await entries(to), await entries(from));
  });

  for (
    const [name, there] of Object.entries({
      "no expiry": {},
      "an expiry an hour earlier": { ttlMs: HOUR_MS },
      "an expiry an hour later": { ttlMs: 3 * HOUR_MS },
    })
  ) {
    it(`an entry that has ${name}`, async () => {
      const { from, to, copy } = scene();
      await from.put(["a"], 1, { ttlMs: 2 * HOUR_MS });
      await to.put(["a"], 1, there);
      await incomplete(copy(), [{ key: ["a"], problem: "different" }]);
      assert.deepEqual(await copy({ overwrite: true }), { copied: 1, same: 0, extra: 0 });
      assert.deepEqual(await entries(to), await entries(from));
    });
  }

  it("a value that differs only in its type", async () => {
    const proto: unknown = JSON.parse(`{"__proto__":{}}`);
    const pairs = [
      [[], {}],
      [0, "0"],
      [null, {}],
      [proto, { a: 1 }],
      [{ a: 1 }, { a: 1, b: 2 }],
      [{ a: 1 }, { b: 1 }],
      [[1], [1, 2]],
    ];
    for (const [a, b] of pairs.flatMap(([a, b]) => [[a, b], [b, a]])) {
      const { from, to, copy } = scene();
      await from.put(["a"], a);
      await to.put(["a"], b);
      await incomplete(copy(), [{ key: ["a"], problem: "different" }]);
    }
  });

  it("a value that has too many bytes for the target", async () => {
    const { from, to, copy } = scene();
    const small: Storage = {
      ...to,
      capabilities: { ...to.capabilities, maxValueBytes: 10 },
      put: (key, value, options) => {
        assert.ok(new TextEncoder().encode(JSON.stringify(value)).length <= 10, "was offered");
        return to.put(key, value, options);
      },
    };
    for (const [key, value] of Object.entries({ a: "12345678", b: "123456789", c: "ééééé", d: "éééé" })) {
      await from.put([key], value);
    }
    await incomplete(copy({ to: small }), ["b", "c"].map((key) => ({ key: [key], problem: "too large" })));
    assert.deepEqual((await entries(to)).map(({ key }) => key), [["a"], ["d"]]);
  });

  it("many entries, and names three of them in the message", async () => {
    const { from, to, copy } = scene();
    await fill(from, 100);
    for (let i = 10; i < 20; i++) await to.put(["n", `00${i}`], "secret");
    const problems = Array.from(
      { length: 10 },
      (_, i): CopyProblem => ({ key: ["n", `001${i}`], problem: "different" }),
    );
    const { message } = await incomplete(copy(), problems);
    assert.match(message, /"0010"\] \(different\), \["n","0011"\] .*"0012"\] \(different\) and 7 more;/);
    assert.doesNotMatch(message, /0013|secret/);
  });

  it("entries that are added or changed in the source meanwhile; counts those deleted there as extra", async () => {
    const { from, to, copy } = scene();
    await fill(from, 100);
    const progress = ({ phase, done }: CopyProgress): void => {
      if (phase !== "copying" || done !== 64) return;
      void from.put(["m"], "came");
      void from.put(["n", "0007"], "changed");
      void from.delete(["n", "0003"]);
      void from.put(["n", "0099"], "changed in time");
    };
    await incomplete(copy({ progress }), [{ key: ["m"], problem: "missing" }, {
      key: ["n", "0007"],
      problem: "different",
    }]);
    assert.deepEqual(await copy({ overwrite: true }), { copied: 2, same: 98, extra: 1 });
    assert.equal((await to.get(["n", "0099"]))?.value, "changed in time");
  });

  it("entries that others write to the target meanwhile, and keeps those", async () => {
    for (const overwrite of [false, true]) {
      const { from, to, copy } = scene();
      await fill(from, 3);
      await to.put(["n", "0002"], overwrite ? "old" : { i: 2 });
      const raced: Storage = {
        ...to,
        put: async (key, value, options) => {
          await to.put(key, "theirs");
          return await to.put(key, value, options);
        },
      };
      const lost = overwrite ? ["0000", "0001", "0002"] : ["0000", "0001"];
      await incomplete(
        copy({ to: raced, overwrite }),
        lost.map((part) => ({ key: ["n", part], problem: "different" })),
      );
      assert.equal((await to.get(["n", "0001"]))?.value, "theirs");
    }
  });

  const broken: Readonly<Record<string, readonly [put: (to: Storage) => Storage["put"], CopyProblem["problem"]]>> = {
    "a target that loses entries": [() => () => Promise.resolve({ ok: true, version: "1" }), "missing"],
    "a target that changes values": [(to) => (key, _, options) => to.put(key, "?", options), "different"],
    "a target that ignores ttlMs": [(to) => (key, value) => to.put(key, value), "different"],
  };
  for (const [name, [put, problem]] of Object.entries(broken)) {
    it(name, async () => {
      const { from, to, copy } = scene();
      await from.put(["a"], 1, { ttlMs: HOUR_MS });
      await incomplete(copy({ to: { ...to, put: put(to) } }), [{ key: ["a"], problem }]);
    });
  }
});

describe("copyStorage() refuses", () => {
  const mistakes: readonly (readonly [options: unknown, message: string])[] = [
    [{ overwrite: "yes" }, 'overwrite "yes", wanted true or false'],
    [{ progress: {} }, "progress an object, wanted a function"],
    [{ signal: new AbortController() }, "signal an object, wanted an AbortSignal"],
    [{ clock: 5 }, "clock 5, wanted a function"],
    [{ onProgress: () => {} }, "the option onProgress that does not exist, wanted progress"],
  ];
  for (const [options, message] of mistakes) {
    it(message, async () => {
      await assert.rejects(copyStorage(memoryStorage(), memoryStorage(), options as never), {
        name: "TypeError",
        message: `cannot copy with ${message}`,
      });
    });
  }

  it("what is no storage", async () => {
    const wanted = "wanted a storage, such as memoryStorage() to try it out";
    const refused = async (from: unknown, to: unknown, message: string): Promise<void> =>
      await assert.rejects(copyStorage(from as Storage, to as Storage), {
        name: "TypeError",
        message: `cannot copy with ${message}, ${wanted}`,
      });
    await refused(undefined, memoryStorage(), "from undefined");
    await refused(memoryStorage(), { path: "portals.db" }, "to an object");
  });
});

describe("copyStorage() interrupted", () => {
  /** Returns `storage` whose nth call of `method` fails: instead of being done, or after it is done. */
  function failing(storage: Storage, method: "put" | "list", n: number, after = false): Storage {
    let calls = 0;
    const down = (): never => {
      throw new StorageError(`cannot ${method}: it is down`);
    };
    return {
      ...storage,
      put: async (...args) => {
        const fails = method === "put" && ++calls === n;
        if (fails && !after) down();
        await new Promise((resolve) => setTimeout(resolve, 0));
        const result = await storage.put(...args);
        return fails ? down() : result;
      },
      list: async function* <T>(...args: Parameters<Storage["list"]>): AsyncGenerator<Entry<T>> {
        for await (const entry of storage.list<T>(...args)) {
          if (method === "list" && ++calls === n) down();
          yield entry;
        }
      },
    };
  }

  const faults: Readonly<Record<string, (made: Scene) => { readonly from?: Storage; readonly to?: Storage }>> = {
    "at the first write": ({ to }) => ({ to: failing(to, "put", 1) }),
    "at a write": ({ to }) => ({ to: failing(to, "put", 100) }),
    "after a write whose reply was lost": ({ to }) => ({ to: failing(to, "put", 100, true) }),
    "while the source is listed": ({ from }) => ({ from: failing(from, "list", 90) }),
    "while the target is listed": ({ to }) => ({ to: failing(to, "list", 5) }),
    "while it verifies": ({ from }) => ({ from: failing(from, "list", 200) }),
  };
  for (const [name, fault] of Object.entries(faults)) {
    it(`${name} rejects, writes nothing more, and completes when it is repeated`, async () => {
      const made = scene();
      await fill(made.from, 150);
      for (let i = 0; i < 10; i++) await made.to.put(["n", String(i).padStart(4, "0")], { i });
      await assert.rejects(made.copy(fault(made)), StorageError);
      const { length } = await entries(made.to);
      await new Promise((resolve) => setTimeout(resolve, 1));
      assert.equal((await entries(made.to)).length, length);
      assert.deepEqual(await made.copy(), { copied: 150 - length, same: length, extra: 0 });
      assert.deepEqual(await entries(made.to), await entries(made.from));
    });
  }

  it("by its signal rejects with its reason, and completes when it is repeated", async () => {
    for (const stop of [{ phase: "copying", done: 64 }, { phase: "verifying", done: 64 }] as const) {
      const { from, to, copy } = scene();
      await fill(from, 150);
      const controller = new AbortController();
      const reason = new Error("enough");
      const progress = ({ phase, done }: CopyProgress): void => {
        if (phase === stop.phase && done === stop.done) controller.abort(reason);
      };
      const isReason = (error: unknown): boolean => error === reason;
      await assert.rejects(copy({ signal: controller.signal, progress }), isReason);
      assert.equal((await entries(to)).length, stop.phase === "copying" ? 64 : 150);
      await assert.rejects(copy({ signal: controller.signal }), isReason);
      assert.equal((await copy({ signal: new AbortController().signal })).extra, 0);
      assert.deepEqual(await entries(to), await entries(from));
    }
  });

  it("closes its listings", async () => {
    const { from, to, copy } = scene();
    await fill(from, 150);
    await fill(to, 70);
    let open = 0;
    const watched = (storage: Storage): Storage => ({
      ...storage,
      list: async function* <T>(...args: Parameters<Storage["list"]>): AsyncGenerator<Entry<T>> {
        open++;
        try {
          yield* storage.list<T>(...args);
        } finally {
          open--;
        }
      },
    });
    for (const fault of [{ from: failing(from, "list", 3) }, { to: failing(to, "put", 1) }]) {
      const { from: source = from, to: target = to } = fault as { from?: Storage; to?: Storage };
      await assert.rejects(copy({ from: watched(source), to: watched(target) }), StorageError);
      assert.equal(open, 0);
    }
  });

  it("passes its signal to the storages", async () => {
    const { from, to, copy } = scene();
    await from.put(["a"], 1);
    const { signal } = new AbortController();
    const seen: unknown[] = [];
    const spy = (storage: Storage): Storage => ({
      ...storage,
      put: (key, value, options) => {
        seen.push(options?.signal);
        return storage.put(key, value, options);
      },
      list: (prefix, options) => {
        seen.push(options?.signal);
        return storage.list(prefix, options);
      },
    });
    await copy({ from: spy(from), to: spy(to), signal });
    assert.deepEqual(seen, [signal, signal, signal, signal, signal]);
  });

  it("by an error of `progress` rejects with it", async () => {
    const { from, to, copy } = scene();
    await fill(from, 150);
    const enough = new Error("enough");
    const progress = (): never => {
      throw enough;
    };
    await assert.rejects(copy({ progress }), (error) => error === enough);
    assert.equal((await entries(to)).length, 64);
  });
});
