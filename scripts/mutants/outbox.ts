/** Mutants of `src/outbox/`. */
import { type Mutant, mutantsOf } from "./mutant.ts";

export const OUTBOX: readonly Mutant[] = [
  ...mutantsOf("src/outbox/messages.ts", ["tests/unit/outbox/outbox_test.ts"], [
    [
      "two processes deliver a message that both have found",
      "{ put: key, value, ifVersion: version, ttlMs },",
      "{ put: key, value, ttlMs },",
    ],
    [
      "a tick takes a message that is being stored out of the schedule",
      "if (entryTime(due) <= clock() - ORPHANED_MS)",
      "if (entryTime(due) <= clock())",
    ],
    [
      "another message replaces the one with its id that waits",
      "{ put: outboxMessageKey(plugin, id), value, ifVersion: null, ttlMs },",
      "{ put: outboxMessageKey(plugin, id), value, ttlMs },",
    ],
  ]),
  ...mutantsOf("src/outbox/messages.ts", ["tests/unit/outbox/messages_test.ts"], [
    [
      "a message that another process has taken is deleted",
      "[{ delete: key, ifVersion: version }, {",
      "[{ delete: key }, {",
    ],
    [
      "the dead letter of another process is replaced, and deleted",
      "if ((await storage.get(messageKey))?.version !== version) return false;",
      "await storage.get(messageKey);",
    ],
    [
      "the dead letter that another process stores meanwhile is replaced, and deleted",
      "{ put: key, value, ifVersion, ttlMs: DEAD_KEPT_MS }",
      "{ put: key, value, ttlMs: DEAD_KEPT_MS }",
    ],
    [
      "a message that another process takes meanwhile is a dead letter as well",
      "if (isOwn) await storage.delete(",
      "if (left === null && isOwn) await storage.delete(",
    ],
  ]),
  ...mutantsOf("src/outbox/delivery.ts", ["tests/unit/outbox/outbox_test.ts"], [
    [
      "a message whose process ends each time is delivered for ever",
      "if (attempts > maxAttemptsOf(handler.retry ?? runtime.retry)) {",
      "if (attempts > 100 * maxAttemptsOf(handler.retry ?? runtime.retry)) {",
    ],
    [
      "an attempt that the closing app ends counts",
      "taken, now, { attempts: attempt - 1 });",
      "taken, now, { attempts: attempt });",
    ],
    [
      "messages of a plugin that this code does not have are taken from other code",
      "const isOurs = handlerOf(message.plugin) !== undefined || ",
      'const isOurs = message.plugin !== "" || ',
    ],
    [
      "one channel takes all places of its plugin",
      "name !== undefined && channel.running >= MAX_OF_CHANNEL",
      "false",
    ],
    [
      "a message is delivered after its 7 days",
      "if (expiresAt <= clock() || handler === undefined)",
      "if (handler === undefined)",
    ],
  ]),
];
