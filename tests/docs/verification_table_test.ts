import assert from "node:assert/strict";
import { describe, it } from "../support/test.ts";
import { allCombinations, type Combination, type Outcome, outcomeOf, readRows, type Row, rowOf } from "./_decisions.ts";

const rows = readRows();
const byRow = Map.groupBy(allCombinations(), (combination) => rowOf(rows, combination)?.number);

interface Compared {
  readonly combination: Combination;
  readonly wanted: Outcome;
  readonly seen: Outcome;
}

/** Returns the outcome that a row has for a combination: `owner` is nobody if the access token is not the portal's. */
function wantedOf({ outcome }: Row, { access }: Combination): Outcome {
  const hasOwner = access === "administrator's" || access === "user's" || access === "expired";
  return { ...outcome, identity: hasOwner ? outcome.identity : "no" };
}

const compared = new Map<Row, Promise<readonly Compared[]>>();

/** Sends an event for each combination of a row, once for all tests. */
function compare(row: Row): Promise<readonly Compared[]> {
  const known = compared.get(row);
  if (known !== undefined) return known;
  const comparing = (async () => {
    const all: Compared[] = [];
    for (const combination of byRow.get(row.number)!) {
      all.push({ combination, wanted: wantedOf(row, combination), seen: await outcomeOf(combination, row) });
    }
    return all;
  })();
  compared.set(row, comparing);
  return comparing;
}

describe("the decisions in docs/verification.md", () => {
  it("are at most 40 rows, which decide each of the 2,592 combinations, and each row decides some", () => {
    assert(rows.length <= 40);
    assert.equal(allCombinations().length, 2592);
    assert.deepEqual([...byRow.keys()].sort((a, b) => a! - b!), rows.map(({ number }) => number));
  });
});

const COLUMNS: Readonly<Record<string, (outcome: Outcome) => string>> = {
  "the answer": ({ answer }) => answer,
  "what takes effect, and when": ({ effect, claim }) => `${effect}, ${claim === "yes" ? "as a claim" : "no claim"}`,
  "the application_token": ({ tokenAfter }) => tokenAfter,
  "the stored identity": ({ identity }) => identity,
};

for (const [column, read] of Object.entries(COLUMNS)) {
  describe(`the decisions in docs/verification.md: ${column}`, () => {
    for (const row of rows) {
      const conditions = Object.values(row.conditions).map((values) => values.length > 3 ? "…" : values.join("|"));
      it(`row ${row.number}: ${conditions.join(" × ")}: ${read(row.outcome)}`, async () => {
        const all = await compare(row);
        const wrong = all.filter(({ wanted, seen }) => read(wanted) !== read(seen))
          .map(({ combination, seen }) => `${Object.values(combination).join(", ")}: ${read(seen)}`);
        assert.deepEqual(wrong, [], `${wrong.length} of ${all.length} combinations`);
      });
    }
  });
}
