/** A CPU profile of this process, and what takes its time. */
import { Session } from "node:inspector";
import type { Profiler } from "node:inspector";
import { fileURLToPath } from "node:url";

/** The share of the processor time that a function or module takes by itself, without what it calls. */
export interface SelfTime {
  readonly name: string;
  readonly share: number;
}

/** What a process has done while it was profiled, without the time in which it was idle or profiled itself. */
export interface ProfileSummary {
  /** Sampled time (ms). */
  readonly ms: number;
  /** The longest first. */
  readonly functions: readonly SelfTime[];
  readonly modules: readonly SelfTime[];
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
  const functions = new Map<string, number>();
  const modules = new Map<string, number>();
  let total = 0;
  for (const [i, id] of samples.entries()) {
    const { functionName, url, lineNumber } = frames.get(id)!;
    if (functionName === "(idle)" || /inspector/.test(url)) continue;
    const micros = timeDeltas[i]!;
    total += micros;
    const module = moduleOf(url);
    const name = url === ""
      ? functionName || "(anonymous)"
      : `${functionName || "(anonymous)"} ${module}:${lineNumber + 1}`;
    functions.set(name, (functions.get(name) ?? 0) + micros);
    const owner = module || name;
    modules.set(owner, (modules.get(owner) ?? 0) + micros);
  }
  const sorted = (times: ReadonlyMap<string, number>): SelfTime[] =>
    [...times].sort(([, a], [, b]) => b - a).map(([name, micros]) => ({ name, share: micros / total }));
  return { ms: total / 1000, functions: sorted(functions), modules: sorted(modules) };
}

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Returns the path of a module of the package, the name of another package, or what the runtime calls its own. */
function moduleOf(url: string): string {
  const path = url.startsWith("file:") ? fileURLToPath(url).replace(root, "") : url;
  return path.replace(/^.*node_modules\/@b24\/onappupdate\//, "")
    .replace(/^.*(?:node_modules|registry\.npmjs\.org)\/((?:@[^/]+\/)?[^/]+)\/.*$/, "$1");
}
