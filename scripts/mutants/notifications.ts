/** Mutants of notifications. */
import { type Mutant, mutantsOf } from "./mutant.ts";

const FOLDER = "tests/unit/plugins/notifications";
const GROUPS = [`${FOLDER}/groups_test.ts`];
const HELD = [`${FOLDER}/holding_back_test.ts`];
const ROLLOUTS = [`${FOLDER}/rollout_notifications_test.ts`];
const FAILING = [`${FOLDER}/failing_channels_test.ts`];
const WATCHING = [`${FOLDER}/watching_test.ts`];
const RULES = [`${FOLDER}/rules_test.ts`];
const CRASHES = ["tests/chaos/notifications_crash_test.ts"];

export const NOTIFICATIONS: readonly Mutant[] = [
  ...mutantsOf("plugins/notifications/flush.ts", GROUPS, [
    [
      "a silence holds nothing back",
      "silences.some((silence) => isSilenced(group, silence)) ||",
      "",
      { tests: HELD },
    ],
    ["a silence of one upgrade holds all back", "(upgradeId ?? labels.upgradeId) === labels.upgradeId", "true", {
      tests: HELD,
    }],
    [
      "quiet hours hold nothing back",
      '(isQuiet(now) && KINDS[group.kind].severity !== "critical");',
      "false;",
      { tests: HELD },
    ],
    [
      "quiet hours hold back what is critical",
      '(isQuiet(now) && KINDS[group.kind].severity !== "critical");',
      "isQuiet(now);",
      { tests: ROLLOUTS },
    ],
    [
      "events that are refused add up in quiet hours",
      'if (isHeldBack && KINDS[group.kind].end !== "count") return;',
      "if (isHeldBack) return;",
      { tests: WATCHING },
    ],
    [
      "a message names a portal that was erased while its group was read",
      "compose(other, level, parts.compose)",
      "compose(group, level, parts.compose)",
    ],
    ["a paused rollout silences no portal", 'return on === "failures" || on === "resume";', "return false;", {
      tests: ROLLOUTS,
    }],
    [
      "nobody sends what a process has composed before it ended",
      "if (isMine) await send(parts, key, incarnation, taken!);",
      "void isMine;",
      { tests: CRASHES },
    ],
    ["two processes send one message each", "if (isStored) await send(", "await send(", {
      reason: "both put it under one id, so the outbox keeps one; a second delivery takes a race with the first",
    }],
  ]),
  ...mutantsOf("plugins/notifications.ts", [`${FOLDER}/watching_test.ts`], [
    ["a storage that is full is not told", "await probe();", ""],
  ]),
  ...mutantsOf("plugins/notifications/decide.ts", GROUPS, [
    ["news wait for the repetition", "isNews ? groupIntervalMs : repeatIntervalMs", "repeatIntervalMs"],
    ["messages are not repeated", "isNews ? groupIntervalMs : repeatIntervalMs", "isNews ? groupIntervalMs : Infinity"],
    [
      "what is over before it was told is told",
      '? { action: "forget" } : { action: "wait", at: Math.min(overAt, now + GRACE_MS / 2) }',
      '? { action: "resolve" } : { action: "wait", at: overAt }',
    ],
  ]),
  ...mutantsOf("plugins/notifications/delivering.ts", FAILING, [
    ["the fallback sends what is retried", "attempt >= retry.maxAttempts", "true"],
    ["errors of channels quote addresses", '.replace(ADDRESS, "[address]")', ""],
    [
      "a hanging channel is not aborted",
      "await abortable(limit, async () => await channel.send",
      "await abortable(signal, async () => await channel.send",
      {
        reason: "the outbox aborts the attempt five seconds later",
      },
    ],
  ]),
  ...mutantsOf("plugins/notifications/routing.ts", FAILING, [
    ["a channel is told that it fails", ".filter((name) => name !== channel)", ""],
  ]),
  ...mutantsOf("plugins/notifications/observing.ts", RULES, [
    ["customers are told of blocks that they cannot end", "!CUSTOMER_BLOCKS.has(on) || ", ""],
    [
      "customers are told of one need again and again",
      "if ((await host.storage.get<ToldBlock>(key))?.value.on === on) return;",
      "",
    ],
    ["operators are told of blocks that customers end", "if (OPERATOR_BLOCKS.has(on) && isWanted", "if (isWanted"],
  ]),
  ...mutantsOf("plugins/notifications.ts", FAILING, [
    [
      "a message about a failing channel that fails causes another",
      'if (message.kind === "channel_failing") return;',
      "",
    ],
  ]),
];
