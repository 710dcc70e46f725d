/** Reads the parts of a request: query and body, within limits and by their schemas. */
import type { InputIssue } from "../../errors.ts";
import { ApiError, invalid } from "./api_error.ts";
import { issuesOf, type ObjectSchema, type Schema } from "./schema.ts";

/** @throws {ApiError} 400, if a parameter is unknown, repeated or invalid */
export function readQuery(url: URL, schema: ObjectSchema): Readonly<Record<string, unknown>> {
  const values: Record<string, unknown> = {};
  const repeated: InputIssue[] = [];
  for (const [name, text] of url.searchParams) {
    if (Object.hasOwn(values, name)) repeated.push({ path: name, saw: "several values", wanted: "one" });
    Object.defineProperty(values, name, {
      ...{ value: parsed(Object.hasOwn(schema.properties, name) ? schema.properties[name] : undefined, text) },
      ...{ enumerable: true, configurable: true, writable: true },
    });
  }
  const issues = [...repeated, ...issuesOf(schema, values, "")];
  if (issues.length > 0) throw invalid(issues);
  return values;
}

function parsed(schema: Schema | undefined, text: string): unknown {
  if (schema?.type === "integer" && /^-?\d{1,15}$/.test(text)) return Number(text);
  if (schema?.type === "boolean" && /^(true|false)$/.test(text)) return text === "true";
  return text;
}

/**
 * Reads a body of JSON.
 *
 * @throws {ApiError} 400, 408, 413 or 415
 */
export async function readJson(request: Request, schema: ObjectSchema, maxBytes: number): Promise<unknown> {
  const text = await readText(request, maxBytes, "JSON in UTF-8");
  // So that an action without parameters needs no body.
  if (text === "" && schema.required.length === 0) return {};
  assertMediaType(request, "application/json");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid([{ path: "", saw: text === "" ? "no body" : "a body that is not JSON", wanted: "JSON" }]);
  }
  const issues = [...operatorIssues(schema, value), ...issuesOf(schema, value, "")];
  if (issues.length > 0) throw invalid(issues);
  return value;
}

/** The operator is the one whose token came with the request, and nobody else. */
function operatorIssues({ properties }: ObjectSchema, value: unknown): InputIssue[] {
  if (Object.hasOwn(properties, "by") || typeof value !== "object" || value === null || !Object.hasOwn(value, "by")) {
    return [];
  }
  return [{ path: "by", saw: "a field that is not accepted", wanted: "none: the operator is the name of the token" }];
}

/** @throws {ApiError} 415, if the body is another one */
export function assertMediaType(request: Request, wanted: string): void {
  const type = request.headers.get("content-type") ?? "";
  const encoding = request.headers.get("content-encoding") ?? "identity";
  const [media = "", ...parameters] = type.split(";").map((part) => part.trim().toLowerCase());
  const isUtf8 = parameters.every((parameter) =>
    !parameter.startsWith("charset=") || /^charset="?utf-8"?$/.test(parameter)
  );
  if (media === wanted && isUtf8 && encoding.toLowerCase() === "identity") return;
  throw new ApiError(415, { code: "media_type", message: `wanted content-type ${wanted}, in UTF-8 and uncompressed` });
}

/** Returns the error of a request whose body is gone: a mistake in the vendor's server. */
export function bodyWasRead(): TypeError {
  return new TypeError(
    "cannot read the body of the request: it was read before, wanted the handler before anything that reads bodies",
  );
}

/** Time (ms) within which a body must arrive: not every server has a limit of its own. */
const BODY_TIMEOUT_MS = 10_000;

/**
 * Returns the body. `wanted`: for the error.
 *
 * @throws {ApiError} 400, 408 or 413
 */
export async function readText(
  request: Request,
  maxBytes: number,
  wanted: string,
  timeoutMs: number = BODY_TIMEOUT_MS,
): Promise<string> {
  if (request.bodyUsed) {
    throw bodyWasRead();
  }
  const tooLarge = (): ApiError =>
    new ApiError(413, { code: "too_large", message: `wanted a body of at most ${maxBytes} bytes` }, {
      connection: "close",
    });
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) throw tooLarge();
  if (request.body === null) return "";
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const reader = request.body.getReader();
  const { promise: expired, reject: expire } = Promise.withResolvers<never>();
  const timer = setTimeout(() => expire(tooSlow(timeoutMs)), timeoutMs);
  let [text, size] = ["", 0];
  try {
    while (true) {
      const { value, done } = await Promise.race([reader.read(), expired]);
      if (done) return text + decoder.decode();
      size += value.byteLength;
      if (size > maxBytes) throw tooLarge();
      text += decoder.decode(value, { stream: true });
    }
  } catch (error) {
    reader.cancel().catch(() => {});
    if (error instanceof ApiError) throw error;
    throw invalid([{ path: "", saw: "a body that is incomplete or not UTF-8", wanted }]);
  } finally {
    clearTimeout(timer);
  }
}

function tooSlow(timeoutMs: number): ApiError {
  return new ApiError(408, { code: "too_slow", message: `wanted the body within ${timeoutMs} ms` }, {
    connection: "close",
  });
}
