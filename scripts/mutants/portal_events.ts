/** Mutants of `src/portal/` that are about events: how they are applied, claimed, and kept until they are verified or done. */
import { type Mutant, mutantsOf } from "./mutant.ts";

export const PORTAL_EVENTS: readonly Mutant[] = [
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
  ...mutantsOf("src/portal/planned_checks.ts", ["tests/unit/portal/planned_checks_test.ts"], [
    ["a planned check moves to a later time", "return planned <= at ? record :", "return planned === at ? record :"],
    [
      "a failed check erases what the one before it found",
      "const findings = problems === undefined ? known : problems.length === 0",
      "const findings = problems === undefined || problems.length === 0",
    ],
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
];
