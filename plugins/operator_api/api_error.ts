/** Errors of the operator API: what refuses a request, and the status of every error. */
import { redact } from "../../mod.ts";
import {
  FormatError,
  type InputIssue,
  OnAppUpdateError,
  StorageError,
  UnknownPortalError,
  UnreachableError,
  VersionError,
} from "../../errors.ts";

/** Members of an error in an answer. */
export interface ErrorBody {
  /** The cause, for programs. */
  readonly code: string;
  /** The cause, for people. */
  readonly message: string;
  /** The mistakes in the request. */
  readonly issues?: readonly InputIssue[];
  /** The portals that a domain names. */
  readonly portals?: readonly unknown[];
  /** The number of portals that match, if it is above `expect`. */
  readonly matched?: number;
}

/** A request that is refused. */
export class ApiError extends Error {
  readonly status: number;
  readonly body: ErrorBody;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, body: ErrorBody, headers: Readonly<Record<string, string>> = {}) {
    super(body.message);
    this.status = status;
    this.body = body;
    this.headers = headers;
  }
}

/** Maximum number of mistakes that an answer lists: a request can have many thousands. */
const MAX_ISSUES = 20;

/** Returns the error of mistakes in a request, with the first one at each path. `all` has at least one element. */
export function invalid(all: readonly InputIssue[]): ApiError {
  const byPath = new Map<string, InputIssue>();
  for (const issue of all) {
    if (byPath.size === MAX_ISSUES) break;
    if (!byPath.has(issue.path)) byPath.set(issue.path, issue);
  }
  const issues = [...byPath.values()];
  const message = issues.map(({ path, saw, wanted }) => `${path || "body"}: saw ${saw}, wanted ${wanted}`).join("; ");
  return new ApiError(400, { code: "invalid", message, issues });
}

/** Returns what is wrong with a version. */
export function versionIssue({ raw }: VersionError, path: string): InputIssue {
  return { path, saw: JSON.stringify(redact(raw.slice(0, 40))), wanted: 'a version such as "3", "2.1" or "2.1.0"' };
}

/** Codes of errors that the state of a portal causes. The same request may succeed later. */
const CONFLICTS: ReadonlySet<string> = new Set([
  ...["busy", "invalid_target", "invalid_version", "not_due", "nothing_to_roll_back", "retry_loop"],
  ...["last_stage", "other_stage", "rollback_unfinished", "rollout_over", "removed"],
]);

/** Codes of errors about something that is not stored. */
const UNKNOWN: ReadonlySet<string> = new Set(["unknown_batch", "unknown_rollout", "unknown_silence"]);

/** Returns what a thrown value is answered with; `undefined` if this program, or code of the vendor, has failed. */
export function refusalOf(thrown: unknown): ApiError | undefined {
  if (thrown instanceof ApiError) return thrown;
  if (!(thrown instanceof OnAppUpdateError)) return undefined;
  const body: ErrorBody = { code: thrown.code, message: redact(thrown.message) };
  if (thrown instanceof VersionError) return invalid([versionIssue(thrown, "version")]);
  if (thrown instanceof UnknownPortalError || UNKNOWN.has(thrown.code)) return new ApiError(404, body);
  if (CONFLICTS.has(thrown.code)) return new ApiError(409, body);
  if (thrown instanceof StorageError) return new ApiError(503, body, { "retry-after": "5" });
  if (thrown instanceof FormatError) return new ApiError(500, body);
  if (thrown instanceof UnreachableError) return new ApiError(502, body);
  return undefined;
}
