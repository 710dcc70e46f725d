import assert from "node:assert/strict";
import { memoryStorage, type PageResult, type Storage, type UpgradeContext } from "@b24/onappupdate";
import { MEMBER_ID } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { portalOn2 } from "./_portal_on_2.ts";

type Cursor = unknown;

/** Walks pages whose results are `results`, in this order, and fails once before page `failsAt`. Returns their cursors. */
async function walk(start: Cursor, results: readonly unknown[], failsAt = 0): Promise<readonly Cursor[]> {
  const cursors: Cursor[] = [];
  let hasFailed = false;
  const { app, update, retry } = await portalOn2(async ({ pages }) => {
    await pages<Cursor>("deals", start, (cursor) => {
      if (cursors.length === failsAt && failsAt > 0 && !hasFailed) {
        hasFailed = true;
        throw new Error("not yet");
      }
      cursors.push(cursor);
      return results[cursors.length - 1] as PageResult<Cursor>;
    });
  });
  await update();
  if (failsAt > 0) await retry();
  assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
  await app.close();
  return cursors;
}

/** Runs an upgrade that is to be parked. Returns step, attempts and message of its failure. */
async function failureOf(
  handler: (ctx: UpgradeContext) => Promise<unknown>,
  storage: Storage = memoryStorage(),
): Promise<unknown[]> {
  const { app, update } = await portalOn2(async (ctx) => void await handler(ctx), {}, { storage });
  await update();
  const { failure, version } = (await app.portal(MEMBER_ID))!;
  assert.equal(version, "2.0.0");
  assert.equal(failure?.retryAt, undefined);
  await app.close();
  return [failure!.step, failure!.attempts, failure!.message];
}

describe("pages()", () => {
  it("ends at null and at undefined: Bitrix24 leaves `next` out of its last page", async () => {
    assert.deepEqual(await walk(0, [{ next: 50, done: 50 }, { next: undefined, done: 7 }]), [0, 50]);
    assert.deepEqual(await walk(0, [{ next: 50, done: 50 }, { done: 7 }]), [0, 50]);
    assert.deepEqual(await walk(0, [{ next: 50, done: 50 }, { next: null, done: 7 }]), [0, 50]);
    assert.deepEqual(await walk(undefined, [{ next: "a", done: 1 }, { next: undefined, done: 1 }]), [undefined, "a"]);
    assert.deepEqual(await walk(null, [{ next: "a", done: 1 }, { next: null, done: 1 }]), [null, "a"]);
  });

  it("passes cursors as JSON restores them, before and after an interruption", async () => {
    const at = new Date(Date.UTC(2027, 0, 1));
    const later = new Date(Date.UTC(2027, 0, 2));
    const results = [{ next: later, done: 1 }, { next: { after: later, none: undefined }, done: 1 }, {
      next: null,
      done: 1,
    }];
    const json = [at.toJSON(), later.toJSON(), { after: later.toJSON() }];
    for (const failsAt of [0, 1, 2]) assert.deepEqual(await walk(at, results, failsAt), json);
  });

  const CIRCLES: Readonly<Record<string, (cursor: number) => number>> = {
    "its own cursor": (cursor) => cursor,
    "its own cursor, after some pages": (cursor) => Math.min(cursor + 1, 5),
    "the first cursor": (cursor) => cursor < 9 ? cursor + 1 : 0,
    "a cursor of an earlier page": (cursor) => cursor < 50 ? cursor + 1 : 20,
  };
  for (const [name, next] of Object.entries(CIRCLES)) {
    it(`parks the run at a page that returns ${name}`, async () => {
      let count = 0;
      const failure = await failureOf(({ pages }) =>
        pages("deals", 0, (cursor) => {
          assert(count++ < 200, "it goes on for ever");
          return { next: next(cursor), done: 1 };
        })
      );
      assert.deepEqual(failure, [
        ...["deals", 1],
        'cannot continue step "deals" after its page: it returned the cursor of an earlier page, wanted the next one, or ' +
        "null after the last page",
      ]);
    });
  }

  const WRONG: Readonly<Record<string, unknown>> = {
    'cannot store the cursor of step "deals": it is of type bigint, wanted a value that JSON can represent': {
      next: 5n,
      done: 1,
    },
    'cannot store the cursor of step "deals": it is of type function, wanted a value that JSON can represent': {
      next: () => 5,
      done: 1,
    },
    'cannot store the cursor of step "deals": it is NaN, wanted a value that JSON can represent': {
      next: NaN,
      done: 1,
    },
    'cannot store the cursor of step "deals": it has 40002 bytes of JSON, memory takes at most 32768': {
      next: "x".repeat(40_000),
      done: 1,
    },
    'cannot continue step "deals" after its page: its done is undefined, wanted a number': { next: null },
    'cannot continue step "deals" after its page: its done is NaN, wanted a number': { next: 5, done: NaN },
    'cannot continue step "deals" after its page: its done is of type string, wanted a number': { next: 5, done: "5" },
    'cannot continue step "deals" after its page: its done is undefined, wanted a number ': undefined,
  };
  for (const [message, page] of Object.entries(WRONG)) {
    it(`parks the run at once, with the name of the step: ${message}`, async () => {
      const limited = { ...memoryStorage(), capabilities: { ...memoryStorage().capabilities, maxValueBytes: 65_536 } };
      const failure = await failureOf(
        ({ pages }) => pages<unknown>("deals", 0, () => page as PageResult<unknown>).catch(() => {}),
        limited,
      );
      assert.deepEqual(failure, ["deals", 1, message.trim()]);
    });
  }

  it("parks the run at a start that cannot be stored", async () => {
    const failure = await failureOf(({ pages }) => pages("deals", 5n, () => ({ next: null, done: 1 })));
    const problem = "it is of type bigint, wanted a value that JSON can represent";
    assert.deepEqual(failure, ["deals", 1, `cannot store the cursor of step "deals": ${problem}`]);
  });
});
