/** Batches: many commands in one request. */
import { B24Error, OnAppUpdateError } from "../../mod.ts";
import { type Answer, errorIn, isMap, refusal, unexpected } from "./answers.ts";
import { assertMethod, isBatch, isRead } from "./methods.ts";

/** A method and its parameters. */
export type B24Command =
  | readonly [method: string, params?: object]
  | { readonly method: string; readonly params?: object };

/**
 * The outcome of a command of a batch. `error` is a `B24Error` if the portal refused the command, and otherwise what `call`
 * throws: the command may then have run. Throw it to let the handler fail with it.
 */
export type B24Outcome<T> = { readonly ok: true; readonly value: T } | {
  readonly ok: false;
  readonly error: OnAppUpdateError;
};

/** Maximum number of commands in a request. */
const MAX_COMMANDS = 50;

/** A request with commands, as often as it is sent. */
export interface BatchRequest {
  /** Returns the parameters of the next request. */
  readonly params: () => object;
  /** Whether the next request only reads. */
  readonly isRead: () => boolean;
  /** Reads an answer. If it throws an error with `needsOtherUser`, the request is repeated as another user. */
  readonly read: (answer: Answer) => void;
}

/** Sends the method `batch` to a portal. */
export type SendBatch = (request: BatchRequest) => Promise<void>;

/**
 * Runs commands, as many in a request as it can hold. Once a request was answered, later failures are outcomes of their
 * commands, so that the caller learns what was done.
 *
 * @throws {TypeError} if a command is `batch` or not a method, or if linked commands need more than one request
 */
export async function runBatch(
  commands: Readonly<Record<string, B24Command>>,
  halt: boolean,
  sendBatch: SendBatch,
): Promise<Outcomes> {
  const all = Object.entries(commands).map(([name, command]) => encodeCommand(name, command));
  if (all.length > MAX_COMMANDS && all.some(({ isLinked }) => isLinked)) {
    throw new TypeError(
      `cannot link ${all.length} commands by $result, wanted at most ${MAX_COMMANDS}, which fit into one request`,
    );
  }
  const outcomes: Outcomes = new Map();
  for (let start = 0, isHalted = false; start < all.length; start += MAX_COMMANDS) {
    const part = all.slice(start, start + MAX_COMMANDS);
    let partOutcomes: Outcomes;
    try {
      partOutcomes = isHalted ? new Map(part.map(notRun)) : await runRequest(part, halt, sendBatch);
      isHalted ||= halt && Array.from(partOutcomes.values()).some(({ ok }) => !ok);
    } catch (error) {
      if (outcomes.size === 0 || !(error instanceof OnAppUpdateError)) throw error;
      partOutcomes = new Map(part.map(({ name }) => failed(name, error)));
      isHalted = true;
    }
    for (const [name, outcome] of partOutcomes) outcomes.set(name, outcome);
  }
  return outcomes;
}

/** Runs the commands of one request. Commands that the user may not run are sent again as other users. */
async function runRequest(commands: readonly Command[], halt: boolean, sendBatch: SendBatch): Promise<Outcomes> {
  const outcomes: Outcomes = new Map();
  // After a repeated request, linked commands would lack the results of those that are not repeated.
  const isRepeatable = !halt && !commands.some(({ isLinked }) => isLinked);
  let left = commands;
  /** The refusal after which another user is looked for. */
  let denied: B24Error | undefined;
  try {
    await sendBatch({
      params: () => {
        denied = undefined;
        return { halt: halt ? 1 : 0, cmd: Object.fromEntries(left.map(({ name, query }) => [name, query])) };
      },
      isRead: () => left.every(({ method }) => isRead(method)),
      read: (answer) => {
        for (const [name, outcome] of outcomesOf(left, answer, halt)) outcomes.set(name, outcome);
        if (!isRepeatable) return;
        left = left.filter(({ name }) => deniedError(outcomes.get(name)) !== undefined);
        denied = deniedError(outcomes.get(left[0]?.name ?? ""));
        if (denied !== undefined) throw denied;
      },
    });
  } catch (error) {
    if (outcomes.size === 0 || !(error instanceof OnAppUpdateError)) throw error;
    // If there is no other user, or none can be found out, the outcomes that the first user got stay.
    if (denied === undefined) { for (const { name } of left) outcomes.set(...failed(name, error)); }
  }
  return outcomes;
}

interface Command {
  readonly name: string;
  readonly method: string;
  /** The method and its parameters as a query, which is how Bitrix24 takes commands. */
  readonly query: string;
  /** It uses the result of another command. */
  readonly isLinked: boolean;
}

/** The outcomes of commands, by name. */
export type Outcomes = Map<string, B24Outcome<unknown>>;

function encodeCommand(name: string, command: B24Command): Command {
  const { method, params = {} } = "method" in command ? command : { method: command[0], params: command[1] };
  assertMethod(method);
  if (isBatch(method)) throw new TypeError(`cannot call batch in a batch, as command ${name} does`);
  // As JSON has them: dates and the like become strings, and undefined members are left out.
  const json = JSON.stringify(params);
  // `encodeURIComponent` throws for half of a surrogate pair, which a string that was cut can end with.
  const encoded = (text: string): string => encodeURIComponent(text.toWellFormed());
  const query = formFields(JSON.parse(json)).map((field) => field.map(encoded).join("=")).join("&");
  return { name, method, query: query === "" ? method : `${method}?${query}`, isLinked: json.includes("$result[") };
}

/** Returns the fields of a form that holds `value`, with names in PHP's brackets. */
function formFields(value: unknown, name?: string): [name: string, text: string][] {
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).flatMap(([key, inner]) =>
      formFields(inner, name === undefined ? key : `${name}[${key}]`)
    );
  }
  return [[name!, typeof value === "boolean" ? String(Number(value)) : String(value ?? "")]];
}

function outcomesOf(commands: readonly Command[], answer: Answer, halt: boolean): Outcomes {
  const [values, errors] = [mapIn(answer, "result"), mapIn(answer, "result_error")];
  const isHalted = halt && errors.size > 0;
  return new Map(commands.map((command): NamedOutcome => {
    const { name, method } = command;
    const source = { ...answer, method };
    if (errors.has(name)) return failed(name, errorIn(errors.get(name), source) ?? refusal("", "", source));
    if (values.has(name)) return [name, { ok: true, value: values.get(name) }];
    if (isHalted) return notRun(command);
    return failed(name, unexpected(source, "the batch has no answer to this command"));
  }));
}

function mapIn(answer: Answer, key: "result" | "result_error"): ReadonlyMap<string, unknown> {
  const map = isMap(answer.result) ? answer.result[key] : undefined;
  // PHP sends an empty map as a list, and a map with the names 0, 1 and so on too.
  if (isMap(map) || Array.isArray(map)) return new Map(Object.entries(map));
  throw unexpected(answer, `no ${key} is in the result`);
}

type NamedOutcome = [name: string, outcome: B24Outcome<unknown>];

function failed(name: string, error: OnAppUpdateError): NamedOutcome {
  return [name, { ok: false, error }];
}

function notRun({ name, method }: Command): NamedOutcome {
  const description = "not run, because a command before it failed";
  return failed(name, new B24Error({ code: "BATCH_HALTED", description, status: 200, method }));
}

/** Returns the error of a command that another user may run. */
function deniedError(outcome: B24Outcome<unknown> | undefined): B24Error | undefined {
  const error = outcome?.ok === false ? outcome.error : undefined;
  return error instanceof B24Error && error.needsOtherUser ? error : undefined;
}
