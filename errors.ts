/**
 * The error classes of this package, and the union of their codes.
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage } from "@b24/onappupdate";
 * import { UnknownPortalError } from "@b24/onappupdate/errors";
 * import assert from "node:assert/strict";
 *
 * const app = createApp({ storage: memoryStorage() });
 * await assert.rejects(app.plan({ memberId: "a223c6b3710f85df22e9377d6c4f7553" }), UnknownPortalError);
 * await app.close();
 * ```
 *
 * @module
 */

export {
  AddressError,
  AnswerTooLargeError,
  type BlockedReason,
  CannotVerifyError,
  CopyError,
  type CopyProblem,
  type ErrorCode,
  FormatError,
  InboxFullError,
  InputError,
  type InputIssue,
  NoCredentialsError,
  NonRetriableError,
  NotAuthenticError,
  NotRehearsedError,
  OnAppUpdateError,
  PortalMovedError,
  RetryAfterError,
  StorageError,
  UnknownPortalError,
  UnreachableError,
  UpgradeError,
  VersionError,
} from "./src/errors.ts";
export { B24Error, type B24Failure } from "./src/bitrix24/b24_error.ts";
