import assert from "node:assert/strict";
import { FormatError, StorageError } from "@b24/onappupdate/errors";
import { type BackendCall, createBackendCaller } from "@b24/onappupdate/storage";
import { describe, it } from "../../support/test.ts";

const read = (): string => `get ["a"] from a backend`;
const never = <T>(): Promise<T> => new Promise(() => {});

describe("createBackendCaller()", () => {
  it("returns the result of a call", async () => {
    assert.equal(await createBackendCaller(1000)(read, undefined, () => Promise.resolve(1)), 1);
  });

  it("turns an error into a StorageError with the first line of its message, and keeps it as cause", async () => {
    const cause = new Error("connection refused\n    at the client");
    await assert.rejects(createBackendCaller(1000)(read, undefined, () => Promise.reject(cause)), {
      name: "StorageError",
      message: `cannot get ["a"] from a backend: connection refused`,
      cause,
    });
  });

  for (const error of [new StorageError("cannot get"), new FormatError("an entry", 2, 1)]) {
    it(`passes a ${error.name} through`, async () => {
      const failed = createBackendCaller(1000)(read, undefined, () => Promise.reject(error));
      await assert.rejects(failed, (thrown) => thrown === error);
    });
  }

  it("rejects after the timeout, and tells the call that it is settled", async () => {
    let started: BackendCall | undefined;
    const timedOut = createBackendCaller(5)(read, undefined, (call) => {
      started = call;
      return never();
    });
    assert.equal(started?.isSettled, false);
    await assert.rejects(timedOut, {
      name: "StorageError",
      message: `cannot get ["a"] from a backend: no reply for 5 milliseconds`,
    });
    assert.equal(started?.isSettled, true);
  });

  it("reports what the call was waiting for, with the cause of that", async () => {
    const locked = new Error("database is locked");
    const timedOut = createBackendCaller(5)(read, undefined, (call) => {
      call.status = "no lock";
      call.cause = locked;
      return never();
    });
    await assert.rejects(timedOut, ({ message, cause }: Error) => {
      assert.match(message, /: no lock for 5 milliseconds$/);
      return cause === locked;
    });
  });

  it("rejects at once with the reason of a signal that is aborted during the call", async () => {
    const controller = new AbortController();
    const reason = new Error("given up");
    const aborted = createBackendCaller(60_000)(read, controller.signal, never);
    controller.abort(reason);
    await assert.rejects(aborted, (error) => error === reason);
  });

  it("does not run a call whose signal is already aborted", async () => {
    const reason = new Error("given up");
    let runs = 0;
    const aborted = createBackendCaller(60_000)(read, AbortSignal.abort(reason), () => Promise.resolve(runs++));
    await assert.rejects(aborted, (error) => error === reason);
    assert.equal(runs, 0);
  });

  it("ignores the result of a call that has timed out", async () => {
    const { promise, reject } = Promise.withResolvers<never>();
    await assert.rejects(createBackendCaller(5)(read, undefined, () => promise), StorageError);
    reject(new Error("late"));
    await new Promise((resolve) => setTimeout(resolve));
  });

  for (const timeoutMs of [0, -1, NaN, 2 ** 31, Infinity]) {
    it(`rejects a timeoutMs of ${timeoutMs}`, () => {
      assert.throws(() => createBackendCaller(timeoutMs), {
        name: "TypeError",
        message: `cannot call a backend with timeoutMs ${timeoutMs}, wanted a number from 1 to 2147483647`,
      });
    });
  }
});
