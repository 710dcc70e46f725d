/** A CPU profile of this process, and what takes its time. */
import { Session } from "node:inspector";
import type { Profiler, Runtime } from "node:inspector";
import { fileURLToPath } from "node:url";

/** The share of the processor time that a function or module takes. */
export interface TimeShare {
  readonly name: string;
  readonly share: number;
}

/** The work of a process while it was profiled, without the time in which it was idle or profiled itself. */
export interface ProfileSummary {
  /** Sampled time (ms). */
  readonly ms: number;
  /** By what functions take themselves, without what they call. The longest first, as in the other lists. */
  readonly functions: readonly TimeShare[];
  /** By what modules take themselves. */
  readonly modules: readonly TimeShare[];
  /** By what functions take with what they call, until they await it. */
  readonly calls: readonly TimeShare[];
}

const session = new Session();
/** Interval (µs) of the samples. */
const INTERVAL_US = 200;

export async function startProfile(): Promise<void> {
  session.connect();
  await new Promise<void>((resolve) => session.post("Profiler.enable", () => resolve()));
  session.post("Profiler.setSamplingInterval", { interval: INTERVAL_US });
  await new Promise<void>((resolve) => session.post("Profiler.start", () => resolve()));
}

export async function stopProfile(): Promise<ProfileSummary> {
  const profile = await new Promise<Profiler.Profile>((resolve, reject) =>
    session.post("Profiler.stop", (error, result) => error ? reject(error) : resolve(result.profile))
  );
  session.disconnect();
  return summarize(profile);
}

function summarize({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): ProfileSummary {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const callers = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)));
  const functions = new Map<string, number>();
  const modules = new Map<string, number>();
  const calls = new Map<string, number>();
  let total = 0;
  for (const [i, id] of samples.entries()) {
    const { functionName, url } = frames.get(id)!;
    if (functionName === "(idle)" || /inspector/.test(url)) continue;
    const micros = timeDeltas[i]!;
    total += micros;
    const add = (times: Map<string, number>, name: string): unknown => times.set(name, (times.get(name) ?? 0) + micros);
    const name = nameOf(frames.get(id)!);
    add(functions, name);
    add(modules, moduleOf(url) || name);
    const stack = new Set<string>();
    for (let at: number | undefined = id; at !== undefined; at = callers.get(at)) stack.add(nameOf(frames.get(at)!));
    for (const name of stack) add(calls, name);
  }
  const sorted = (times: ReadonlyMap<string, number>): TimeShare[] =>
    [...times].sort(([, a], [, b]) => b - a).map(([name, micros]) => ({ name, share: micros / total }));
  return { ms: total / 1000, functions: sorted(functions), modules: sorted(modules), calls: sorted(calls) };
}

function nameOf({ functionName, url, lineNumber }: Runtime.CallFrame): string {
  const name = functionName || "(anonymous)";
  return url === "" ? name : `${name} ${moduleOf(url)}:${lineNumber + 1}`;
}

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Returns the path of a module of the package, the name of another package, or what the runtime calls its own. */
function moduleOf(url: string): string {
  const path = url.startsWith("file:") ? fileURLToPath(url).replace(root, "") : url;
  return path.replace(/^.*node_modules\/@b24\/onappupdate\//, "")
    .replace(/^.*(?:node_modules|registry\.npmjs\.org)\/((?:@[^/]+\/)?[^/]+)\/.*$/, "$1");
}
