/** A route: one row of the table of the operator API. */
import type { Admin, App, Attribution, AuditedAction } from "../../mod.ts";
import type { OperatorRole, OperatorToken } from "./guard.ts";
import type { InputLine } from "./lines.ts";
import { REASON } from "./parameters.ts";
import type { ObjectSchema, Schema } from "./schema.ts";

/** The part of an app that the API uses. */
export type OperatorApp = Pick<App, "admin" | "check" | "plan" | "portal" | "rehearse" | "setUp">;

/** The caller: the name in the audit log, and the permission. */
export type Operator = Pick<OperatorToken, "name" | "role">;

/** A request that was authorized and checked. */
export interface Call<Query extends object = object, Body extends object = object> {
  readonly app: OperatorApp;
  readonly admin: Admin;
  /** The portal of `{portal}` in the path; empty if the path has none. */
  readonly memberId: string;
  /** The id of `{id}` in the path; empty if the path has none. */
  readonly id: string;
  /** The version of `{target}` in the path; empty if the path has none. */
  readonly target: string;
  readonly query: Query;
  /** Without `reason`. */
  readonly body: Body;
  /** The lines of the body, if the route takes lines; else none. */
  readonly lines: AsyncIterable<InputLine>;
  readonly operator: Operator;
  /** The name of the operator, and the reason in the body; a fixed one if the route takes none. */
  readonly attribution: Attribution;
  /** Aborted if the client goes away. */
  readonly signal: AbortSignal;
  /** Logs what has failed after the answer has begun. */
  readonly reportFailure: (thrown: unknown) => void;
}

/** One row of the table. */
export interface Row<Query extends object, Body extends object> {
  readonly method: "GET" | "POST";
  /** Path below `/api/v1`. `{portal}` is a `member_id` or a domain, and must be known; `{id}` and `{target}` are any strings. */
  readonly path: string;
  /** Unique: `operationId` of the document. */
  readonly id: string;
  /** First sentence of the document. */
  readonly summary: string;
  readonly role: OperatorRole;
  /** The name of an action in the audit log. The route then requires `reason`, and attempts without the role are recorded. */
  readonly action?: AuditedAction;
  /** `reason` may be left out: the audit log then names the route. */
  readonly isReasonOptional?: true;
  /** Maximum number of calls of an operator in an hour, in this process; more are answered 429. No limit by default. */
  readonly maxPerHour?: number;
  /** The parameters of the query; none if it is absent. */
  readonly query?: ObjectSchema;
  /** The fields of the body without `reason`; none if it is absent. Only of POST. */
  readonly body?: ObjectSchema;
  /** The fields of a line, if the body is a list of any length as JSON lines. `reason` is then a parameter of the query. */
  readonly lines?: ObjectSchema;
  /** Status of the answer. `@default 200` */
  readonly status?: 200 | 201;
  /** The schema of the answer, whose other fields are dropped; or the media types of a stream, by the value of `format`. */
  readonly answer: Schema | Stream;
  /** Returns the answer: a value, or a `Response` if it is a stream. */
  readonly run: (call: Call<Query, Body>) => Promise<unknown>;
}

/** An answer of any length, one item a line. */
export interface Stream {
  readonly stream: Readonly<Record<string, string>>;
  /** Schema of an item. */
  readonly item: ObjectSchema;
}

/** A route, whatever its parameters. */
export interface Route extends Row<object, object> {
  readonly query: ObjectSchema;
  readonly body: ObjectSchema;
}

const NOTHING: ObjectSchema = { type: "object", properties: {}, required: [] };

/** Makes a route of a row. Its query and body are checked by its schemas before `run` is called. */
export function route<Query extends object = object, Body extends object = object>(row: Row<Query, Body>): Route {
  const { query = NOTHING, body = NOTHING, method, action, lines, isReasonOptional = false } = row;
  const isAction = method === "POST" && action !== undefined;
  const isInQuery = lines !== undefined;
  const withReason = (schema: ObjectSchema): ObjectSchema => ({
    ...schema,
    properties: { ...schema.properties, reason: REASON },
    required: isReasonOptional ? schema.required : [...schema.required, "reason"],
  });
  return {
    ...row,
    query: isAction && isInQuery ? withReason(query) : query,
    body: isAction && !isInQuery ? withReason(body) : body,
  } as Route;
}
