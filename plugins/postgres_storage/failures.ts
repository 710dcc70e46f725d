/** Errors of the clients and of the server. */

/**
 * A failed statement.
 *
 * - `refused`: it was not done, and would fail again.
 * - `no table`: it was not done, because the table is missing.
 * - `not done`: it was not done, and may succeed if it is repeated.
 * - `unknown`: it may have been done.
 */
export interface Failure {
  readonly kind: "refused" | "no table" | "not done" | "unknown";
  /** The client's error with its message and code, without the statement's values, which some clients attach to it. */
  readonly error: Error;
}

/** Codes of errors after which a repetition may succeed. The server has rolled the statement back or has not seen it. */
const TEMPORARY = new Set([
  "40001", // serialization failure
  "40P01", // deadlock
  "55P03", // lock_timeout
  "23505", // another process has inserted an entry that must be absent, or is creating the table
  "42P07", // another process has created the table
  "42710", // the same
  "25006", // read-only: the server is not the primary, or no longer
  "53300", // too many connections
  "57P03", // the server is starting or stopping
]);

/** Codes of connections that end: the reply may be missing, and the statement done. */
const INTERRUPTED = /^(08...|57P0[125])$/;

/** The client could not connect, so it has sent nothing. One that has tried several addresses has an error of each. */
function isUnsent(error: NodeJS.ErrnoException): boolean {
  const { code, syscall, message } = error;
  const { errors = [] } = error as Partial<AggregateError>;
  if (errors.length > 0 && errors.every((one) => one instanceof Error && isUnsent(one))) return true;
  return syscall === "connect" || syscall === "getaddrinfo" || code === "ECONNREFUSED" || code === "CONNECT_TIMEOUT" ||
    /timeout exceeded when trying to connect/.test(message);
}

/** Messages and codes of clients that are closed or, like `Client` of `pg`, do not connect again. */
const CLOSED = /not queryable|after calling end|PGlite is clos(ed|ing)|CONNECTION_ENDED/;

/** Returns what is known about a statement after an error. */
export function failureOf(thrown: unknown): Failure {
  const original: NodeJS.ErrnoException = thrown instanceof Error ? thrown : new Error(String(thrown));
  const { name, code } = original;
  // The first error of several is as good as any, if the client has tried several addresses.
  const message = original.message || (thrown as AggregateError).errors?.[0]?.message || code || name;
  // The lines after the first one may quote the statement.
  const [reason = ""] = String(message).split("\n");
  const error = Object.assign(new Error(reason), { name }, code === undefined ? {} : { code });
  return { kind: kindOf(original), error };
}

function kindOf(error: NodeJS.ErrnoException): Failure["kind"] {
  const code = String(error.code ?? "");
  if (code === "42P01") return "no table";
  if (TEMPORARY.has(code) || isUnsent(error)) return "not done";
  if (INTERRUPTED.test(code)) return "unknown";
  // Other codes of the server; the ones of the operating system, such as EPIPE, start with E.
  if (/^(?!E)[0-9A-Z]{5}$/.test(code)) return "refused";
  return CLOSED.test(`${code} ${error.message}`) ? "refused" : "unknown";
}
