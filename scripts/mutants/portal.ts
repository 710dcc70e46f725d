/** Mutants of `src/portal/`. */
import { type Mutant, mutantsOf } from "./mutant.ts";

export const PORTAL: readonly Mutant[] = [
  ...mutantsOf("src/portal/apply_event.ts", ["tests/unit/portal/apply_event_test.ts"], [
    [
      "an older update lowers the target",
      "compareVersions(target, record.target) > 0;",
      "compareVersions(target, record.target) !== 0;",
    ],
    [
      "an event from before the removal counts for the installation after it",
      "return record?.uninstalledTs !== undefined && sentTs(event, facts) < record.uninstalledTs;",
      "return record?.uninstalledTs === -1;",
    ],
    [
      "a late removal of an earlier installation takes effect",
      "if (ts < record.installedTs || facts.verification.claims !== undefined) return record;",
      "if (facts.verification.claims !== undefined) return record;",
    ],
    [
      "a removal that only the application token verifies takes effect at once",
      "if (ts < record.installedTs || facts.verification.claims !== undefined) return record;",
      "if (ts < record.installedTs) return record;",
    ],
    [
      "a removal that is applied again ends the installation after it",
      "Math.max(sentTs(event, facts), record.uninstalledTs! + 1)",
      "sentTs(event, facts)",
      { tests: ["tests/unit/intake/clocks_test.ts"] },
    ],
    [
      "a token that waited when a removal was claimed by it shows a new installation",
      "if (tokenDigest !== undefined && digest === tokenDigest) return true;",
      "void tokenDigest;",
      { tests: ["tests/unit/credentials/identity_test.ts"] },
    ],
    [
      "an event after one with an unknown version replaces the verified domain",
      '...(record?.status === "installed" && { domain: record.domain }),',
      "",
    ],
    [
      "an installation keeps the application token of the one before it",
      '...(record?.status === "uninstalled" ? withoutInstallation(record) : record),',
      "...record,",
    ],
  ]),
  ...mutantsOf("src/portal/verified_facts.ts", ["tests/unit/portal/apply_event_test.ts"], [
    [
      "the OAuth host counts as the domain of a portal",
      'return name === "ONAPPUSERREADY" ? undefined : domain;',
      "return name === undefined ? undefined : domain;",
    ],
    [
      "an event replaces what a later check has reported",
      "const isCurrent = checkedAt <= receivedAt && (isNewest || tokens !== undefined);",
      "const isCurrent = isNewest || tokens !== undefined;",
    ],
    [
      "an older event ends a block",
      "const known = isNewest ? withUnverifiedDomain",
      "const known = isNewest || true ? withUnverifiedDomain",
    ],
  ]),
  ...mutantsOf("src/portal/block.ts", ["tests/unit/upgrade/step_kinds_test.ts"], [
    [
      "the block of a portal begins anew at each attempt",
      "blocked?.on === on ? blocked.since : isBack ? endedBlock.since : now;",
      "blocked?.on === on ? now : isBack ? endedBlock.since : now;",
    ],
  ]),
  ...mutantsOf("src/portal/receipt.ts", ["tests/unit/intake/clocks_test.ts"], [
    [
      "events count as received by a clock that is behind",
      "return Math.max(now, Math.max(latestTs, installedTs, uninstalledTs) * 1000, targetSetAt + 1, ...removals);",
      "return Math.max(now, ...removals.slice(removals.length + latestTs + installedTs + uninstalledTs + targetSetAt));",
    ],
    [
      "a verified installation with a token of its own does not outrank its ts",
      "if (isLate && isNewInstallation(",
      "if (isLate && !isLate && isNewInstallation(",
    ],
  ]),
  ...mutantsOf("src/portal/event_facts.ts", ["tests/unit/portal/apply_event_test.ts"], [
    ["a ts of the future outranks later events", "Math.min(ts, Math.floor(receivedAt / 1000))", "ts + receivedAt * 0"],
  ]),
  ...mutantsOf("src/portal/event_claims.ts", ["tests/unit/portal/apply_event_test.ts"], [
    [
      "a claim is believed although there is a token to ask with",
      "const isBelieved = !canBeAsked && joined",
      "const isBelieved = joined",
    ],
    [
      "a version that Bitrix24 has contradicted is believed",
      "!canBeAsked && joined.wasContradicted !== true &&",
      "!canBeAsked &&",
    ],
    [
      "an event from before an operator set the target raises it",
      "return targetSetAt !== undefined && receivedAt <= targetSetAt;",
      "return targetSetAt !== undefined && receivedAt < 0;",
    ],
    [
      "the delivery of a dropped claim is worked on",
      'return known.settled.as === "confirmed" ? "work" : "drop";',
      'return "work";',
      { tests: ["tests/unit/worker/ask_portal_test.ts"] },
    ],
  ]),
  ...mutantsOf("src/portal/claims.ts", ["tests/unit/portal/claims_test.ts"], [
    [
      "a claim is dropped at its first contradiction",
      ".find((at) => at > now);",
      ".find((at) => at > now + Infinity);",
    ],
    [
      "an unanswered question is repeated without back-off",
      "UNANSWERED_FIRST_MS * 2 ** Math.min(count, 10)",
      "UNANSWERED_FIRST_MS * 2 ** Math.min(count * 0, 10)",
    ],
  ]),
  ...mutantsOf("src/portal/settle.ts", ["tests/unit/portal/settle_test.ts"], [
    [
      "a removal is confirmed by an answer for lack of tokens, although it was contradicted",
      'answer.state === "no_tokens" && removal?.wasContradicted !== true;',
      'answer.state === "no_tokens";',
      { tests: ["tests/unit/worker/ask_portal_test.ts"] },
    ],
    [
      "a believed target is not lowered to the installed version",
      "return withConfirmedTarget({ ...record, target: compareVersions(reported, version) > 0 ? reported : version });",
      "return record;",
    ],
    [
      "an answer lowers a target that Bitrix24 has confirmed",
      "if (isTargetUnconfirmed === undefined) return record;",
      "if (isTargetUnconfirmed === undefined) return { ...record, target: reported };",
    ],
  ]),
  ...mutantsOf("src/portal/identity.ts", ["tests/unit/credentials/identity_test.ts"], [
    [
      "an ordinary user changes the application token",
      "if (!next.isAdmin) return after;",
      "if (next.isAdmin === undefined) return after;",
    ],
  ]),
  ...mutantsOf("src/portal/tokens.ts", ["tests/unit/portal/tokens_test.ts"], [
    [
      "an unverified pair replaces a verified one",
      "return stored.isVerified ? !waits : (stored.pending !== undefined) === waits;",
      "return true;",
    ],
    [
      "an older pair replaces a newer one",
      "next.ts > ts || (next.ts === ts && next.expiresAt >= expiresAt)",
      "next.ts >= 0 || (next.ts === ts && next.expiresAt >= expiresAt)",
    ],
  ]),
  ...mutantsOf("src/portal/inbox.ts", ["tests/unit/app/app_test.ts"], [
    [
      "a copy of a finished event is handled again",
      "some((done) => done[0] === id) ?? false;",
      'some((done) => done[0] === id + "!") ?? false;',
    ],
    [
      "an id is recorded after its delivery is removed",
      "after: [{ delete: deliveryKey(record.memberId, id) }]",
      "before: [{ delete: deliveryKey(record.memberId, id) }]",
      { scenarios: ["two large updates"] },
    ],
    [
      "a delivery of any size is put into the record",
      "return inbox.length < MAX_IN_RECORD && size <= MAX_SIZE_IN_RECORD && total <= MAX_TOTAL_IN_RECORD;",
      "return inbox.length < MAX_IN_RECORD || total < 0;",
    ],
  ]),
  ...mutantsOf("src/portal/waiting.ts", ["tests/unit/portal/waiting_test.ts"], [
    [
      "ordinary events are taken beyond the bound",
      "events >= MAX_WAITING || size",
      "events >= MAX_WAITING * 10 || size",
    ],
    ["the newest life-cycle event gives way", "|| b.receivedAt - a.receivedAt", "|| a.receivedAt - b.receivedAt"],
  ]),
  ...mutantsOf("src/portal/inbox_list.ts", ["tests/unit/portal/inbox_list_test.ts"], [
    [
      "deliveries are worked on in any order",
      "Number(runsUpgrades(b.id)) - Number(runsUpgrades(a.id)) || a.delivery.receivedAt - b.delivery.receivedAt",
      "a.delivery.receivedAt - b.delivery.receivedAt",
    ],
  ]),
  ...mutantsOf("src/portal/lease.ts", ["tests/unit/portal/lease_test.ts"], [
    [
      "the lease of another process counts as free",
      "lease.until > now && !abandonedOn(storage).has(lease.owner)",
      "lease.until > now + Infinity && !abandonedOn(storage).has(lease.owner)",
    ],
    ["the fencing token stays the same", "(record.fencingToken ?? 0) + 1", "(record.fencingToken ?? 1)"],
    [
      "a holder writes although another process has its lease",
      "if (record?.lease?.owner !== owner) throw loseTo(record);",
      "if (record === undefined) throw loseTo(record);",
    ],
    [
      "a holder that was paused relies on its lease",
      "return passedMs > leaseMs * HELD_PART;",
      "return passedMs > Infinity * HELD_PART;",
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
  ...mutantsOf("src/portal/credentials_record.ts", ["tests/unit/portal/credentials_record_test.ts"], [
    [
      "token pairs of an installation that is over are used",
      "generation === named.generation && sequence >= named.sequence",
      "sequence >= named.sequence || generation > named.generation * 0",
    ],
    [
      "a refreshed token pair is overwritten by an older one of another process",
      ", ifVersion: credentials?.version ?? null };",
      " };",
    ],
    [
      "the token pairs of a removed portal are kept",
      "return credentials === null ? {} :",
      "return credentials !== undefined ? {} :",
    ],
    [
      "a crash loses an application_token that was just proved",
      "if (proved !== undefined && sequence > record.credentials.sequence)",
      "if (proved !== undefined && sequence > Infinity)",
    ],
    [
      "a refresh writes the record",
      "record: isKept ? stored :",
      "record: isKept && isTouched ? stored :",
    ],
    [
      "token pairs that the record does not name are replaced without the record",
      "belongTo(stored, credentials.value) &&\n    stored.tokens",
      "stored.memberId === memberId &&\n    stored.tokens",
    ],
    [
      "the credentials of a claim are read after its delivery is written",
      "if (knownCredentials(storage, record) === undefined) readCredentials",
      "if (knownCredentials(storage, record) === null) readCredentials",
      { tests: ["tests/unit/costs_test.ts"] },
    ],
  ]),
  ...mutantsOf("src/portal/record_store.ts", ["tests/unit/portal/credentials_record_test.ts"], [
    [
      "token pairs that a refused write left on a removed portal are kept",
      "mustWrite: isAboutCredentials && isRemoved && isLeft",
      "mustWrite: isAboutCredentials && isRemoved && !isLeft",
    ],
    [
      "token pairs in memory are written again after another process has changed them",
      'isAboutCredentials ? "reread" : need)',
      "need)",
    ],
    [
      "a write that leaves its token pairs in the record opens it",
      'need === "unopened" && record?.credentials !== undefined;',
      'need === "unopened" && record?.credentials === null;',
    ],
    [
      "a change that needs all token pairs gets those of the record, because another change leaves it unopened",
      '["reread", "opened", undefined, "unopened"]',
      '["unopened", "reread", "opened", undefined]',
    ],
  ]),
  ...mutantsOf("src/portal/record_change.ts", ["tests/unit/portal/credentials_record_test.ts"], [
    [
      "token pairs are written before the schedule entry",
      "before.splice(before.findLastIndex(isFirst) + 1, 0,",
      "before.splice(before.findIndex(isFirst) * 0, 0,",
    ],
  ]),
  ...mutantsOf("src/portal/stored_credentials.ts", ["tests/unit/portal/credentials_record_test.ts"], [
    [
      "a token pair that the portal has is stored in its record again",
      "known.includes(tokenFingerprintOf(pair)) ||",
      'known.includes(tokenFingerprintOf({ ...pair, accessToken: "" })) ||',
    ],
    [
      "an older event replaces the application token",
      "return ts < applicationTokenTs;",
      "return ts < -applicationTokenTs;",
      { tests: ["tests/unit/portal/apply_event_test.ts"] },
    ],
    [
      "an application token that waits removes the app after a later one was proved",
      "waiting.filter(({ ts }) => !isSuperseded(ts, record))",
      "waiting.filter(({ ts }) => !isSuperseded(ts, {}))",
      { tests: ["tests/unit/credentials/identity_test.ts"] },
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
  ...mutantsOf("src/portal/planned_checks.ts", ["tests/unit/portal/planned_checks_test.ts"], [
    ["a planned check moves to a later time", "return planned <= at ? record :", "return planned === at ? record :"],
  ]),
  ...mutantsOf("src/portal/unverified_turn.ts", ["tests/unit/portal/unverified_test.ts"], [
    [
      "two processes verify events of a portal at once",
      "head.owner.until > now) return head;",
      "head.owner.until > now + Infinity) return head;",
    ],
  ]),
  ...mutantsOf("src/portal/unverified_bounds.ts", ["tests/unit/portal/unverified_test.ts"], [
    [
      "an untrusted event replaces one of a trusted address",
      "kept.filter(({ isTrusted }) => isTrusted !== true);",
      "kept.filter(({ isTrusted }) => isTrusted !== null);",
    ],
  ]),
  ...mutantsOf("src/portal/removal.ts", ["tests/unit/portal/apply_event_test.ts"], [
    [
      "a believed removal can be undone for ever",
      "now - removalBelievedAt < UNDO_MS",
      "now - removalBelievedAt < Infinity * UNDO_MS",
    ],
    [
      "a removal that was undone takes effect when it is applied again",
      "Math.max(record.installedTs, ts, uninstalledTs + 1)",
      "Math.max(record.installedTs, ts, uninstalledTs)",
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
