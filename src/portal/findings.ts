/** Findings: the problems that a check of a portal found, as the portal's record keeps them. */
import { redact } from "../redact.ts";
import type { Secret } from "../secret.ts";
import { storedText } from "./stored_text.ts";

/** A reason why a portal gets no events, or does not reach its target. */
export interface CheckProblem {
  /**
   * `uninstalled`; `not_installed` (Bitrix24 sends no events before the app's installer calls `installFinish`);
   * `unconfirmed` (an event claims what Bitrix24 does not confirm); `parked` (an upgrade has failed for good); a
   * `BlockedReason` such as `payment`; or the name of the plugin that found the problem.
   */
  readonly code: string;
  /** Description for people, without tokens. */
  readonly message: string;
}

/** The problems that a check of a portal found. */
export interface CheckFindings {
  /** When the check ended, in milliseconds since 1970. */
  readonly at: number;
  /** The first 20 problems, each with the first 300 characters of its message. Never empty. */
  readonly problems: readonly CheckProblem[];
}

/** Bounds of findings: they are in the portal's record, which each write of it contains. */
const MAX_PROBLEMS = 20;
const MAX_MESSAGE_LENGTH = 300;
const MAX_CODE_LENGTH = 100;

/** Returns problems as they are stored: bounded, and without secrets. */
export function storedProblems(problems: readonly CheckProblem[], secrets: readonly Secret[]): readonly CheckProblem[] {
  return problems.slice(0, MAX_PROBLEMS).map(({ code, message }) => ({
    code: storedText(code, MAX_CODE_LENGTH),
    message: storedText(redact(message, secrets), MAX_MESSAGE_LENGTH),
  }));
}
