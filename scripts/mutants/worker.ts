/** Mutants of `src/worker/`. */
import { type Mutant, mutantsOf } from "./mutant.ts";

export const WORKER: readonly Mutant[] = [
  ...mutantsOf("src/worker/tick.ts", ["tests/unit/worker/deploy_sweep_test.ts"], [
    [
      "portals that are due wait while targets cannot be raised after a deploy",
      'log.error("failed to raise targets after a deploy", { event: "deploy_sweep.failed", err });',
      "throw err;",
    ],
  ]),
  ...mutantsOf("src/worker/deploy_sweep.ts", ["tests/unit/worker/deploy_sweep_test.ts"], [
    [
      "a portal that newer code wrote keeps the others on their versions",
      "if (!isUnreadable(err)) throw err;",
      "throw err;",
    ],
  ]),
  ...mutantsOf("src/worker/release.ts", ["tests/unit/worker/ask_portal_test.ts"], [
    [
      "token pairs that a crash has left survive the purge",
      "    await readCredentials(runtime.storage, memberId);\n",
      "    void readCredentials;\n",
      { tests: ["tests/unit/worker/left_credentials_test.ts"] },
    ],
    [
      "the check on arrivals is removed",
      "record.inboxSequence === inboxSequence && record.reports === undefined",
      "record.reports === undefined",
      { scenarios: ["two updates"] },
    ],
    [
      "a removed portal is purged at once",
      "const at = purgeAt ?? runtime.clock() + retentionMs;",
      "const at = purgeAt ?? runtime.clock() + retentionMs * 0;",
    ],
    [
      "a believed removal is purged before it can be undone",
      "Math.max(runtime.retentionMs, UNDO_MS)",
      "Math.min(runtime.retentionMs, UNDO_MS)",
    ],
  ]),
  ...mutantsOf("src/worker/process_portal.ts", ["tests/unit/app/app_test.ts"], [
    [
      "a closed app keeps its portals until their leases expire",
      "await releaseUnfinished(runtime, lease).catch(() => {});",
      "await Promise.resolve(lease);",
    ],
    [
      "deliveries with keys of their own are not looked for after a crash",
      "found.some((due) => due !== named) || undefined",
      'found.some((due) => due === "" + named) || undefined',
    ],
    [
      "a record is not made again for deliveries without one",
      "if (lease !== undefined || !await recreateRecord(runtime, memberId)) return lease;",
      'if (lease !== undefined || memberId !== "") return lease;',
      { tests: ["tests/unit/worker/process_delivery_test.ts"] },
    ],
    [
      "handlers run before the missed update",
      "!runsUpgrades(waiting.id) && !areUpgradesAttempted() && isDue(actionOf(options, lease))",
      "!runsUpgrades(waiting.id) && areUpgradesAttempted() && isDue(actionOf(options, lease))",
    ],
    [
      "a portal below its target is released",
      "else if (isDue(next) && !areUpgradesAttempted() && !hasMore) enqueueMissedUpdate(runtime, lease);",
      "else if (isDue(next) && areUpgradesAttempted() && !hasMore) enqueueMissedUpdate(runtime, lease);",
      { tests: ["tests/unit/worker/ask_portal_test.ts"] },
    ],
    [
      "the answer comes before the work is stored",
      "if (!isReleased && ended.length > 0) await lease.flush();",
      "if (!isReleased && ended.length < 0) await lease.flush();",
      { tests: ["tests/unit/worker/worker_test.ts"] },
    ],
  ]),
  ...mutantsOf("src/worker/tick.ts", ["tests/unit/worker/tick_test.ts"], [
    [
      "token pairs of a portal that was never stored are kept",
      "    await storage.delete(credentialsKey(memberId));\n",
      "    void credentialsKey;\n",
      { tests: ["tests/unit/worker/left_credentials_test.ts"] },
    ],
    [
      "the entry that a tick found is deleted although the record names it",
      "if (released.due !== due) await storage.delete(key);",
      "if (released.due !== due || true) await storage.delete(key);",
    ],
    [
      "the tick keeps stale entries",
      "if (released.due !== due) await storage.delete(key);",
      "if (released.due === due && false) await storage.delete(key);",
    ],
    [
      "the tick deletes only one stale entry of a portal",
      "for (const entry of entries) await deleteStale",
      "for (const entry of entries.slice(0, 1)) await deleteStale",
    ],
    [
      "a tick that finds several entries of a portal looks for no deliveries",
      "entries.map(({ due }) => due)",
      "[entries[0]!.due]",
      { tests: ["tests/unit/app/app_test.ts"] },
    ],
    [
      "a recent entry without a record is deleted",
      "entryTime(due) <= clock() - ORPHANED_MS",
      "entryTime(due) <= clock()",
    ],
    [
      "a leased portal uses up the limit of a tick",
      "processed.failed === 0 ||",
      "processed.failed < 0 ||",
    ],
    [
      "a portal that cannot be read uses up the limit of a tick",
      "|| processed.isUnreadable)",
      "|| processed.handled < 0)",
    ],
  ]),
  ...mutantsOf("src/worker/process_delivery.ts", ["tests/unit/worker/process_delivery_test.ts"], [
    [
      "the handlers of a finished delivery run again after a crash",
      "    if (isHandled(lease.record(), deliveryId)) {\n      remove(",
      '    if (isHandled(lease.record(), deliveryId + "!")) {\n      remove(',
    ],
    [
      "handlers of a removed portal run",
      'if (lease.record().status === "uninstalled" && event.name !== "ONAPPUNINSTALL") {',
      'if (lease.record().status === "uninstalled" && event.name === "ONAPPTEST") {',
      { reason: "an event of a removed portal is recognized before this check and after it as well" },
    ],
    [
      "a late removal runs its handlers on the installation after it",
      'if (event.name === "ONAPPUNINSTALL" && lease.record().status === "installed") {',
      'if (event.name === "ONAPPUNINSTALL" && lease.record().status !== "installed" && false) {',
      { tests: ["tests/unit/worker/ask_portal_test.ts"] },
    ],
    [
      "a parked delivery is tried at each tick",
      "return retryAt ?? (attempts === 0 ? -Infinity : Infinity);",
      "return retryAt ?? -Infinity * (attempts + 1);",
      { tests: ["tests/unit/worker/missed_updates_test.ts"] },
    ],
    [
      "an unknown version parks its event",
      'return { result: "deferred", nextAt: runtime.clock() + NEWER_CODE_RETRY_MS };\n  }\n  if (next',
      "throw problem;\n  }\n  if (next",
    ],
  ]),
  ...mutantsOf("src/worker/delivery_failure.ts", ["tests/unit/worker/process_delivery_test.ts"], [
    [
      "the attempts of an operator's retry are overwritten",
      "current.attempts === delivery.attempts && current.retryAt === delivery.retryAt ? changed : current",
      "current.attempts >= 0 || current.retryAt === delivery.retryAt ? changed : current",
    ],
    [
      "a parked event with a key of its own keeps the time of its last retry",
      "{ format: DELIVERY_FORMAT, ...changed }",
      "{ format: DELIVERY_FORMAT, ...delivery, ...changed }",
    ],
  ]),
  ...mutantsOf("src/worker/deploy_sweep.ts", ["tests/unit/worker/deploy_sweep_test.ts"], [
    [
      "older code starts the sweep of newer code over",
      "compareVersions(entry.value.version, version) > 0",
      "compareVersions(entry.value.version, version) > 9",
    ],
  ]),
  ...mutantsOf("src/worker/missed_updates.ts", ["tests/unit/worker/missed_updates_test.ts"], [
    [
      "a target is lowered if Bitrix24 is behind",
      "compareVersions(reference, version) < 0;",
      "compareVersions(reference, version) !== 0;",
    ],
  ]),
  ...mutantsOf("src/worker/ask_portal.ts", ["tests/unit/worker/ask_portal_test.ts"], [
    [
      "an answer that the holder of the lease applies hides an arrival",
      "settlement.hasWork && !access.isLeased;",
      "settlement.hasWork;",
      { scenarios: ["a verified removal"] },
    ],
    [
      "a pair that is not verified counts as one to ask with",
      "tokens?.filter(({ isVerified }) => isVerified === true)",
      "tokens?.filter(({ isVerified }) => isVerified !== null)",
    ],
  ]),
  ...mutantsOf("src/worker/turns.ts", ["tests/unit/worker/turns_test.ts"], [
    [
      "a fresh portal waits for all that have begun",
      'if (fresh.size > 0 && !(hasBegun && freshInARow >= BEGUN_EVERY - 1)) return "fresh";',
      'if (fresh.size > 0 && !hasBegun) return "fresh";',
    ],
    [
      "portals whose process has ended resume together",
      'if (!isAlone && (isAloneTaken || waiting.alone.size > 0)) next = "alone";',
      'if (!isAlone && isAloneTaken && waiting.alone.size < 0) next = "alone";',
    ],
    [
      "a turn never ends",
      "time.monotonic() - startedAt >= TURN_MS && size() > 0",
      "time.monotonic() - startedAt >= TURN_MS * 1_000 && size() > 0",
    ],
  ]),
  ...mutantsOf("src/worker/checks.ts", ["tests/unit/worker/checks_test.ts"], [
    [
      "a failed check is not repeated",
      "const retryAt = made === undefined && askableUntilOf(options, record) > repeatedAt ? repeatedAt : undefined;",
      "const retryAt = made === undefined && askableUntilOf(options, record) < 0 ? repeatedAt : undefined;",
    ],
    [
      "a new installation has the findings of the last one",
      "const problems = made?.generation === record.generation ? found : undefined;",
      "const problems = found;",
    ],
    [
      "a removed portal has findings",
      "  const change = ifInstalled(finished);\n",
      "  const change = finished;\n",
    ],
    [
      "a silent portal is not checked",
      "return Math.min(planned ?? Infinity, silentAt);",
      "return planned ?? silentAt * Infinity;",
    ],
  ]),
  ...mutantsOf("src/worker/recount.ts", ["tests/unit/worker/recount_test.ts"], [
    [
      "token pairs that a crash has left on a removed portal are kept until the purge",
      "    await deleteLeftCredentials(runtime, entry.value);\n",
      "  void deleteLeftCredentials;\n",
      { tests: ["tests/unit/worker/left_credentials_test.ts"] },
    ],
    [
      "the recount deletes entries of a write under way",
      "if (!isIndexedAs(written?.value.indexedAs, record?.indexedAs)) return;",
      "if (written === undefined) return;",
    ],
    [
      "a total that has changed meanwhile is replaced",
      "if (!await replaceTotal(storage, shard, counts, version)) continue;",
      "if (!await replaceTotal(storage, shard, counts, (await readTotals(storage)).get(shard)?.version ?? version)) continue;",
    ],
    [
      "orphaned schedule entries of the far future stay",
      'if (entry === "unreadable" || entry === null || entry.value.due === due) return;',
      'if (entry === "unreadable" || entry === null || key.length > 0) return;',
    ],
    [
      "a portal whose entries cannot be read ends the round",
      "if (!isUnreadable(err)) throw err;",
      "throw err;",
    ],
  ]),
  ...mutantsOf("src/worker/worker.ts", ["tests/unit/worker/worker_test.ts"], [
    [
      "a lease that nobody uses is renewed",
      "if (lease !== undefined || (isFirst && waiting === undefined))",
      "if (lease === undefined && isFirst && waiting === undefined)",
      { scenarios: ["two updates to one process"] },
    ],
  ]),
  ...mutantsOf("src/worker/waiting_tally.ts", ["tests/unit/worker/waiting_tally_test.ts"], [
    [
      "the count of waiting deliveries is kept after a pass over all of them",
      "if (!isExact) return record;",
      "if (!isExact || left === undefined) return record;",
    ],
  ]),
];
