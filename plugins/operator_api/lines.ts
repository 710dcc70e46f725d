/** Bodies of JSON lines: lists of any length, read line by line. */
import type { InputIssue } from "../../errors.ts";
import { ApiError, invalid } from "./api_error.ts";
import { assertMediaType, bodyWasRead } from "./request.ts";
import { issuesOf, type ObjectSchema } from "./schema.ts";

/** A line of a body. */
export interface InputLine {
  /** 1 for the first line. */
  readonly number: number;
  /** The line as it was sent, without its line break. */
  readonly text: string;
  /** The JSON of the line; absent if there are issues. */
  readonly value?: unknown;
  /** The problems of the line; empty if it is valid. */
  readonly issues: readonly InputIssue[];
}

/** The media type of JSON lines. */
export const LINES_TYPE = "application/jsonl";

/**
 * Returns the lines of a body, without blank ones. Reads no further than the caller does. Line breaks are `\n` or `\r\n`.
 *
 * @throws {ApiError} 415 at once; while it is read, 413 for a line of more than `maxBytes`, and 400 for what is not UTF-8
 */
export function readLines(request: Request, schema: ObjectSchema, maxBytes: number): AsyncIterable<InputLine> {
  if (request.bodyUsed) {
    throw bodyWasRead();
  }
  assertMediaType(request, LINES_TYPE);
  return linesIn(request.body ?? new ReadableStream({ start: (controller) => controller.close() }), schema, maxBytes);
}

async function* linesIn(
  body: ReadableStream<Uint8Array>,
  schema: ObjectSchema,
  maxBytes: number,
): AsyncGenerator<InputLine, void> {
  let number = 0;
  for await (const text of textLines(body, maxBytes)) {
    number++;
    if (text.trim() === "") continue;
    yield { number, text: text.replace(/\r$/, ""), ...parsedLine(text, schema) };
  }
}

async function* textLines(body: ReadableStream<Uint8Array>, maxBytes: number): AsyncGenerator<string, void> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let rest = "";
  try {
    for await (const chunk of body) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop()!;
      for (const line of [...lines, rest]) {
        if (line.length > maxBytes) {
          throw new ApiError(413, { code: "too_large", message: `wanted lines of at most ${maxBytes} bytes` });
        }
      }
      yield* lines;
    }
    yield rest + decoder.decode();
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw invalid([{ path: "", saw: "a body that is incomplete or not UTF-8", wanted: "JSON lines in UTF-8" }]);
  }
}

function parsedLine(text: string, schema: ObjectSchema): Pick<InputLine, "value" | "issues"> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { issues: [{ path: "", saw: "a line that is not JSON", wanted: "JSON" }] };
  }
  const issues = issuesOf(schema, value, "");
  return issues.length > 0 ? { issues } : { value, issues };
}
