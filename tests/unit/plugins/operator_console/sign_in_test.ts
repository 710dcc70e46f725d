import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { operatorConsole, type OperatorConsoleOptions, type PasswordGuard } from "@b24/onappupdate/operator-console";
import { StorageError } from "@b24/onappupdate/errors";
import { before, describe, it } from "../../../support/test.ts";
import {
  type Answer,
  type ConsoleRig,
  consoleRig,
  cookiesOf,
  ORIGIN,
  passwordGuard,
  PASSWORDS,
  postOf,
} from "./_console.ts";

const HOUR_MS = 3_600_000;

let guard: PasswordGuard;
before(async () => {
  guard = await passwordGuard();
});

/** Returns a console with users, whose clock stands still, and a function that signs in. */
function signInRig(storage: Storage = memoryStorage(), options: Partial<OperatorConsoleOptions> = {}): ConsoleRig & {
  readonly advance: (ms: number) => void;
  readonly signIn: (name?: keyof typeof PASSWORDS, next?: string) => Promise<Answer>;
} {
  let now = Date.UTC(2026, 7, 1);
  const clock = (): number => now;
  const rig = consoleRig({ storage, clock }, { guard, clock, ...options });
  return {
    ...rig,
    advance: (ms) => void (now += ms),
    signIn: (name = "ada", next = "/") => rig.send("/login", { name, password: PASSWORDS[name], next }),
  };
}

async function statusWith({ open }: Pick<ConsoleRig, "open">, cookie: string): Promise<number> {
  return (await open("/", { cookie })).status;
}

describe("operatorConsole() with users should", () => {
  it("refuse users that are missing, double or without a hash", () => {
    const { app } = consoleRig();
    const [ada] = guard.users;
    const make = (users: unknown) => () =>
      operatorConsole({ app, origin: ORIGIN, guard: { users } } as unknown as OperatorConsoleOptions);
    assert.throws(make([]), /guard.users an empty list, wanted at least one user/);
    assert.throws(make([ada, ada]), /guard.users.1.name "ada" twice/);
    assert.throws(make([{ ...ada, role: "admin" }]), /guard.users.0.role "admin", wanted "read" or "operate"/);
    assert.throws(make([{ ...ada, name: "a\nb" }]), /guard.users.0.name/);
    assert.throws(
      make([{ ...ada, passwordHash: "correct horse" }]),
      (error: Error) => /what `onappupdate password` prints/.test(error.message) && !error.message.includes("correct"),
    );
  });

  it("ask those to sign in who are not, and return to the page that they wanted", async () => {
    const { open, send, signIn } = signInRig();
    const refused = await open("/nothing?status=parked");
    assert.equal(refused.status, 303);
    assert.equal(refused.headers.get("location"), "/login?next=%2Fnothing%3Fstatus%3Dparked");
    const page = await open("/login?next=%2Fnothing%3Fstatus%3Dparked");
    assert.equal(page.status, 200);
    assert.match(page.text, /name="next" value="\/nothing\?status=parked"/);
    const signedIn = await signIn("ada", "/nothing?status=parked");
    assert.deepEqual([signedIn.status, signedIn.headers.get("location")], [303, "/nothing?status=parked"]);
    for (const next of ["//evil.example", "https://evil.example", "/\\evil.example"]) {
      assert.equal((await signIn("ada", next)).headers.get("location"), "/", next);
    }
    // A link of another site may have named the export.
    for (
      const [next, wanted] of [
        ["/export/portals?format=csv&status=parked", "/portals?status=parked"],
        ["/export/audit?format=jsonl", "/audit"],
        ["/export//evil.example?format=csv", "/"],
      ] as const
    ) assert.equal((await signIn("ada", next)).headers.get("location"), wanted, next);
    assert.equal((await send("/language", { language: "en" }, { cookie: "" })).status, 303);
    const lost = await send("/act/pause", { reason: "x" });
    assert.equal(lost.status, 403);
    assert.match(lost.text, /no longer signed in. Nothing was done/);
  });

  it("set a cookie that only its own pages can send, and store no token", async () => {
    const storage = memoryStorage();
    const rig = signInRig(storage);
    const answer = await rig.signIn();
    const [cookie = ""] = answer.headers.getSetCookie();
    assert.match(cookie, /^__Host-console-[\da-f]{8}-session=[\w-]{43}; Path=\/; Secure; HttpOnly; SameSite=Lax$/);
    const token = /=([\w-]{43});/.exec(cookie)![1]!;
    const stored: unknown[] = [];
    for await (const entry of storage.list([])) stored.push(entry);
    assert.match(JSON.stringify(stored), /"plugin","console","session","[\da-f]{64}"/);
    assert.ok(!JSON.stringify(stored).includes(token));
    assert.equal(await statusWith(rig, cookiesOf(answer)), 200);
    assert.match((await rig.open("/", { cookie: cookiesOf(answer) })).text, /ada/);
  });

  it("answer a wrong name and a wrong password alike", async () => {
    const { send } = signInRig();
    const [name, password] = await Promise.all([
      send("/login", { name: "eve", password: PASSWORDS.ada }),
      send("/login", { name: "ada", password: PASSWORDS.bob }),
    ]);
    assert.deepEqual([name.status, password.status], [403, 403]);
    assert.equal(name.text.replace(`value="eve"`, `value="ada"`), password.text);
    assert.match(name.text, /Wrong name or password/);
    assert.doesNotMatch(password.text, /staple/);
    assert.equal(password.headers.getSetCookie().length, 0);
  });

  it("begin a fresh session at each sign-in, and end the one that was there", async () => {
    const rig = signInRig();
    const first = cookiesOf(await rig.signIn());
    const second = await rig.send("/login", { name: "bob", password: PASSWORDS.bob }, { cookie: first });
    assert.notEqual(cookiesOf(second), first);
    assert.deepEqual([await statusWith(rig, first), await statusWith(rig, cookiesOf(second))], [303, 200]);
    const invented = first.replace(/=.*/, `=${"A".repeat(43)}`);
    assert.equal(await statusWith(rig, invented), 303);
  });

  it("end a session in all processes by a log-out, another password or another role", async () => {
    const storage = memoryStorage();
    const [rig, other] = [signInRig(storage), signInRig(storage)];
    const [ada, bob] = guard.users as readonly [PasswordGuard["users"][number], PasswordGuard["users"][number]];
    const cookie = cookiesOf(await rig.signIn());
    assert.equal(await statusWith(other, cookie), 200);
    const out = await other.send("/logout", {}, { cookie });
    assert.equal(out.headers.get("location"), "/login");
    assert.match(out.headers.getSetCookie()[0]!, /Max-Age=0$/);
    assert.deepEqual([await statusWith(rig, cookie), await statusWith(other, cookie)], [303, 303]);

    for (const changed of [{ ...ada, passwordHash: bob.passwordHash }, { ...ada, role: "read" as const }]) {
      const kept = cookiesOf(await rig.signIn());
      const deployed = signInRig(storage, { guard: { users: [changed, bob] } });
      assert.deepEqual([await statusWith(deployed, kept), await statusWith(rig, kept)], [303, 303]);
    }
  });

  it("end a session after an hour without use, and after twelve hours", async () => {
    const rig = signInRig();
    const idle = cookiesOf(await rig.signIn());
    rig.advance(HOUR_MS - 1);
    assert.equal(await statusWith(rig, idle), 200);
    rig.advance(HOUR_MS - 1);
    // A page that was left open does not count as use.
    assert.equal((await rig.open("/", { cookie: idle, "x-console-live": "1" })).status, 200);
    rig.advance(1);
    assert.equal(await statusWith(rig, idle), 303);

    const open = cookiesOf(await rig.signIn());
    for (let i = 0; i < 7; i++) {
      // Browsers open a stream again after ten minutes.
      const stream = await rig.fetch(new Request(`${ORIGIN}/live`, { headers: { cookie: open } }));
      await stream.body?.cancel();
      assert.equal(stream.status, i < 6 ? 200 : 403);
      rig.advance(HOUR_MS / 6);
    }

    const used = cookiesOf(await rig.signIn());
    for (let i = 0; i < 12; i++) {
      assert.equal(await statusWith(rig, used), 200);
      rig.advance(HOUR_MS - 1);
    }
    assert.equal(await statusWith(rig, used), 200);
    rig.advance(12);
    assert.equal(await statusWith(rig, used), 303);
  });

  it("end a session that began in the future: the clock was put back, and it would last too long", async () => {
    const rig = signInRig();
    rig.advance(24 * HOUR_MS);
    const cookie = cookiesOf(await rig.signIn());
    rig.advance(-5 * 60_000);
    assert.equal(await statusWith(rig, cookie), 200, "clocks differ a little");
    rig.advance(-24 * HOUR_MS);
    assert.equal(await statusWith(rig, cookie), 303);
  });

  it("open no page by a bearer token", async () => {
    const { open } = signInRig();
    assert.equal((await open("/", { authorization: `Bearer ${"o".repeat(43)}` })).status, 303);
  });

  it("slow down guessing by client and name together, whatever headers say", async () => {
    const { fetch, advance } = signInRig();
    const guess = async (address: string, name: string, password: string = "wrong password"): Promise<Response> =>
      await fetch(postOf("/login", { name, password }, { "x-forwarded-for": String(Math.random()) }), {
        remoteAddr: { hostname: address },
      });
    for (let i = 0; i < 5; i++) assert.equal((await guess("192.0.2.1", "ada")).status, 403);
    const refused = await guess("192.0.2.1", "ada", PASSWORDS.ada);
    assert.deepEqual([refused.status, refused.headers.get("retry-after")], [429, "1"]);
    assert.match(await refused.text(), /Try again in 1 seconds/);
    assert.equal((await guess("192.0.2.1", "bob", PASSWORDS.bob)).status, 303, "another name of the same client");
    assert.equal((await guess("192.0.2.2", "ada", PASSWORDS.ada)).status, 303, "the same name of another client");
    advance(1000);
    assert.equal((await guess("192.0.2.1", "ada", PASSWORDS.ada)).status, 303);
  });

  it("take the address of the client from clientAddress, and say once that there is none", async () => {
    const { fetch, consoleLines } = signInRig(memoryStorage(), {
      clientAddress: (request) => request.headers.get("x-real-ip") ?? undefined,
    });
    const guess = async (headers: Record<string, string>): Promise<number> =>
      (await fetch(postOf("/login", { name: "ada", password: "x".repeat(2000) }, headers))).status;
    for (let i = 1; i <= 5; i++) assert.equal(await guess({ "x-real-ip": `2001:db8::${i}` }), 403);
    assert.equal(await guess({ "x-real-ip": "2001:db8:0:0:ffff::1" }), 429);
    for (let i = 1; i <= 7; i++) assert.equal(await guess({}), 403, "nobody can lock a name alone");
    assert.equal(consoleLines.filter((line) => line.includes("console.no_client_address")).length, 1);
  });

  it("not count an attempt that found no place to wait", async () => {
    const { fetch } = signInRig();
    const guess = async (password: string): Promise<number> =>
      (await fetch(postOf("/login", { name: "ada", password }), { remoteAddr: { hostname: "192.0.2.1" } })).status;
    // A client has four places: of twelve at once, eight are refused.
    const statuses = await Promise.all(Array.from({ length: 12 }, () => guess("wrong password")));
    assert.deepEqual([403, 429].map((status) => statuses.filter((one) => one === status).length), [4, 8]);
    assert.equal(await guess(PASSWORDS.ada), 303);
  });

  it("log failed sign-ins without their names and passwords", async () => {
    const { send, consoleLines } = signInRig();
    await send("/login", { name: "my-password-in-the-wrong-field", password: "hunter2hunter2" });
    assert.match(consoleLines.join(), /console.sign_in_failed/);
    assert.doesNotMatch(consoleLines.join(), /wrong-field|hunter2/);
  });

  it("refuse forms that are too large or of another type", async () => {
    const { send, fetch } = signInRig();
    assert.equal((await send("/login", { name: "a".repeat(70_000) })).status, 413);
    const json = postOf("/login", {}, { "content-type": "application/json" });
    assert.equal((await fetch(json)).status, 415);
    const twice = new Request(`${ORIGIN}/login`, {
      method: "POST",
      body: "name=a&name=b",
      headers: postOf("/", {}).headers,
    });
    assert.equal((await fetch(twice)).status, 400);
  });

  it("show what was last known while the storage is down, and let nobody act", async () => {
    const memory = memoryStorage();
    let isDown = false;
    /** Records of portals fail, and nothing else. */
    let isReadingDown = false;
    const failing =
      <Args extends readonly unknown[], Result>(call: (...args: Args) => Result) => (...args: Args): Result => {
        const [key] = args;
        if (isDown || isReadingDown && Array.isArray(key) && key[0] === "portal") {
          throw new StorageError("the storage is down");
        }
        return call(...args);
      };
    const storage: Storage = {
      ...memory,
      get: failing(memory.get),
      put: failing(memory.put),
      list: failing(memory.list),
      write: failing(memory.write!),
    } as Storage;
    const rig = signInRig(storage);
    rig.bitrix24.deliverTo((request) => rig.app.fetch(request));
    await rig.portal.sends.install(2);
    const cookie = cookiesOf(await rig.signIn());
    assert.match((await rig.open("/", { cookie })).text, /<table/);
    isDown = true;
    const stale = await rig.open("/", { cookie });
    assert.equal(stale.status, 503);
    assert.match(stale.text, /This is what was last known, as of <time datetime="2026-08-01T00:00:00.000Z">/);
    assert.match(stale.text, /<table/);
    isDown = false;
    const record = rig.portal.memberId;
    assert.match((await rig.open(`/portals?domain=${record}`, { cookie })).text, /1 portal/);
    isReadingDown = true;
    const unfound = await rig.open(`/portals?domain=${record}&status=current`, { cookie });
    assert.equal(unfound.status, 503, "a portal that cannot be read is not one that does not exist");
    isReadingDown = false;
    isDown = true;
    const unseen = await rig.open("/nothing", { cookie });
    assert.equal(unseen.status, 503);
    assert.match(unseen.text, /storage does not answer/);
    assert.equal((await rig.send("/act/pause", { reason: "x" }, { cookie })).status, 503);
    assert.equal((await rig.signIn()).status, 503);
    rig.advance(5 * 60_000);
    const later = await rig.open("/", { cookie });
    assert.equal(later.status, 503);
    assert.doesNotMatch(later.text, /<table/);
  });
});
