import assert from "node:assert/strict";
import { passwordHash } from "../../../../src/cli/password.ts";
import { clientOf } from "../../../../plugins/operator_console/client.ts";
import { createPasswordChecker, PASSWORD_HASH } from "../../../../plugins/operator_console/passwords.ts";
import { createThrottle } from "../../../../plugins/operator_console/throttle.ts";
import { describe, it } from "../../../support/test.ts";

describe("createPasswordChecker() should", () => {
  it("accept the passwords of `onappupdate password`, in either spelling of a letter, and no others", async () => {
    const hash = await passwordHash("Ключ и café", new Uint8Array(16).fill(1));
    assert.match(hash, PASSWORD_HASH);
    const { isRight } = createPasswordChecker();
    assert.equal(await isRight("Ключ и cafe\u0301", hash, undefined), true);
    assert.equal(await isRight("ключ и café", hash, undefined), false);
    assert.equal(await isRight("Ключ и café", undefined, undefined), false);
  });

  it("hash two guesses at a time and let 20 wait, also for names that do not exist", async () => {
    const waiting: (() => void)[] = [];
    let max = 0;
    let running = 0;
    const { isRight } = createPasswordChecker(async () => {
      max = Math.max(max, ++running);
      await new Promise<void>((resolve) => waiting.push(resolve));
      running--;
      return new Uint8Array(32);
    });
    const guesses = Array.from({ length: 30 }, () => isRight("guess", undefined, undefined));
    const results = Promise.allSettled(guesses);
    let count = 0;
    while (count < 22) {
      await new Promise((resolve) => setTimeout(resolve));
      for (const finish of waiting.splice(0)) {
        count++;
        finish();
      }
    }
    const refused = (await results).filter(({ status }) => status === "rejected");
    assert.equal(refused.length, 8);
    assert.equal(max, 2);
    assert.ok(refused.every((one) => one.status === "rejected" && one.reason.status === 429));
  });

  it("leave room for other clients", async () => {
    const waiting: (() => void)[] = [];
    const { isRight } = createPasswordChecker(async () => {
      await new Promise<void>((resolve) => waiting.push(resolve));
      return new Uint8Array(32);
    });
    const own = Array.from({ length: 4 }, () => isRight("guess", undefined, "192.0.2.1"));
    await assert.rejects(isRight("guess", undefined, "192.0.2.1"), { status: 429 });
    const other = isRight("guess", undefined, "192.0.2.2");
    let isDone = false;
    const all = Promise.all([...own, other]).finally(() => isDone = true);
    while (!isDone) {
      for (const finish of waiting.splice(0)) finish();
      await new Promise((resolve) => setTimeout(resolve));
    }
    await all;
    const again = isRight("guess", undefined, "192.0.2.1");
    while (waiting.length === 0) await new Promise((resolve) => setTimeout(resolve));
    waiting.pop()!();
    assert.equal(await again, false);
  });
});

describe("createThrottle() should", () => {
  it("double the wait from the sixth attempt on, up to 15 minutes, and forget after an hour", () => {
    let now = 0;
    const { waitMs, begin, succeed } = createThrottle(() => now);
    for (let i = 0; i < 5; i++) {
      assert.equal(waitMs("client", "ada"), 0);
      begin("client", "ada");
    }
    const waits: number[] = [];
    for (let i = 0; i < 12; i++) {
      const wait = waitMs("client", "ada");
      waits.push(wait / 1000);
      now += wait;
      begin("client", "ada");
    }
    assert.deepEqual(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
    assert.equal(waitMs("client", "bob"), 0);
    assert.equal(waitMs("other", "ada"), 0);
    now += 3_600_000;
    assert.equal(waitMs("client", "ada"), 0);
    for (let i = 0; i < 6; i++) begin("client", "ada");
    succeed("client", "ada");
    assert.equal(waitMs("client", "ada"), 0);
  });

  it("remember a bounded number of pairs", () => {
    const { waitMs, begin } = createThrottle(() => 0);
    for (let i = 0; i < 6; i++) begin("client", "ada");
    for (let i = 0; i < 9_999; i++) begin(`client ${i}`, "ada");
    assert.ok(waitMs("client", "ada") > 0);
    begin("one more", "ada");
    assert.equal(waitMs("client", "ada"), 0);
  });

  it("not let a client forget its failures by other names", () => {
    const { waitMs, begin, succeed } = createThrottle(() => 0);
    for (let i = 0; i < 6; i++) begin("client", "ada");
    for (let i = 0; i < 60; i++) begin("client", `name ${i}`);
    assert.ok(waitMs("client", "bob") > 0, "after 50 names, all others count as one");
    for (let i = 0; i < 20_000; i++) begin("client", `name ${i}`);
    assert.equal(waitMs("client", "ada"), 2000);
    assert.equal(waitMs("other", "bob"), 0);
    for (let i = 0; i < 20; i++) succeed("client", "bob");
    assert.ok(waitMs("client", "eve") > 0, "a password that is known clears no other name");
  });

  it("forget the names of a client after an hour", () => {
    let now = 0;
    const { waitMs, begin } = createThrottle(() => now);
    for (let i = 0; i < 100; i++) begin("client", `name ${i}`);
    assert.ok(waitMs("client", "ada") > 0);
    now += 3_600_000;
    for (let i = 0; i < 6; i++) begin("client", "eve");
    assert.deepEqual([waitMs("client", "ada"), waitMs("client", "eve")], [0, 2000]);
  });

  it("take back what was not tried", () => {
    const { waitMs, begin, cancel } = createThrottle(() => 0);
    for (let i = 0; i < 6; i++) begin("client", "ada");
    assert.equal(waitMs("client", "ada"), 2000);
    for (let i = 0; i < 2; i++) cancel("client", "ada");
    assert.equal(waitMs("client", "ada"), 0);
    for (let i = 0; i < 9; i++) cancel("client", "ada");
    begin("client", "ada");
    assert.equal(waitMs("client", "ada"), 0);
  });

  it("make nobody wait for longer when the clock is put back", () => {
    let now = 10 * 3_600_000;
    const { waitMs, begin } = createThrottle(() => now);
    for (let i = 0; i < 6; i++) begin("client", "ada");
    now = 0;
    assert.equal(waitMs("client", "ada"), 2000);
    now = 2000;
    assert.equal(waitMs("client", "ada"), 0);
  });
});

describe("clientOf() should", () => {
  it("name an IPv4 address, or the network of an IPv6 address", () => {
    const cases: readonly (readonly [string | undefined, string | undefined])[] = [
      ["192.0.2.1", "192.0.2.1"],
      ["::ffff:192.0.2.1", "192.0.2.1"],
      ["2001:DB8::1", "2001:db8:0:0"],
      ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
      ["::1", "0:0:0:0"],
      ["fe80::1%eth0", "fe80:0:0:0"],
      ["unknown", undefined],
      [undefined, undefined],
    ];
    for (const [address, client] of cases) assert.equal(clientOf(address), client, `${address}`);
  });
});
