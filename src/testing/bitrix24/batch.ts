/** `batch`: up to 50 commands in one request. A command can use the results of those before it. */
import { Refusal } from "./errors.ts";
import { type FakeParams, formParams, isMap, phpMap, textOf, valueOf } from "./request.ts";
import type { MethodResult } from "./state.ts";

/** Maximum number of commands. */
const MAX_COMMANDS = 50;

/** Runs the commands of `cmd` in order. Their errors are part of the result. */
export async function answerBatch(
  params: FakeParams,
  run: (method: string, params: FakeParams) => Promise<MethodResult & { readonly time: object }>,
): Promise<MethodResult> {
  const cmd = valueOf(params, "cmd");
  const isHalting = /^(1|true|y)$/i.test(textOf(params, "halt"));
  const results = new Map<string, unknown>();
  const parts = {
    result_error: new Map<string, unknown>(),
    result_total: new Map<string, unknown>(),
    result_next: new Map<string, unknown>(),
    result_time: new Map<string, unknown>(),
  };
  const commands = Object.entries(isMap(cmd) || Array.isArray(cmd) ? cmd : {});
  for (const [index, [name, written]] of commands.entries()) {
    try {
      if (index >= MAX_COMMANDS) throw new Refusal("ERROR_BATCH_LENGTH_EXCEEDED");
      const [method, given] = parseCommand(written);
      if (method.toLowerCase() === "batch") throw new Refusal("ERROR_BATCH_METHOD_NOT_ALLOWED");
      const { result, total, next, time } = await run(method, resolveReferences(given, results) as FakeParams);
      results.set(name, result);
      parts.result_time.set(name, time);
      if (total !== undefined) parts.result_total.set(name, total);
      if (next !== undefined) parts.result_next.set(name, next);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      parts.result_error.set(name, error);
      if (isHalting) break;
    }
  }
  const written = Object.entries(parts).map(([part, entries]) => [part, phpMap(entries)]);
  return { result: { result: phpMap(results), ...Object.fromEntries(written) } };
}

/** Parses a command: `crm.deal.get?id=1`, or a map with `method` and `params`. */
function parseCommand(written: unknown): readonly [method: string, params: FakeParams] {
  if (isMap(written)) return [String(written["method"] ?? ""), isMap(written["params"]) ? written["params"] : {}];
  const text = String(written);
  const mark = text.indexOf("?");
  return mark < 0 ? [text, {}] : [text.slice(0, mark), formParams(text.slice(mark + 1))];
}

const REFERENCE = /\$result((?:\[[^\]]*\])+)/g;

/** Replaces `$result[name][field]` by the result of the command `name`, or by an empty string if there is none. */
function resolveReferences(value: unknown, results: ReadonlyMap<string, unknown>): unknown {
  if (Array.isArray(value)) return value.map((item) => resolveReferences(item, results));
  if (isMap(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, resolveReferences(v, results)]));
  }
  if (typeof value !== "string") return value;
  const whole = /^\$result((?:\[[^\]]*\])+)$/.exec(value);
  if (whole !== null) return resultAt(whole[1]!, results) ?? "";
  return value.replaceAll(REFERENCE, (_, path: string) => String(resultAt(path, results) ?? ""));
}

function resultAt(path: string, results: ReadonlyMap<string, unknown>): unknown {
  const [name = "", ...keys] = path.slice(1, -1).split("][");
  return keys.reduce<unknown>(
    (value, key) => (typeof value === "object" && value !== null ? (value as FakeParams)[key] : undefined),
    results.get(name),
  );
}
