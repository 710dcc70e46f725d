/** The report of `crashEverywhere()`: the calls that crashes repeat, and which of them can do harm. */
import { defined } from "../../defined.ts";

/** A call that a crash repeats. */
export interface RepeatedCall {
  /** Method and URL. */
  readonly call: string;
  /** Name of the step that makes the call; absent outside steps. */
  readonly step?: string;
  /** The `Idempotency-Key` header, or a string in the request that looks like the key of a step. */
  readonly idempotencyKey?: string;
  /** Maximum number of times it was made in an execution. */
  readonly times: number;
  /** Number of times it is made in the baseline run. */
  readonly expected: number;
  /** The first crash after which the call was repeated, such as `after POST https://crm.example/deals`. */
  readonly crash: string;
  /** Why the receiver cannot recognize the repeat; absent if it can, or if repeating the call does no harm. */
  readonly problem?: string;
}

/** The report of {@linkcode crashEverywhere}. */
export interface CrashReport {
  /** Number of executions with crashes. */
  readonly executions: number;
  /** Number of operations in the baseline run: reads and writes of the storage, and calls. */
  readonly operations: number;
  /** Calls that were made more often than in the baseline run. */
  readonly repeated: readonly RepeatedCall[];
  /**
   * The repeated calls that have a `problem`. Calls that change nothing, or nothing more the second time, have none: GET,
   * HEAD, OPTIONS, PUT and DELETE; methods of Bitrix24's REST that end in `get`, `list`, `fields`, `info` or `set`, that end
   * in `update` or `delete` and name what they change by an id, or that register something under a code; token refreshes;
   * and what the option `safe` says.
   */
  readonly unsafe: readonly RepeatedCall[];
  /** The whole report for people. */
  readonly text: string;
}

/** One call. */
export interface Call {
  /** Method and URL. */
  readonly call: string;
  readonly method: string;
  readonly url: URL;
  readonly body: string;
  /** The body without what differs between repeats. */
  readonly content: string;
  readonly idempotencyKey?: string;
  /** Name of the step that makes the call. */
  readonly step?: string;
  /** The option `safe` says that a repeat does no harm. */
  readonly isSafe: boolean;
}

/** Returns whether repeating a request does no harm. */
export type IsSafe = (request: Request) => boolean | Promise<boolean>;

/** Describes a request without consuming its body. */
export async function describeCall(
  request: Request,
  step: string | undefined,
  safe: IsSafe = () => false,
): Promise<Call> {
  const { method, url } = request;
  const body = await request.clone().text();
  const idempotencyKey = request.headers.get("idempotency-key") ?? keyIn([url, body, ...request.headers].join("\n"));
  return {
    call: `${method} ${url}`,
    ...{ method, url: new URL(url), body, content: withoutAuth(body), isSafe: await safe(request.clone()) },
    ...defined({ idempotencyKey, step }),
  };
}

/** Returns the body without the access token of Bitrix24's REST, which may be refreshed between repeats. */
function withoutAuth(body: string): string {
  const map = parseMap(body);
  if (map === undefined) return body.replace(/(^|&)auth=[^&]*/, "");
  const { auth: _, ...content } = map;
  return JSON.stringify(content);
}

function parseMap(body: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

/** Returns the first string that contains the key of a step, such as `…:2`. */
function keyIn(text: string): string | undefined {
  return text.match(/[\w.:%-]{64,}/g)?.find((word) => /(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])/.test(word));
}

/** The calls of one execution, with the number of times each was made. */
export type Calls = ReadonlyMap<string, { readonly call: Call; readonly times: number }>;
/** {@linkcode Calls} while they are counted. */
export type CountedCalls = Map<string, { readonly call: Call; readonly times: number }>;

/** Counts a call. Calls with the same method, URL, key and content are the same. */
export function count(calls: CountedCalls, call: Call): void {
  const id = `${call.call}\n${call.idempotencyKey ?? ""}\n${call.content}`;
  calls.set(id, { call, times: (calls.get(id)?.times ?? 0) + 1 });
}

/** Compares the calls of executions with those of the baseline run. */
export function compareCalls(baseline: Calls): {
  /** Adds the calls of an execution. `crash` describes where it crashed. */
  readonly add: (calls: Calls, crash: string) => void;
  readonly repeated: () => readonly RepeatedCall[];
} {
  const repeated = new Map<string, RepeatedCall>();
  const firstByKey = firstCallsByKey(baseline);
  return {
    repeated: () => [...repeated.values()],
    add: (calls, crash) => {
      for (const [id, { call: made, times }] of calls) {
        const { call, step, idempotencyKey } = made;
        const problem = problemOf(made, firstByKey);
        const group = [call, step, idempotencyKey, problem].join("\n");
        const expected = baseline.get(id)?.times ?? 0;
        const before = repeated.get(group);
        if (times <= expected || times <= (before?.times ?? 0)) continue;
        repeated.set(group, {
          call,
          ...{ times, expected, crash: before?.crash ?? crash },
          ...defined({ step, idempotencyKey, problem }),
        });
      }
    },
  };
}

function hostAndKey({ url, idempotencyKey }: Call): string {
  return `${url.origin} ${idempotencyKey}`;
}

/** Returns the first call with each key to each host. */
function firstCallsByKey(baseline: Calls): ReadonlyMap<string, Call> {
  const first = new Map<string, Call>();
  for (const { call } of baseline.values()) {
    const id = hostAndKey(call);
    if (call.idempotencyKey !== undefined && !isHarmless(call) && !first.has(id)) first.set(id, call);
  }
  return first;
}

function problemOf(call: Call, firstByKey: ReadonlyMap<string, Call>): string | undefined {
  if (isHarmless(call)) return undefined;
  if (call.idempotencyKey === undefined) return "it has no idempotency key";
  const first = firstByKey.get(hostAndKey(call));
  const isOwnKey = first === undefined || (first.call === call.call && first.content === call.content);
  return isOwnKey ? undefined : `it has the idempotency key of another call, ${first.call}`;
}

/** Methods of Bitrix24's REST that read, that set a state, or that register something under a code, so that it exists once. */
const HARMLESS =
  /\.(get|list|fields|info|set)$|^(profile|user\.current)$|^(event|placement)\.(un)?bind$|^(bizproc\.(robot|activity)|messageservice\.sender|userfieldtype|crm\.automation\.trigger)\.(add|update|delete)$|^imconnector\.(un)?register$/;

/** Methods that are harmless if they name what they change by an id: the second time, it is as the first time has left it. */
const HARMLESS_BY_ID = /\.(update|delete)$/;

/** A parameter such as `id`, `ID`, `taskId` or `MESSAGE_ID`, and not `fields[ID]`. */
const ID_PARAMETER = /id$/i;

function isHarmless({ method, url, body, isSafe }: Call): boolean {
  if (isSafe || /^(GET|HEAD|OPTIONS|PUT|DELETE)$/.test(method) || url.pathname.startsWith("/oauth/token")) return true;
  const restMethod = /\/rest\/(?:.*\/)?([\w.]+?)(\.json)?$/.exec(url.pathname)?.[1];
  if (restMethod === undefined) return false;
  if (restMethod !== "batch") {
    const parameters = Object.keys(parseMap(body) ?? Object.fromEntries(new URLSearchParams(body)));
    return isHarmlessMethod(restMethod, [...parameters, ...url.searchParams.keys()]);
  }
  const commands = Object.values(parseMap(body)?.["cmd"] ?? {});
  return commands.length > 0 && commands.every((command) => {
    const [name = "", ...query] = String(command).split("?");
    return isHarmlessMethod(name, [...new URLSearchParams(query.join("?")).keys()]);
  });
}

function isHarmlessMethod(name: string, parameters: readonly string[]): boolean {
  return HARMLESS.test(name) ||
    (HARMLESS_BY_ID.test(name) && parameters.some((parameter) => ID_PARAMETER.test(parameter)));
}

/** Returns the report. `outcome` describes the portals at the end. */
export function makeReport(
  found: { readonly executions: number; readonly operations: number; readonly repeated: readonly RepeatedCall[] },
  outcome: string,
): CrashReport {
  const unsafe = found.repeated.filter(({ problem }) => problem !== undefined);
  const safe = found.repeated.filter(({ problem }) => problem === undefined);
  const lines = [
    `${found.executions} executions of ${found.operations} operations, all with the same result: ${outcome}`,
    ...section("Repeated, and the receiver cannot recognize it:", unsafe.map(describeProblem)),
    ...section("Repeated without harm:", safe.map(describeRepeated)),
  ];
  return { ...found, unsafe, text: lines.join("\n") };
}

function section(title: string, calls: readonly string[]): string[] {
  return calls.length === 0 ? [] : [title, ...[...new Set(calls)].map((call) => `- ${call}`)];
}

function describeRepeated({ call, step }: RepeatedCall): string {
  return `${call}, ${step === undefined ? "outside steps" : `in step "${step}"`}`;
}

function describeProblem(repeated: RepeatedCall): string {
  const { times, expected, crash, problem } = repeated;
  return `${
    describeRepeated(repeated)
  }: ${problem}\n  up to ${times} times instead of ${expected}, as with a crash ${crash}`;
}
