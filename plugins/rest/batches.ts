/** Batches: many commands in a request. */
import { B24Error, OnAppUpdateError } from "../../mod.ts";
import { type Answer, isMap, refusal, refusalIn, unexpected } from "./answers.ts";
import type { Identity } from "./calls.ts";
import { assertMethod, isBatch, isRead } from "./methods.ts";

/** A method and its parameters. */
export type B24Command =
  | readonly [method: string, params?: object]
  | { readonly method: string; readonly params?: object };

/**
 * How a command of a batch ended. `error` is a `B24Error` where the portal refused; where nobody knows whether it was done,
 * it is what `call` throws. Throw it to have the handler tried again, or wait, as its code demands.
 */
export type B24Outcome<T> = { readonly ok: true; readonly value: T } | {
  readonly ok: false;
  readonly error: OnAppUpdateError;
};

/** Commands of a request. */
const BATCH = 50;

/** A portal, called with the options of the batch. */
export interface BatchPortal {
  /** `reads`: calling the method twice does no harm. */
  readonly ask: (method: string, params: object, reads: boolean, identity: Identity) => Promise<Answer>;
  readonly another: (identity: Identity) => Promise<boolean>;
}

/**
 * Runs commands, as many in a request as it holds. Once a request was answered, one that fails is told in the outcomes of
 * its commands: what was done must not be forgotten.
 *
 * @throws {TypeError} when a command is `batch` or no method, or when results would have to go from request to request
 */
export async function runBatch(
  commands: Readonly<Record<string, B24Command>>,
  halt: boolean,
  portal: BatchPortal,
): Promise<Outcomes> {
  const all = Object.entries(commands).map(([name, command]) => commandOf(name, command));
  if (all.length > BATCH && all.some(({ isLinked }) => isLinked)) {
    throw new TypeError(`cannot link ${all.length} commands by $result, wanted ${BATCH} at most: one request`);
  }
  const outcomes: Outcomes = new Map();
  for (let at = 0, isOver = false; at < all.length; at += BATCH) {
    const some = all.slice(at, at + BATCH);
    let ended: Outcomes;
    try {
      ended = isOver ? new Map(some.map(notRun)) : await runRequest(some, halt, portal);
      isOver ||= halt && Array.from(ended.values()).some(({ ok }) => !ok);
    } catch (error) {
      if (outcomes.size === 0 || !(error instanceof OnAppUpdateError)) throw error;
      ended = new Map(some.map(({ name }) => failed(name, error)));
      isOver = true;
    }
    for (const [name, outcome] of ended) outcomes.set(name, outcome);
  }
  return outcomes;
}

/** One request of a batch; what other users may do is asked of them. */
async function runRequest(commands: readonly Command[], halt: boolean, portal: BatchPortal): Promise<Outcomes> {
  const outcomes: Outcomes = new Map();
  const identity: Identity = { tried: [] };
  for (let left = commands; left.length > 0;) {
    const cmd = Object.fromEntries(left.map(({ name, text }) => [name, text]));
    const reads = left.every(({ method }) => isRead(method));
    try {
      const answer = await portal.ask("batch", { halt: halt ? 1 : 0, cmd }, reads, identity);
      for (const [name, outcome] of outcomesOf(left, answer, halt)) outcomes.set(name, outcome);
    } catch (error) {
      if (outcomes.size === 0 || !(error instanceof OnAppUpdateError)) throw error;
      for (const { name } of left) outcomes.set(...failed(name, error));
      break;
    }
    left = left.filter(({ name }) => isDenied(outcomes.get(name)));
    // Results that such commands have of others, or others of them, were in the request that is over.
    if (halt || commands.some(({ isLinked }) => isLinked)) break;
    if (left.length === 0 || !await hasAnother(portal, identity)) break;
  }
  return outcomes;
}

/** Whether another user may be asked; that of none is known does not take away what the first one was answered. */
async function hasAnother(portal: BatchPortal, identity: Identity): Promise<boolean> {
  try {
    return await portal.another(identity);
  } catch (error) {
    if (error instanceof OnAppUpdateError) return false;
    throw error;
  }
}

interface Command {
  readonly name: string;
  readonly method: string;
  /** As Bitrix24 takes it: the method and its parameters as a query. */
  readonly text: string;
  /** Has results of others. */
  readonly isLinked: boolean;
}

/** By the names of the commands. */
export type Outcomes = Map<string, B24Outcome<unknown>>;

function commandOf(name: string, command: B24Command): Command {
  const { method, params = {} } = "method" in command ? command : { method: command[0], params: command[1] };
  assertMethod(method);
  if (isBatch(method)) throw new TypeError(`cannot call batch in a batch, as command ${name} does`);
  // As JSON has them: dates and the like become texts, and what is undefined goes.
  const json = JSON.stringify(params);
  // Half an emoji, as a text that was cut off has it, cannot be encoded.
  const encoded = (text: string): string => encodeURIComponent(text.toWellFormed());
  const query = pairsOf(JSON.parse(json)).map((pair) => pair.map(encoded).join("=")).join("&");
  const text = query === "" ? method : `${method}?${query}`;
  return { name, method, text, isLinked: json.includes("$result[") };
}

/** The texts in a value, by their names in PHP's brackets. */
function pairsOf(value: unknown, name?: string): [name: string, text: string][] {
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).flatMap(([key, inner]) =>
      pairsOf(inner, name === undefined ? key : `${name}[${key}]`)
    );
  }
  return [[name!, typeof value === "boolean" ? String(Number(value)) : String(value ?? "")]];
}

/** What became of each command. */
function outcomesOf(commands: readonly Command[], answer: Answer, halt: boolean): Outcomes {
  const [values, errors] = [mapIn(answer, "result"), mapIn(answer, "result_error")];
  const isHalted = halt && errors.size > 0;
  return new Map(commands.map((command): NamedOutcome => {
    const { name, method } = command;
    const source = { ...answer, method };
    if (errors.has(name)) return failed(name, refusalIn(errors.get(name), source) ?? refusal("", "", source));
    if (values.has(name)) return [name, { ok: true, value: values.get(name) }];
    if (isHalted) return notRun(command);
    return failed(name, unexpected(source, "the batch has no answer to this command"));
  }));
}

function mapIn(answer: Answer, key: "result" | "result_error"): ReadonlyMap<string, unknown> {
  const held = isMap(answer.result) ? answer.result[key] : undefined;
  // Empty maps come as lists, and so do those whose names are 0, 1 and so on.
  if (isMap(held) || Array.isArray(held)) return new Map(Object.entries(held));
  throw unexpected(answer, `no ${key} is in the result`);
}

type NamedOutcome = [name: string, outcome: B24Outcome<unknown>];

function failed(name: string, error: OnAppUpdateError): NamedOutcome {
  return [name, { ok: false, error }];
}

function notRun({ name, method }: Command): NamedOutcome {
  return failed(
    name,
    new B24Error({
      code: "BATCH_HALTED",
      description: "it was not begun, as one before it failed",
      status: 200,
      method,
    }),
  );
}

function isDenied(outcome: B24Outcome<unknown> | undefined): boolean {
  return outcome?.ok === false && outcome.error instanceof B24Error && outcome.error.blockedOn === "administrator";
}
