/** The errors of Bitrix24: codes, HTTP statuses and descriptions. */

/** HTTP status and `error_description` by code. */
const ERRORS: Readonly<Record<string, readonly [status: number, description: string]>> = {
  expired_token: [401, "The access token provided has expired."],
  invalid_token: [401, "Unable to get application by token"],
  NO_AUTH_FOUND: [401, "Wrong authorization data"],
  invalid_request: [400, "Invalid request"],
  invalid_grant: [400, "Invalid grant"],
  invalid_client: [400, "Client not found"],
  WRONG_CLIENT: [200, "Wrong client"],
  NOT_INSTALLED: [401, "Application not installed"],
  PAYMENT_REQUIRED: [401, "Payment required"],
  insufficient_scope: [403, "The request requires higher privileges than provided by the access token"],
  invalid_scope: [403, "The request requires higher privileges than provided by the access token"],
  user_access_error: [403, "The user does not have access to the application."],
  ACCESS_DENIED: [403, "Access denied!"],
  METHOD_CONFIRM_WAITING: [401, "Waiting for confirmation"],
  METHOD_CONFIRM_DENIED: [403, "Method call denied"],
  QUERY_LIMIT_EXCEEDED: [503, "Too many requests"],
  OPERATION_TIME_LIMIT: [429, "Method is blocked due to operation time limit."],
  OVERLOAD_LIMIT: [503, "REST API is blocked due to overload."],
  INTERNAL_SERVER_ERROR: [500, "Internal server error"],
  ERROR_UNEXPECTED_ANSWER: [500, "Server returned an unexpected response"],
  ERROR_METHOD_NOT_FOUND: [404, "Method not found!"],
  ERROR_BATCH_METHOD_NOT_ALLOWED: [405, "Method is not allowed for batch usage"],
  ERROR_BATCH_LENGTH_EXCEEDED: [400, "Max batch length exceeded"],
  ERROR_WRONG_HANDLER_URL: [400, "Wrong handler URL"],
  ERROR_UNSUPPORTED_PROTOCOL: [400, "Unsupported handler protocol"],
  ERROR_ACTIVITY_ALREADY_INSTALLED: [400, "Activity or Robot already installed!"],
  ERROR_ACTIVITY_NOT_FOUND: [400, "Activity or Robot not found!"],
  ERROR_SENDER_ALREADY_INSTALLED: [400, "Sender already installed!"],
  ERROR_SENDER_NOT_FOUND: [400, "Sender not found!"],
  ERROR_NOT_FOUND: [400, "User Field Type not found"],
  ...v3Errors({
    ACCESSDENIEDEXCEPTION: [403, "Access denied"],
    ENTITYNOTFOUNDEXCEPTION: [400, "Entity not found"],
    IDEMPOTENCYKEYREUSEDEXCEPTION: [422, "The idempotency key was used with another request"],
    INSUFFICIENTSCOPEEXCEPTION: [403, "Insufficient scope"],
    INTERNAL_INTERNALEXCEPTION: [500, "Internal error"],
    INVALIDIDEMPOTENCYKEYEXCEPTION: [400, "Invalid idempotency key"],
    INVALIDJSONEXCEPTION: [400, "Invalid JSON"],
    METHODNOTFOUNDEXCEPTION: [404, "Method not found"],
    RATELIMITEXCEPTION: [429, "Rate limit exceeded"],
    RESTUNAVAILABLEEXCEPTION: [402, "REST is not available"],
    VALIDATION_REQUESTVALIDATIONEXCEPTION: [400, "Request validation error"],
  }),
};

/** Returns the errors of REST 3.0 by their whole codes. */
function v3Errors(errors: typeof ERRORS): typeof ERRORS {
  return Object.fromEntries(
    Object.entries(errors).map(([code, error]) => [`BITRIX_REST_V3_EXCEPTION_${code}`, error]),
  );
}

/** An error of Bitrix24: the answer to a request, or to a command of a batch. */
export class Refusal extends Error {
  /** Bitrix24's code; empty for some errors. */
  readonly code: string;
  /** HTTP status. */
  readonly status: number;
  /** Other fields of the answer. */
  readonly more: Readonly<Record<string, unknown>>;

  /** The defaults are those of Bitrix24 for `code`; for unknown codes, the status is 400. */
  constructor(
    code: string,
    { description, status, more = {} }: {
      readonly description?: string;
      readonly status?: number;
      readonly more?: Readonly<Record<string, unknown>>;
    } = {},
  ) {
    const [usualStatus, usualDescription] = ERRORS[code] ?? [400, ""];
    super(description ?? usualDescription);
    this.code = code;
    this.status = status ?? usualStatus;
    this.more = more;
  }

  /** Returns the body of the answer. */
  toJSON(): Record<string, unknown> {
    return { error: this.code, error_description: this.message, ...this.more };
  }
}

/** Returns the answer for a refusal. */
export function refused(refusal: Refusal): Response {
  return Response.json(refusal, { status: refusal.status });
}

/** Returns the error for a missing parameter. */
export function missing(parameter: string): Refusal {
  return new Refusal("ERROR_ARGUMENT", {
    description: `Argument '${parameter}' is null or empty`,
    more: { argument: parameter },
  });
}
