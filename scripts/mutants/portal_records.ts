/** Mutants of `src/portal/` that are about records: leases, schedule, journals of runs, and deletion. */
import { type Mutant, mutantsOf } from "./mutant.ts";

export const PORTAL_RECORDS: readonly Mutant[] = [
  ...mutantsOf("src/portal/lease.ts", ["tests/unit/portal/lease_test.ts"], [
    [
      "the lease of another process counts as free",
      "lease.until > now && !abandonedOn(storage).has(lease.owner)",
      "lease.until > now + Infinity && !abandonedOn(storage).has(lease.owner)",
    ],
    ["the fencing token stays the same", "(record.fencingToken ?? 0) + 1", "(record.fencingToken ?? 1)"],
    [
      "a holder writes although another process has its lease",
      "if (record?.lease?.owner !== owner) throw",
      "if (record === undefined) throw",
    ],
    [
      "a holder that was paused relies on its lease",
      "return passedMs > leaseMs * HELD_PART;",
      "return passedMs > Infinity * HELD_PART;",
    ],
  ]),
  ...mutantsOf("src/portal/exclusive.ts", ["tests/unit/portal/exclusive_test.ts"], [
    [
      "a delivery that comes during an action of an operator waits for the next tick",
      "if (latest !== inboxSequence || (",
      "if ((",
    ],
    [
      "a portal that is due during an action of an operator waits for the next tick",
      "entryTime(due) <= clock() + leaseMs)) wake(memberId);",
      "entryTime(due) <= 0)) wake(memberId);",
    ],
    [
      "of two actions of operators at once, the second is refused",
      "    await before;\n",
      "",
    ],
  ]),
  ...mutantsOf("src/portal/held_record.ts", ["tests/unit/portal/lease_test.ts"], [
    [
      "staged changes are applied twice after a lost reply",
      "return staged.slice(tried.get(lease?.writes ?? 0) ?? 0);",
      "return staged.slice((tried.get(lease?.writes ?? 0) ?? 0) * 0);",
    ],
  ]),
  ...mutantsOf("src/portal/journal.ts", ["tests/unit/portal/journal_test.ts"], [
    [
      "a journal is read without excluding former holders",
      "if (result.ok) return [...isNew",
      "if (result.ok || true) return [...isNew",
    ],
    ["a refused entry of a journal counts as written", "if (!result.ok) return false;", "if (!result.ok) return true;"],
    ["a step that is undone counts as done", 'kind !== "page" && kind !== "undone"', 'kind !== "page"'],
  ]),
  ...mutantsOf("src/portal/run_history.ts", ["tests/unit/portal/run_history_test.ts"], [
    [
      "history is stored after the version has moved",
      "before: [{ put: runKey(memberId, name), value }]",
      "after: [{ put: runKey(memberId, name), value }]",
      { scenarios: ["two updates"] },
    ],
    [
      "old runs are never deleted",
      "if (run === undefined || runs.length < MAX_RUNS) return;",
      "if (run === undefined || runs.length < MAX_RUNS * 100) return;",
    ],
    ["the last runs are deleted too", "if (key[2]! >= kept) break;", "if (key[2]! > kept) break;"],
  ]),
  ...mutantsOf("src/portal/schedule.ts", ["tests/unit/portal/schedule_test.ts"], [
    [
      "a later time of work replaces an earlier one",
      "if (existing !== undefined && entryTime(existing) <= at) return { record };",
      "if (existing !== undefined && entryTime(existing) <= at - Infinity) return { record };",
    ],
    [
      "a schedule entry is put after the record",
      "before: [putEntry(due, memberId)],\n    after: existing",
      "after: [putEntry(due, memberId)],\n    unused: existing",
    ],
    [
      "a large delivery has no schedule entry before it",
      "return { ...change, before: [putEntry(entryId(at, random()), memberId), ...before] };",
      "return at === random.length ? change : { ...change, before };",
    ],
    [
      "work that is counted does not look like an arrival",
      "inboxSequence: (record.inboxSequence ?? 0) + 1",
      "inboxSequence: record.inboxSequence ?? 0",
    ],
  ]),
  ...mutantsOf("src/portal/record.ts", ["tests/unit/app/admin_test.ts"], [
    [
      "a portal that is rolled back is listed as upgrading",
      '  if (run?.isRollingBack) return "parked";\n',
      "  void run;\n",
    ],
  ]),
  ...mutantsOf("src/portal/purge.ts", ["tests/unit/worker/claims_crash_test.ts"], [
    [
      "tokens of a removed portal stay in parked events",
      "id !== removalId && (delivery.receivedAt <= time ||",
      "id === removalId && (delivery.receivedAt <= time ||",
    ],
    [
      "events that come after a removal are deleted with it",
      "delivery.receivedAt <= time",
      "delivery.receivedAt <= Infinity * time",
      { tests: ["tests/unit/worker/ask_portal_test.ts"] },
    ],
  ]),
  ...mutantsOf("src/portal/record_store.ts", ["tests/unit/portal/record_store_test.ts"], [
    [
      "a write fails that another process has overtaken",
      "if (refused === undefined) {",
      "if (refused === undefined || composed.owners.length > 0) {",
    ],
  ]),
];
