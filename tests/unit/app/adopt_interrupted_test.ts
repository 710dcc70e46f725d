import assert from "node:assert/strict";
import { memoryStorage, type PortalToAdopt, type Storage } from "@b24/onappupdate";
import { StorageError, UnreachableError } from "@b24/onappupdate/errors";
import { adopted, assertNoTokens, elapsing, oldProgram } from "../../support/adoption.ts";
import { OPERATOR } from "../../support/operator.ts";
import { simulated, virtualTime } from "../../support/time.ts";
import { describe, it } from "../../support/test.ts";

describe("admin.adopt() and the load on Bitrix24", () => {
  it("keeps to 8 lines at a time, and to its budget", async () => {
    const old = oldProgram();
    const time = virtualTime(old.now);
    let [running, most] = [0, 0];
    const fetch: typeof globalThis.fetch = async (...args) => {
      most = Math.max(most, ++running);
      const { promise, resolve } = Promise.withResolvers<void>();
      time.setTimer(resolve, 3000);
      await promise;
      running--;
      return await old.bitrix24.fetch(...args);
    };
    const rows = Array.from(
      { length: 60 },
      () => ({ ...old.add(1).row, serverEndpoint: "https://oauth.bitrix.info/rest/" }),
    );
    const app = old.app({ ...simulated(time), fetch });
    let taken = 0;
    function* source(): Generator<PortalToAdopt> {
      for (const row of rows) {
        taken++;
        yield row;
      }
    }
    const done = app.admin.adopt(source(), { ...OPERATOR, perMinute: 600 });
    await time.elapse(900);
    assert.ok(taken <= 8, `${taken} lines`);
    assert.equal((await elapsing(time, done)).adopted, 60);
    assert.equal(most, 8);

    const slow = old.app({ ...simulated(time) });
    const before = old.bitrix24.requests();
    const adopting = slow.admin.adopt(rows, { ...OPERATOR, perMinute: 20 });
    await time.elapse(60_500);
    assert.equal(old.bitrix24.requests() - before, 21);
    assert.equal((await elapsing(time, adopting)).adopted, 60);
    await Promise.all([app.close(), slow.close()]);
  });

  it("waits while Bitrix24 answers 429 or 503, and adopts all", async () => {
    for (const status of [429, 503]) {
      const old = oldProgram();
      const time = virtualTime(old.now);
      const rows = Array.from({ length: 20 }, () => old.add(1).row);
      old.bitrix24.fail("QUERY_LIMIT_EXCEEDED", { at: "oauth", times: 30, status });
      const app = old.app({ ...simulated(time) });
      const done = app.admin.adopt(rows, { ...OPERATOR, perMinute: 60_000 });
      await time.elapse(500);
      const early = old.bitrix24.requests();
      assert.ok(early <= 16, `${early} requests before the first delay is over`);
      assert.equal((await elapsing(time, done)).adopted, 20, String(status));
      await app.close();
    }
  });

  it("reports a portal about which no host answers, and ends if none answers about any", async () => {
    const old = oldProgram();
    const time = virtualTime(old.now);
    const [broken, ...others] = Array.from({ length: 12 }, () => old.add(1));
    broken!.portal.lose({ at: "oauth", times: Infinity });
    const rows = [broken!, ...others].map(({ row }) => row);
    const app = old.app({ ...simulated(time) });
    const done = adopted(app, rows, { perMinute: 6000 });
    assert.deepEqual((await elapsing(time, done)).map(({ reason }) => reason), [
      "unreachable",
      ...others.map(() => undefined),
    ]);

    old.bitrix24.outage("down");
    const outage = old.app({ ...simulated(time) });
    const startedAt = time.monotonic();
    await assert.rejects(elapsing(time, outage.admin.adopt(rows, OPERATOR)), UnreachableError);
    assert.ok(time.monotonic() - startedAt > 5 * 60_000, "a short outage does not end it");
    assertNoTokens(old.lines);
    await Promise.all([app.close(), outage.close()]);
  });
});

describe("admin.adopt() ends early", () => {
  async function* hanging(row: PortalToAdopt): AsyncGenerator<PortalToAdopt> {
    yield row;
    await new Promise(() => {});
  }

  it("if its signal is aborted or the app closes, also while the source hangs", async () => {
    for (const how of ["signal", "close"]) {
      const old = oldProgram();
      const { portal, row } = old.add(2);
      const app = old.app();
      const controller = new AbortController();
      const adoptedOne = Promise.withResolvers<void>();
      const rejected = assert.rejects(
        app.admin.adopt(hanging(row), {
          ...{ ...OPERATOR, signal: controller.signal },
          onLine: () => adoptedOne.resolve(),
        }),
        { name: "AbortError" },
      );
      await adoptedOne.promise;
      assert.equal((await app.portal(portal.memberId))?.version, "2.0.0");
      if (how === "signal") controller.abort();
      await (how === "close" ? app.close() : rejected);
      await rejected;
      await app.close();
    }
  });

  it("if onLine or the source throws, after the lines under way", async () => {
    const old = oldProgram();
    const rows = Array.from({ length: 30 }, () => old.add(2).row);
    const app = old.app();
    const seen: number[] = [];
    const onLine = ({ line }: { readonly line: number }): void => {
      seen.push(line);
      if (seen.length === 3) throw new Error("the disk is full");
    };
    await assert.rejects(app.admin.adopt(rows, { ...OPERATOR, onLine, perMinute: 1_000_000 }), /the disk is full/);
    assert.ok(seen.length <= 3 + 8, String(seen.length));
    function* failing(): Generator<PortalToAdopt> {
      yield rows[29]!;
      throw new Error("the file is gone");
    }
    await assert.rejects(app.admin.adopt(failing(), OPERATOR), /the file is gone/);
    assert.equal((await app.portal(rows[29]!.memberId))?.version, "2.0.0");
    assert.equal((await app.admin.adopt(rows, { ...OPERATOR, perMinute: 1_000_000 })).notAdopted, 0);
    await app.close();
  });
});

describe("admin.adopt() interrupted at any write", () => {
  /** Returns a storage that fails once: at write number `at`, before or after it takes effect. */
  function failing(inner: Storage, at: number, when: "before" | "after"): Storage {
    let writes = 0;
    const count = async <T>(write: () => Promise<T>): Promise<T> => {
      const isLast = ++writes === at;
      if (isLast && when === "before") throw new StorageError("the storage is down");
      const result = await write();
      if (isLast) throw new StorageError("the reply is lost");
      return result;
    };
    return {
      ...inner,
      put: (...args) => count(() => inner.put(...args)),
      delete: (...args) => count(() => inner.delete(...args)),
      write: (...args) => count(() => inner.write!(...args)),
    };
  }

  for (const when of ["before", "after"] as const) {
    it(`${when} it takes effect, is completed by another call`, async () => {
      for (let at = 1; at <= 14; at++) {
        const old = oldProgram();
        const portals = [old.add(2), old.add(2), old.add(2)];
        old.now += 2 * 60 * 60 * 1000;
        const rows = portals.map(({ row }) => ({ ...row, version: "1" }));
        const storage = memoryStorage();
        // A pair that could not be stored is stored again after a while.
        const time = virtualTime(old.now);
        const first = old.app({ storage: failing(storage, at, when), ...simulated(time), clock: () => old.now });
        await elapsing(time, first.admin.adopt(rows, { ...OPERATOR, refresh: true })).catch((error) =>
          assert.ok(error instanceof StorageError, String(error))
        );

        const ran: string[] = [];
        const second = old.app({ storage }).upgrade("2", ({ memberId }) => void ran.push(memberId));
        const lines = await adopted(second, rows, { refresh: true });
        assert.ok(
          lines.every(({ outcome }) => ["adopted", "unchanged"].includes(outcome)),
          `${at}: ${JSON.stringify(lines)}`,
        );
        assert.equal(old.bitrix24.refreshes(), 3, "each pair is refreshed once");
        await second.tick();
        await second.settled();
        assert.deepEqual(ran.toSorted(), rows.map(({ memberId }) => memberId).toSorted());
        assert.deepEqual(await Array.fromAsync(storage.list(["adopt"])), []);
        await Promise.all([first.close(), second.close()]);
      }
    });
  }
});
