/** Answers batches in a rehearsal: their reads are sent as smaller batches, their writes are answered by a table. */
import { decodeForm } from "../../bitrix24/form.ts";
import { isReadMethod } from "../../bitrix24/rest_methods.ts";
import { type AnswerParts, noTime, type Params, type ReadAnswer, writeOf } from "./answer_parts.ts";
import type { NewWrite } from "./recorder.ts";

/** A command of a batch. */
interface Command {
  readonly name: string;
  readonly method: string;
  readonly params: Params;
  /** As it was sent. */
  readonly query: string;
}

const LIMITS = { fields: Infinity, depth: 64, keyLength: Infinity, valueLength: Infinity };

/** Whether it is the method `batch`. */
export function isBatch(method: string): boolean {
  return method.toLowerCase() === "batch";
}

/**
 * Returns the parameters of a batch with `cmd` and `halt` in lower case: Bitrix24 ignores their case. `undefined` if one of them
 * is there twice: Bitrix24 takes the last.
 */
export function batchParams(params: Params): Params | undefined {
  const names = Object.keys(params).map((name) => /^(cmd|halt)$/i.test(name) ? name.toLowerCase() : name);
  if (new Set(names).size < names.length) return undefined;
  return Object.fromEntries(Object.values(params).map((value, i) => [names[i]!, value]));
}

/** Returns the commands in the parameters of a batch. */
export function commandsIn({ cmd }: Params): readonly Command[] {
  return Object.entries(Object(cmd) as Params).map(([name, written]) => {
    const query = String(written);
    const mark = query.indexOf("?");
    if (mark < 0) return { name, method: query, params: {}, query };
    const params = JSON.parse(JSON.stringify(decodeForm(query.slice(mark + 1), LIMITS)));
    return { name, method: query.slice(0, mark), params, query };
  });
}

/** The parts of an answer to a batch, by name. */
const PARTS = ["result", "result_error", "result_total", "result_next", "result_time"] as const;
type Answered = Readonly<Record<typeof PARTS[number], Map<string, unknown>>>;

/**
 * Answers a batch. `sendReads` has reads answered. Commands are answered in their order: those that read, up to the next one that
 * writes, are one request.
 */
export async function answerBatch(
  parts: AnswerParts,
  params: Params,
  sendReads: (params: Params) => Promise<ReadAnswer>,
): Promise<Response> {
  const { recorder } = parts;
  const commands = commandsIn(params);
  const halts = /^(1|true|y)$/i.test(String(params["halt"] ?? ""));
  const answered: Answered = {
    ...{ result: new Map(), result_error: new Map(), result_total: new Map() },
    ...{ result_next: new Map(), result_time: new Map() },
  };
  const counted: { readonly method: string; readonly isRead: boolean }[] = [];
  const writes: NewWrite[] = [];
  for (const run of runsOf(commands)) {
    if (halts && answered.result_error.size > 0) break;
    if (run.isRead) {
      const isWhole = run.commands.length === commands.length;
      const { response, json, isRefused } = await sendReads(isWhole ? params : readsOf(params, run.commands, answered));
      // The caller repeats the batch as a whole.
      if (isRefused || json?.["error"] !== undefined) return response;
      counted.push(...run.commands.map(({ method }) => ({ method, isRead: true })));
      if (isWhole) {
        recorder.countRequest(counted);
        return response;
      }
      addAnswers(answered, json);
    } else {
      for (const { name, method, params } of run.commands) {
        const write = writeOf(recorder, method, resolved(params, answered.result) as Params);
        writes.push(write);
        counted.push({ method, isRead: false });
        answered.result.set(name, write.result);
        answered.result_time.set(name, noTime());
      }
    }
  }
  recorder.countRequest(counted);
  for (const write of writes) recorder.write(write);
  const result = Object.fromEntries(PARTS.map((part) => [part, Object.fromEntries(answered[part])]));
  return Response.json({ result, time: noTime() });
}

/** Returns the commands in runs of those that read and those that write. */
function runsOf(
  commands: readonly Command[],
): readonly { readonly isRead: boolean; readonly commands: readonly Command[] }[] {
  const runs: { readonly isRead: boolean; readonly commands: Command[] }[] = [];
  for (const command of commands) {
    const isRead = isReadMethod(command.method);
    const last = runs.at(-1);
    if (last?.isRead === isRead) last.commands.push(command);
    else runs.push({ isRead, commands: [command] });
  }
  return runs;
}

/** Returns the parameters of a batch with these commands, in which no command refers to one that is not in it. */
function readsOf(params: Params, commands: readonly Command[], { result }: Answered): Params {
  const cmd = commands.map(({ name, method, params, query }) => {
    const next = resolved(params, result);
    return [name, JSON.stringify(next) === JSON.stringify(params) ? query : `${method}?${encodeParams(next)}`];
  });
  return { ...params, cmd: Object.fromEntries(cmd) };
}

/** Adds the answers to commands that the portal has answered. PHP sends an empty map as a list. */
function addAnswers(answered: Answered, json: Params | undefined): void {
  for (const part of PARTS) {
    const values = Object((json?.["result"] as Params | undefined)?.[part]) as Params;
    for (const [name, value] of Object.entries(values)) answered[part].set(name, value);
  }
}

/** A reference to the result of a command, such as `$result[deal][ID]`. */
const REFERENCE = /\$result((?:\[[^\]\s]+\])+)/g;

/** Returns a value with the references to results that are known replaced; one that leads nowhere, as Bitrix24 does. */
function resolved(value: unknown, results: ReadonlyMap<string, unknown>): unknown {
  if (Array.isArray(value)) return value.map((item) => resolved(item, results));
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, resolved(inner, results)]));
  }
  if (typeof value !== "string" || !value.includes("$result[")) return value;
  let text = value;
  for (const [reference, path = ""] of value.matchAll(REFERENCE)) {
    const [name = "", ...keys] = Array.from(path.matchAll(/\[([^\]]+)\]/g), ([, key]) => key!);
    if (!results.has(name)) continue;
    const found = keys.reduce<unknown>((at, key) => (Object(at) as Params)[key] ?? at, results.get(name));
    if (reference === value) return found;
    if (typeof found === "string" || typeof found === "number") text = text.replaceAll(reference, String(found));
  }
  return text;
}

/** Returns parameters as a query, with the keys of maps and lists in brackets. */
function encodeParams(value: unknown, name = ""): string {
  if (typeof value !== "object" || value === null) {
    return `${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`;
  }
  return Object.entries(value).map(([key, inner]) => encodeParams(inner, name === "" ? key : `${name}[${key}]`))
    .join("&");
}
