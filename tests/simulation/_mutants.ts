/** Mistakes in the source that the simulation must find. */

/** A mistake in the source. */
export interface Mutant {
  readonly name: string;
  /** The changed file. */
  readonly file: string;
  /** Texts that are in the file once, and what replaces them. */
  readonly changes: readonly (readonly [text: string, replacement: string])[];
  /** The scenarios whose schedules find it, the quickest one first. */
  readonly scenarios: readonly string[];
  /** The invariant that the schedule violates. */
  readonly violation: RegExp;
}

/** A text that is no longer in its file fails the test: the same mistake has to be made in the new code. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: "a portal is released although a delivery has arrived",
    file: "src/worker/release.ts",
    changes: [["record.inboxSequence === inboxSequence && ", ""]],
    scenarios: ["two updates"],
    violation: /work is left at rest/,
  },
  {
    name: "a report is removed before observers are notified",
    file: "src/worker/tell.ts",
    changes: [[
      "await tellOne(runtime, lease.record().memberId, report);",
      "lease.stage((record) => ({ record: withoutReport(record, report.id) }));\n    await lease.flush();\n" +
      "    await tellOne(runtime, lease.record().memberId, report);",
    ]],
    scenarios: ["an update, observed"],
    violation: /was not told/,
  },
  {
    name: "a report gets another id each time that it is told",
    file: "src/worker/tell.ts",
    changes: [[
      "const { change, ...report } = stored;",
      "const { change, ...report } = { ...stored, id: runtime.random() };",
    ]],
    scenarios: ["an update, observed"],
    violation: /was told under 2 ids|work is left at rest/,
  },
  {
    name: "the id of an event is recorded after its delivery is removed",
    file: "src/portal/inbox.ts",
    changes: [[
      "after: [{ delete: deliveryKey(record.memberId, id) }]",
      "before: [{ delete: deliveryKey(record.memberId, id) }]",
    ]],
    scenarios: ["two large updates"],
    violation: /was sent again after it was finished|its handlers have not run|which is recorded as done/,
  },
  {
    name: "a finished run is stored after the version has moved",
    file: "src/portal/run_history.ts",
    changes: [["before: [{ put: runKey(memberId, name), value }]", "after: [{ put: runKey(memberId, name), value }]"]],
    scenarios: ["two updates"],
    violation: /history has/,
  },
  {
    name: "a former holder of the lease replaces a finished run",
    file: "src/portal/run_history.ts",
    changes: [["return `${id}-${fencingToken}`;", "return `${id}-${fencingToken * 0}`;"]],
    scenarios: ["two updates"],
    violation: /history has/,
  },
  {
    name: "two runs that start at the same time have the same id",
    file: "src/upgrade/run_record.ts",
    changes: [['String(runCount).padStart(8, "0")', 'String(now).padStart(14, "0")']],
    scenarios: ["two updates"],
    violation: /history has|replaced the result/,
  },
  {
    name: "a process that was paused for a whole lease starts a step",
    file: "src/portal/lease.ts",
    changes: [["leaseMs * HELD_PART", "Infinity"]],
    scenarios: ["two updates, A is slow"],
    violation: /runs step .* after .* was recorded/,
  },
  {
    name: "a lease is taken although another process holds it",
    file: "src/portal/lease.ts",
    changes: [["  if (isLeased(storage, record, now)) return undefined;\n", ""]],
    scenarios: ["two updates"],
    violation: /replaced the lease of/,
  },
  {
    name: "a former holder of the lease records steps after another process has read the journal",
    file: "src/portal/journal.ts",
    changes: [[
      "return journalFrom(options, id, await takeOver(options, id));",
      "const chunks = await Array.fromAsync(options.storage.list<Chunk>(keyOf(id, 0).slice(0, -1)));\n  return journalFrom(options, id, chunks);",
    ]],
    scenarios: ["two updates"],
    violation: /runs step .* after .* was recorded|replaced the result|history has/,
  },
  {
    name: "handlers run before the upgrades are recorded",
    file: "src/worker/process_delivery.ts",
    changes: [["    await flush(handlers.length > 0 || plugins.some(({ around }) => around !== undefined));\n", ""]],
    scenarios: ["two updates"],
    violation: /and the portal is stored on/,
  },
  {
    name: "the schedule entry of a delivery is put after its record",
    file: "src/portal/schedule.ts",
    changes: [[
      "before: [putEntry(due, memberId)],\n    after: existing === undefined ? [] : [{ delete: dueKey(existing, memberId) }],",
      "after: [putEntry(due, memberId), ...existing === undefined ? [] : [{ delete: dueKey(existing, memberId) }]],",
    ]],
    scenarios: ["two updates"],
    violation: /work is left at rest|its handlers have not run/,
  },
  {
    name: "a delivery whose key is taken is not counted",
    file: "src/intake/store_delivery.ts",
    changes: [[
      "return withWork({ ...record, ...defined({ overflow }) }, clock(), random);",
      "return overflow && { record };",
    ], [
      "return fitsRecord(roomy, delivery) ? next : withLookout(next, at, random);",
      "return next;",
    ]],
    scenarios: ["another large event"],
    violation: /work is left at rest|its handlers have not run/,
  },
  {
    name: "a delivery that was done before stays counted",
    file: "src/worker/process_portal.ts",
    changes: [[" && !isHandled(lease.record(), waiting.id)", ""]],
    scenarios: ["two large updates"],
    violation: /work is left at rest: .*overflow/,
  },
  {
    name: "handlers run although the app was removed during the upgrades",
    file: "src/worker/process_delivery.ts",
    changes: [[
      "runsUpgrades(deliveryId) && hasEnded(work, event)",
      "runsUpgrades(deliveryId) && hasEnded(work, event) && false",
    ]],
    scenarios: ["a removal"],
    violation: /and the portal is stored on/,
  },
  {
    name: "a lease that nobody uses is renewed",
    file: "src/worker/worker.ts",
    changes: [[
      "if (lease !== undefined || (isFirst && waiting === undefined))",
      "if (lease === undefined && isFirst && waiting === undefined)",
    ]],
    scenarios: ["two updates to one process"],
    violation: /work is left at rest: .*lease/,
  },
  {
    name: "an event raises the target of a portal that was installed meanwhile, without work",
    file: "src/intake/accept.ts",
    changes: [["isStored = !bringsWork(current, next);", "isStored = true;"]],
    scenarios: ["a removal"],
    violation: /the index has|the portal is on/,
  },
  {
    name: "an answer that the holder of a lease applies hides an arrival",
    file: "src/worker/ask_portal.ts",
    changes: [["settlement.hasWork && !access.isLeased;", "settlement.hasWork;"]],
    scenarios: ["a verified removal"],
    violation: /work is left at rest: .*inbox/,
  },
  {
    name: "credentials are replaced without a condition",
    file: "src/portal/credentials_record.ts",
    changes: [[", ifVersion: credentials?.version ?? null };", " };"]],
    scenarios: ["a refresh and new tokens", "two refreshes", "a refresh and a reinstallation"],
    violation: /lost access|believes the pair/,
  },
  {
    name: "credentials of an installation that is over are believed",
    file: "src/portal/credentials_record.ts",
    changes: [["generation === named.generation && sequence >= named.sequence", "true"]],
    scenarios: ["a refresh and a reinstallation"],
    violation: /believes the pair|lost access|pairs are left/,
  },
  {
    name: "credentials that do not belong to the record are read once",
    file: "src/portal/credentials_record.ts",
    changes: [["while (!isPair(entry, credentials)) {", "while (false) {"]],
    scenarios: ["a refresh and a reinstallation", "a refresh and new tokens"],
    violation: /believes the pair|lost access|pairs are left/,
  },
  {
    name: "the credentials of a removed portal are kept",
    file: "src/portal/credentials_record.ts",
    changes: [["return credentials === null ? {} :", "return credentials !== undefined ? {} :"]],
    scenarios: ["a refresh and a removal"],
    violation: /pairs are left/,
  },
  {
    name: "credentials that a crash left are not deleted at a removal",
    file: "src/portal/purge.ts",
    changes: [["await readCredentials(storage, memberId) !== null", "false"]],
    scenarios: ["a refresh and a removal"],
    violation: /pairs are left/,
  },
];
