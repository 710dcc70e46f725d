/** `batch`: up to 50 commands in one request. A command can use the results of those before it. */
import { Refusal } from "./errors.ts";
import { type FakeParams, formParams, isMap, phpMap, textOf, valueOf } from "./request.ts";
import type { MethodResult } from "./state.ts";

/** Maximum number of commands. */
const MAX_COMMANDS = 50;

/** Answers of the commands so far, by the names under which references find them. */
interface Answered {
  readonly result: Map<string, unknown>;
  readonly error: Map<string, unknown>;
  readonly total: Map<string, unknown>;
  readonly next: Map<string, unknown>;
  readonly time: Map<string, unknown>;
}

/** Runs the commands of `cmd` in order. Their errors are part of the result. */
export async function answerBatch(
  params: FakeParams,
  run: (method: string, params: FakeParams) => Promise<MethodResult & { readonly time: object }>,
): Promise<MethodResult> {
  const cmd = valueOf(params, "cmd");
  const isHalting = /^(1|true|y)$/i.test(textOf(params, "halt"));
  const answered: Answered = {
    ...{ result: new Map(), error: new Map(), total: new Map() },
    ...{ next: new Map(), time: new Map() },
  };
  const commands = Object.entries(isMap(cmd) || Array.isArray(cmd) ? cmd : {});
  for (const [index, [name, written]] of commands.entries()) {
    try {
      if (index >= MAX_COMMANDS) throw new Refusal("ERROR_BATCH_LENGTH_EXCEEDED");
      const [method, given] = parseCommand(written);
      if (method.toLowerCase() === "batch") throw new Refusal("ERROR_BATCH_METHOD_NOT_ALLOWED");
      const { result, total, next, time } = await run(method, resolveReferences(given, answered) as FakeParams);
      answered.result.set(name, result);
      answered.time.set(name, time);
      if (total !== undefined) answered.total.set(name, total);
      if (next !== undefined) answered.next.set(name, next);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      answered.error.set(name, error);
      if (isHalting) break;
    }
  }
  return {
    result: {
      result: phpMap(answered.result),
      result_error: phpMap(answered.error),
      result_total: phpMap(answered.total),
      result_next: phpMap(answered.next),
      result_time: phpMap(answered.time),
    },
  };
}

/** Parses a command: `crm.deal.get?id=1`, or a map with `method` and `params`. */
function parseCommand(written: unknown): readonly [method: string, params: FakeParams] {
  if (isMap(written)) return [String(written["method"] ?? ""), isMap(written["params"]) ? written["params"] : {}];
  const text = String(written);
  const mark = text.indexOf("?");
  return mark < 0 ? [text, {}] : [text.slice(0, mark), formParams(text.slice(mark + 1))];
}

/** `$result`, `$next` and so on, with all that follows up to white space, as Bitrix24 reads references. */
const REFERENCE = /\$(result|error|total|next|time)([^ \t\n\v\f\r]*)/gi;

/**
 * Replaces references such as `$result[name][field]` as Bitrix24 does. One that leads nowhere is replaced by what the last
 * key that exists leads to. Inside of a longer string, only strings are inserted, and swallow the characters up to the
 * next white space.
 */
function resolveReferences(value: unknown, answered: Answered): unknown {
  if (Array.isArray(value)) return value.map((item) => resolveReferences(item, answered));
  if (isMap(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, resolveReferences(v, answered)]));
  }
  if (typeof value !== "string") return value;
  let resolved: unknown = value;
  for (const [reference, source = "", path = ""] of value.matchAll(REFERENCE)) {
    const keys = Array.from(path.matchAll(/\[([^\]]+)\]/g), ([, key]) => key!);
    if (keys.length === 0) continue;
    const found = source in answered ? valueAt(answered[source as keyof Answered], keys) : null;
    if (reference === value) resolved = found;
    else if (typeof found === "string") resolved = String(resolved).replaceAll(reference, () => found);
  }
  return resolved;
}

function valueAt(map: ReadonlyMap<string, unknown>, keys: readonly string[]): unknown {
  let found: unknown = Object.fromEntries(map);
  for (const key of keys) {
    const inner = typeof found === "object" && found !== null ? (found as FakeParams)[key] : undefined;
    if (inner === undefined || inner === null) break;
    found = inner;
  }
  return found;
}
