/** Batches: many commands in one request. */
import { B24Error, isReadMethod, OnAppUpdateError, RetryAfterError } from "../../mod.ts";
import { type Answer, errorIn, isMap, numberOf, refusal, unexpected } from "./answers.ts";
import { type B24Command, type Command, encodeCommand } from "./commands.ts";

/** The outcome of a command of a batch. */
export type B24Outcome<T> = B24Success<T> | B24Failed;

/** The outcome of a command that succeeded. */
export interface B24Success<T> {
  /** The portal did what it was asked. */
  readonly ok: true;
  /** The `result` of the method. */
  readonly value: T;
  /** `start` of the next page, if the command is a list that has one. */
  readonly next?: number;
  /** Number of all rows of the list, if Bitrix24 has counted them. */
  readonly total?: number;
}

/** The outcome of a command that failed. */
export interface B24Failed {
  /** The command failed, or was not run. */
  readonly ok: false;
  /**
   * A `B24Error` if the portal refused the command, a `RetryAfterError` if its method has used up its operating time, and
   * otherwise what `call` throws: the command may then have run. Throw it to let the handler fail with it.
   */
  readonly error: OnAppUpdateError;
}

/** The outcomes of commands, by name. */
export type Outcomes = Map<string, B24Outcome<unknown>>;

/** Maximum number of commands in a request. */
export const MAX_COMMANDS = 50;

/** A request with commands, as often as it is sent. */
export interface BatchRequest {
  /** Returns the parameters of the next request. */
  readonly params: () => object;
  /** Whether the next request only reads. */
  readonly isRead: () => boolean;
  /** Returns the methods of the last request with the `time` that each has in an answer. */
  readonly times: (answer: Answer) => readonly (readonly [method: string, time: unknown])[];
  /**
   * Reads an answer. If it throws an error with `needsOtherUser`, the request is repeated as another user; with a `limit`,
   * it is repeated later.
   */
  readonly read: (answer: Answer) => void;
}

/** The functions that send commands to a portal. */
export interface CommandSender {
  /** Sends the method `batch`. */
  readonly batch: (request: BatchRequest) => Promise<void>;
  /** Sends one command as a call of its method. */
  readonly call: (method: string, params: object) => Promise<Answer>;
}

/**
 * Runs commands in their order, as many in a request as it can hold. Once a request was answered, later failures are
 * outcomes of their commands, so that the caller learns what was done.
 *
 * @throws {TypeError} if a command is `batch` or not a method, or if a reference cannot be resolved in one request
 */
export async function runBatch(
  commands: Readonly<Record<string, B24Command>>,
  halt: boolean,
  sender: CommandSender,
): Promise<Outcomes> {
  const outcomes: Outcomes = new Map();
  let isHalted = false;
  for (const part of partsOf(Object.entries(commands).map(([name, command]) => encodeCommand(name, command)))) {
    let partOutcomes: Outcomes;
    try {
      if (isHalted) partOutcomes = new Map(part.map(notRun));
      else partOutcomes = part[0]!.isAlone ? await runAlone(part[0]!, sender) : await runRequest(part, halt, sender);
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

/** Returns the commands of each request. */
function partsOf(commands: readonly Command[]): readonly (readonly Command[])[] {
  const parts: Command[][] = [];
  for (const command of commands) {
    const last = parts.at(-1);
    const fits = last !== undefined && last.length < MAX_COMMANDS && !last[0]!.isAlone && !command.isAlone;
    if (fits) last.push(command);
    else parts.push([command]);
  }
  for (const part of parts) {
    const earlier = new Set<string>();
    for (const { name, refersTo } of part) {
      const missing = refersTo.find((other) => !earlier.has(other));
      if (missing !== undefined) {
        throw new TypeError(
          `cannot refer to the result of ${missing} in command ${name}, wanted an earlier command of the same request, ` +
            `which has at most ${MAX_COMMANDS}`,
        );
      }
      earlier.add(name);
    }
  }
  return parts;
}

/** Runs a command that Bitrix24 would change in a batch. */
async function runAlone({ name, method, params }: Command, { call }: CommandSender): Promise<Outcomes> {
  try {
    const { result, next, total } = await call(method, params);
    return new Map([succeeded(name, result, next, total)]);
  } catch (error) {
    if (!(error instanceof B24Error)) throw error;
    return new Map([failed(name, error)]);
  }
}

/** Runs the commands of one request. Those that another user may run, or that may run later, are sent again. */
async function runRequest(commands: readonly Command[], halt: boolean, sender: CommandSender): Promise<Outcomes> {
  const outcomes: Outcomes = new Map();
  // After a repeated request, linked commands would lack the results of those that are not repeated.
  const isRepeatable = !halt && commands.every(({ refersTo }) => refersTo.length === 0);
  let left = commands;
  /** The refusal that makes the request be repeated. */
  let refused: B24Error | undefined;
  try {
    await sender.batch({
      params: () => {
        refused = undefined;
        return { halt: halt ? 1 : 0, cmd: Object.fromEntries(left.map(({ name, query }) => [name, query])) };
      },
      isRead: () => left.every(({ method }) => isReadMethod(method)),
      times: (answer) => {
        const times = optionalMapIn(answer, "result_time");
        return left.map(({ name, method }) => [method, times.get(name)]);
      },
      read: (answer) => {
        for (const [name, outcome] of outcomesOf(left, answer, halt)) outcomes.set(name, outcome);
        if (!isRepeatable) return;
        left = left.filter(({ name }) => refusedFor(outcomes.get(name)) !== undefined);
        refused = refusedFor(outcomes.get(left[0]?.name ?? ""));
        if (refused !== undefined) throw refused;
      },
    });
  } catch (error) {
    if (outcomes.size === 0 || !(error instanceof OnAppUpdateError)) throw error;
    for (const { name } of left) {
      // If there is no other user, or none can be found out, the outcomes that the first user got stay.
      const isLater = error instanceof RetryAfterError && refusedFor(outcomes.get(name))?.limit !== undefined;
      if (refused === undefined || isLater) outcomes.set(...failed(name, error));
    }
  }
  return outcomes;
}

function outcomesOf(commands: readonly Command[], answer: Answer, halt: boolean): Outcomes {
  const [values, errors] = [mapIn(answer, "result"), mapIn(answer, "result_error")];
  const [nexts, totals] = [optionalMapIn(answer, "result_next"), optionalMapIn(answer, "result_total")];
  const isHalted = halt && errors.size > 0;
  return new Map(commands.map((command): NamedOutcome => {
    const { name, method } = command;
    const source = { ...answer, method };
    if (errors.has(name)) return failed(name, errorIn(errors.get(name), source) ?? refusal("", "", source));
    if (values.has(name)) return succeeded(name, values.get(name), nexts.get(name), totals.get(name));
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

/** Returns a map in which a command is only if there is something to say about it. */
function optionalMapIn(
  { result }: Answer,
  key: "result_next" | "result_total" | "result_time",
): ReadonlyMap<string, unknown> {
  return new Map(Object.entries(Object(isMap(result) ? result[key] : undefined)));
}

type NamedOutcome = [name: string, outcome: B24Outcome<unknown>];

function succeeded(name: string, value: unknown, next: unknown, total: unknown): NamedOutcome {
  return [name, { ok: true, value, ...numberOf("next", next), ...numberOf("total", total) }];
}

function failed(name: string, error: OnAppUpdateError): NamedOutcome {
  return [name, { ok: false, error }];
}

function notRun({ name, method }: Command): NamedOutcome {
  const description = "not run, because a command before it failed";
  return failed(name, new B24Error({ code: "BATCH_HALTED", description, status: 200, method }));
}

/** Returns the error of a command that another user may run, or that may run later. */
function refusedFor(outcome: B24Outcome<unknown> | undefined): B24Error | undefined {
  const error = outcome?.ok === false ? outcome.error : undefined;
  return error instanceof B24Error && (error.needsOtherUser || error.limit !== undefined) ? error : undefined;
}
