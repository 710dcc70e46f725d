import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "../support/test.ts";

/**
 * The names that every export path has at run time. A name that goes away breaks programs, and a new one is a promise: both
 * belong in the changelog.
 */
const EXPORTS: Readonly<Record<string, readonly string[]>> = {
  ".": [
    "B24Error",
    "CannotVerifyError",
    "NonRetriableError",
    "NotAuthenticError",
    "OnAppUpdateError",
    "RetryAfterError",
    "Secret",
    "checkOptions",
    "coerced",
    "connectionAddress",
    "consoleLogger",
    "countCall",
    "createApp",
    "currentRehearsal",
    "currentStep",
    "deployed",
    "digestToken",
    "encrypted",
    "isReadMethod",
    "mapped",
    "memoryStorage",
    "option",
    "parseEvent",
    "pinoLogger",
    "readAnswer",
    "redact",
    "rehearsalSnapshot",
    "verificationRules",
  ],
  "./application-token": [
    "applicationToken",
  ],
  "./b24jssdk": [
    "b24jssdk",
  ],
  "./deno-kv-storage": [
    "denoKvStorage",
  ],
  "./errors": [
    "AddressError",
    "AnswerTooLargeError",
    "B24Error",
    "CannotVerifyError",
    "CopyError",
    "FormatError",
    "InboxFullError",
    "InputError",
    "NoCredentialsError",
    "NonRetriableError",
    "NotAuthenticError",
    "NotRehearsedError",
    "OnAppUpdateError",
    "PortalMovedError",
    "RetryAfterError",
    "StorageError",
    "UnknownPortalError",
    "UnreachableError",
    "UpgradeError",
    "VersionError",
  ],
  "./file-storage": [
    "fileStorage",
  ],
  "./health": [
    "health",
  ],
  "./node-server": [
    "serve",
    "toNodeHandler",
  ],
  "./notifications": [
    "consoleChannel",
    "emailChannel",
    "notifications",
    "portalMessageChannel",
    "renderText",
    "slackChannel",
    "telegramChannel",
    "webhookChannel",
  ],
  "./operator": [
    "operatorApi",
  ],
  "./operator-console": [
    "operatorConsole",
  ],
  "./opening-page": [
    "openingPage",
  ],
  "./postgres-storage": [
    "postgresStorage",
  ],
  "./redis-storage": [
    "redisStorage",
  ],
  "./registrations": [
    "registrations",
  ],
  "./rest": [
    "rest",
    "resultOf",
  ],
  "./telemetry": [
    "telemetry",
  ],
  "./storage": [
    "Secret",
    "assertKey",
    "compareKeys",
    "copyStorage",
    "createBackendCaller",
    "decodeKey",
    "decodeValue",
    "encodeKey",
    "encodeOperations",
    "encodeValue",
    "encrypted",
    "expiryOf",
    "isExpired",
    "listEntries",
    "memoryStorage",
    "writeInOrder",
  ],
  "./testing": [
    "STORAGE_REQUIREMENTS",
    "crashEverywhere",
    "fakeAnswers",
    "fakeBitrix24",
    "faultyStorage",
    "forwardingFetch",
    "storageConformance",
    "storageWorker",
  ],
};
/** Importing the command line runs it; it exports nothing. */
const RUNS = ["./cli", "./create"];

const root = fileURLToPath(new URL("../..", import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));

test("every export path is pinned here", () => {
  assert.deepEqual(Object.keys(manifest.exports).sort(), [...Object.keys(EXPORTS), ...RUNS].sort());
});

for (const [path, names] of Object.entries(EXPORTS)) {
  const name = path.replace(/^\./, "@b24/onappupdate");
  test(`${name} exports what it did`, async () => {
    assert.deepEqual(Object.keys(await import(name)).sort(), [...names].sort());
  });
}
