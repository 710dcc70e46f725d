/** Reads the portals of an adoption, one line at a time, so that memory does not depend on their number. */
import type { PortalSource } from "../../plugin/adoption.ts";

/** A line with a portal, as it was read. */
export interface SourceLine {
  /** From 1. */
  readonly line: number;
  /** The object, or the text of the line; absent if the line is longer than it may be. */
  readonly value?: unknown;
}

/** Maximum length of a line, in characters: far above one with the longest tokens. */
export const MAX_LINE = 16_384;

/** Lists the lines of a source that are not empty. */
export async function* readLines(source: PortalSource): AsyncGenerator<SourceLine> {
  let line = 0;
  const text = createLineSplitter();
  const decoder = new TextDecoder();
  /** Numbers lines that have ended. */
  const numbered = function* (lines: Iterable<string | undefined>): Generator<SourceLine> {
    for (const value of lines) {
      line++;
      if (value === undefined) yield { line };
      else if (value.trim() !== "") yield { line, value };
    }
  };
  for await (const item of itemsOf(source)) {
    if (item instanceof Uint8Array) {
      yield* numbered(text.add(decoder.decode(item, { stream: true })));
      continue;
    }
    yield* numbered(text.end());
    if (item === "") {
      line++;
    } else if (typeof item === "string") {
      yield* numbered(text.add(item.replace(/^\uFEFF/, "")));
      yield* numbered(text.end());
    } else {
      yield { line: ++line, value: item };
    }
  }
  yield* numbered(text.add(decoder.decode()));
  yield* numbered(text.end());
}

/** Returns whether a value can be read as a source. */
export function isSource(value: unknown): boolean {
  if (typeof value === "string" || value instanceof ReadableStream) return true;
  return typeof value === "object" && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value);
}

function itemsOf(source: PortalSource): Iterable<unknown> | AsyncIterable<unknown> {
  if (typeof source === "string" || source instanceof Uint8Array) return [source];
  return source instanceof ReadableStream && !(Symbol.asyncIterator in source) ? chunksOf(source) : source;
}

/** Lists the chunks of a stream, for environments whose streams are no iterables. */
async function* chunksOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  try {
    for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) yield chunk.value;
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Splits text that comes in parts into lines. A line that is too long is `undefined`. */
interface LineSplitter {
  /** Adds text, and returns the lines that have ended. */
  readonly add: (text: string) => Generator<string | undefined>;
  /** Ends the last line, if there is one. */
  readonly end: () => Generator<string | undefined>;
}

function createLineSplitter(): LineSplitter {
  let rest = "";
  let isTooLong = false;
  const take = (): string | undefined => {
    const line = isTooLong || rest.length > MAX_LINE ? undefined : rest;
    [rest, isTooLong] = ["", false];
    return line;
  };
  return {
    *add(text): Generator<string | undefined> {
      let start = 0;
      for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", start)) {
        rest += text.slice(start, end);
        start = end + 1;
        yield take();
      }
      rest += text.slice(start);
      if (rest.length > MAX_LINE) [rest, isTooLong] = [rest.slice(0, 1), true];
    },
    *end(): Generator<string | undefined> {
      if (rest !== "" || isTooLong) yield take();
    },
  };
}
