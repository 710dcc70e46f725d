/** What `crashEverywhere()` saw, for programs and for people. */

/** A call to the outside that an end of the process repeats. */
export interface RepeatedCall {
  /** Method and address. */
  readonly call: string;
  /** The step in which it is made; absent when it is made in none. */
  readonly step?: string;
  /** Its `Idempotency-Key`, or what in it looks like that of a step. */
  readonly idempotencyKey?: string;
  /** How often it was made at most. */
  readonly times: number;
  /** How often it is made without an end. */
  readonly expected: number;
  /** The first schedule in which it was repeated. */
  readonly schedule: string;
  /** Why the other side may do it twice, or leave it out; absent when it can tell, and when asking changes nothing. */
  readonly problem?: string;
}

/** What {@linkcode crashEverywhere} saw. */
export interface CrashReport {
  /** How many different ends were tried. */
  readonly schedules: number;
  /** Operations of one life without an end: reads and writes of the storage, and calls. */
  readonly operations: number;
  /** Calls that were made more often than without an end. */
  readonly repeated: readonly RepeatedCall[];
  /**
   * Those of them that have a `problem`. No problem is what changes nothing, or nothing more at the second time: GET,
   * HEAD, OPTIONS, PUT and DELETE, methods of Bitrix24's REST that end in `get`, `list`, `fields` or `info`, and the
   * renewal of tokens.
   */
  readonly unsafe: readonly RepeatedCall[];
  /** All of it for people. */
  readonly text: string;
}

/** One call. */
export interface Call {
  /** Method and address. */
  readonly call: string;
  readonly method: string;
  readonly url: URL;
  readonly body: string;
  /** What of the body says what is asked for. */
  readonly content: string;
  readonly idempotencyKey?: string;
  /** The step in which it was made. */
  readonly step?: string;
}

/** What is to be known of `request`, which is left unread. */
export async function describeCall(request: Request, step: string | undefined): Promise<Call> {
  const { method, url } = request;
  const body = await request.clone().text();
  const idempotencyKey = request.headers.get("idempotency-key") ?? keyIn([url, body, ...request.headers].join("\n"));
  return {
    call: `${method} ${url}`,
    ...{ method, url: new URL(url), body, content: withoutAuth(body) },
    ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    ...(step === undefined ? {} : { step }),
  };
}

/** The body without the access token of Bitrix24's REST: who calls again, after it was renewed, asks for the same. */
function withoutAuth(body: string): string {
  const map = mapIn(body);
  if (map === undefined) return body.replace(/(^|&)auth=[^&]*/, "");
  const { auth: _, ...content } = map;
  return JSON.stringify(content);
}

function mapIn(body: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

/** The key of a step, or one that was made of it, such as `…:2`. */
function keyIn(text: string): string | undefined {
  return text.match(/[\w.:%-]{64,}/g)?.find((word) => /(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])/.test(word));
}

/** The calls of one life, and how often each was made. */
export type Calls = ReadonlyMap<string, { readonly call: Call; readonly times: number }>;

/** Counts calls: those are the same that ask for the same. */
export function count(calls: Map<string, { readonly call: Call; readonly times: number }>, call: Call): void {
  const id = `${call.call}\n${call.idempotencyKey ?? ""}\n${call.content}`;
  calls.set(id, { call, times: (calls.get(id)?.times ?? 0) + 1 });
}

/** Compares the calls of lives with an end with those of the calm one. */
export function compareCalls(calm: Calls): {
  /** Takes in a life. `schedule`: its ends. */
  readonly add: (calls: Calls, schedule: string) => void;
  readonly repeated: () => readonly RepeatedCall[];
} {
  const repeated = new Map<string, RepeatedCall>();
  const first = firstOfEachKey(calm);
  return {
    repeated: () => [...repeated.values()],
    add: (calls, schedule) => {
      for (const [id, { call: made, times }] of calls) {
        const { call, step, idempotencyKey } = made;
        const problem = problemOf(made, first);
        const place = [call, step, idempotencyKey, problem].join("\n");
        const expected = calm.get(id)?.times ?? 0;
        const before = repeated.get(place);
        if (times <= expected || times <= (before?.times ?? 0)) continue;
        repeated.set(place, {
          call,
          ...(step === undefined ? {} : { step }),
          ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
          ...{ times, expected, schedule: before?.schedule ?? schedule },
          ...(problem === undefined ? {} : { problem }),
        });
      }
    },
  };
}

function placeOfKey({ url, idempotencyKey }: Call): string {
  return `${url.origin} ${idempotencyKey}`;
}

/** The first call with each key to each host. */
function firstOfEachKey(calm: Calls): ReadonlyMap<string, Call> {
  const first = new Map<string, Call>();
  for (const { call } of calm.values()) {
    const place = placeOfKey(call);
    if (call.idempotencyKey !== undefined && !isHarmless(call) && !first.has(place)) first.set(place, call);
  }
  return first;
}

function problemOf(call: Call, first: ReadonlyMap<string, Call>): string | undefined {
  if (isHarmless(call)) return undefined;
  if (call.idempotencyKey === undefined) return "it has no idempotency key";
  const other = first.get(placeOfKey(call));
  const isOwn = other === undefined || (other.call === call.call && other.content === call.content);
  return isOwn ? undefined : `its idempotency key is that of another call, ${other.call}`;
}

/** Bitrix24 is asked by POST, too; and what is registered is known by its code, so that it is there once. */
const HARMLESS =
  /\.(get|list|fields|info)$|^(event|placement)\.(un)?bind$|^(bizproc\.(robot|activity)|messageservice\.sender|userfieldtype|crm\.automation\.trigger)\.(add|update|delete)$|^imconnector\.(un)?register$/;

function isHarmless({ method, url, body }: Call): boolean {
  if (/^(GET|HEAD|OPTIONS|PUT|DELETE)$/.test(method) || url.pathname.startsWith("/oauth/token")) return true;
  const called = /\/rest\/(?:.*\/)?([\w.]+?)(\.json)?$/.exec(url.pathname)?.[1];
  if (called === undefined) return false;
  if (called !== "batch") return HARMLESS.test(called);
  const commands = Object.values(mapIn(body)?.["cmd"] ?? {});
  return commands.length > 0 && commands.every((text) => HARMLESS.test(String(text).split("?")[0]!));
}

/** The report of all that was found. `end`: where the portals are in the end. */
export function makeReport(
  found: { readonly schedules: number; readonly operations: number; readonly repeated: readonly RepeatedCall[] },
  end: string,
): CrashReport {
  const unsafe = found.repeated.filter(({ problem }) => problem !== undefined);
  const others = found.repeated.filter(({ problem }) => problem === undefined);
  const lines = [
    `${found.schedules} schedules of ${found.operations} operations, all with the same end: ${end}`,
    ...listed("Repeated, and the other side cannot tell:", unsafe.map(withProblem)),
    ...listed("Repeated, and it does no harm:", others.map(placed)),
  ];
  return { ...found, unsafe, text: lines.join("\n") };
}

function listed(title: string, calls: readonly string[]): string[] {
  return calls.length === 0 ? [] : [title, ...[...new Set(calls)].map((call) => `- ${call}`)];
}

function placed({ call, step }: RepeatedCall): string {
  return `${call}, in ${step === undefined ? "no step" : `step "${step}"`}`;
}

function withProblem(repeated: RepeatedCall): string {
  const { times, expected, schedule, problem } = repeated;
  return `${placed(repeated)}: ${problem}\n  up to ${times} instead of ${expected}, as with an end ${schedule}`;
}
