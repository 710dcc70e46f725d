/** Rehearses the run of a portal: plugins around its due upgrades, in their order. */
import type { UpdateEvent } from "../../bitrix24/events.ts";
import type { HandlerContext } from "../../plugin/context.ts";
import { runPipeline } from "../../plugin/pipeline.ts";
import type { Plugin } from "../../plugin/plugin.ts";
import { type AppRuntime, makeHandlerContext, safeError } from "../../plugin/runtime.ts";
import { readJournals } from "../../portal/journal.ts";
import type { PortalRecord } from "../../portal/record.ts";
import type { Upgrade } from "../definition.ts";
import { inMemoryInstallation } from "./in_memory.ts";
import type { Recorder } from "./recorder.ts";
import { rehearseUpgrade } from "./rehearse_upgrade.ts";
import type { RehearsedUpgrade } from "./report.ts";

/** The rehearsed portal and its upgrades. */
export interface RunRehearsal {
  readonly runtime: AppRuntime;
  readonly recorder: Recorder;
  /** The record of the portal, with the target of the run. */
  readonly record: PortalRecord & { readonly version: string; readonly target: string };
  /** The upgrades that are due, in their order. */
  readonly due: readonly Upgrade[];
  /** The event that the run would have. */
  readonly event: UpdateEvent;
  readonly fetch: typeof fetch;
  /** Ends the rehearsal. */
  readonly signal: AbortSignal;
}

/** The upgrades of a run that was rehearsed, and the time in milliseconds that they sleep. */
export interface RehearsedRun {
  readonly upgrades: readonly RehearsedUpgrade[];
  readonly sleepMs: number;
}

const NO_FLAG = "it does not say { rehearsal: true }";

/** Rehearses a run. Never rejects but with an error of the storage. */
export async function rehearseRun(rehearsal: RunRehearsal): Promise<RehearsedRun> {
  const { runtime, recorder, record, due, event, signal } = rehearsal;
  const handling = runtime.plugins.filter(({ phase }) => phase !== "verify");
  const isUsed = ({ extend, around }: Plugin): boolean => extend !== undefined || around !== undefined;
  const plugins = handling.filter((plugin) => plugin.rehearsal === true && isUsed(plugin));
  const leftOut = handling.filter((plugin) => plugin.rehearsal !== true && isUsed(plugin));
  recorder.addNotRehearsed(...leftOut.map(({ name }) => ({ what: `plugin ${name}`, why: NO_FLAG })));
  if (runtime.handlers.has("ONAPPUPDATE")) {
    recorder.addNotRehearsed({ what: "handlers of ONAPPUPDATE", why: "handlers of events are not rehearsed" });
  }
  const extendContext = missingMembers(leftOut, recorder);
  const ctx = makeHandlerContext(runtime, event, record, { leaseSignal: signal });
  extendContext(ctx);
  let run: RehearsedRun | undefined;
  let why = "a plugin has not called next()";
  try {
    await runPipeline(plugins, ctx, async (ctx) => {
      run = await rehearseUpgrades(rehearsal, ctx, extendContext);
    });
  } catch (error) {
    const { message } = safeError(runtime, error, event, record);
    why = recorder.stopped() ?? `a plugin failed: ${message}`;
    if (run !== undefined) recorder.addNotRehearsed({ what: "plugins after the upgrades", why });
  }
  return run ?? { upgrades: due.map((upgrade) => notReached(upgrade, why)), sleepMs: 0 };
}

async function rehearseUpgrades(
  { runtime, recorder, record, due, fetch, signal }: RunRehearsal,
  ctx: HandlerContext,
  extendContext: (context: object) => void,
): Promise<RehearsedRun> {
  const { memberId, version: from, target: to, run } = record;
  const journals = run === undefined ? new Map() : await readJournals(runtime.storage, memberId, run.id);
  const installation = inMemoryInstallation(record, signal);
  const upgrades: RehearsedUpgrade[] = [];
  let sleepMs = 0;
  let end: string | undefined;
  for (const upgrade of due) {
    if (end !== undefined) {
      upgrades.push(notReached(upgrade, end));
      continue;
    }
    if (!upgrade.isRehearsable) {
      upgrades.push({ id: upgrade.id, range: upgrade.range, outcome: "not_rehearsed", why: NO_FLAG, steps: [] });
      continue;
    }
    const change = { memberId, from, to };
    const result = await rehearseUpgrade(
      { runtime, recorder, installation, ctx, extendContext, change, journals, fetch, signal },
      upgrade,
    );
    upgrades.push(result.upgrade);
    sleepMs += result.sleepMs;
    const { outcome } = result.upgrade;
    end = recorder.stopped() ??
      (outcome === "failed" || outcome === "blocked" ? `upgrade ${upgrade.id} is ${outcome}` : undefined);
  }
  return { upgrades, sleepMs };
}

function notReached({ id, range, isRehearsable }: Upgrade, why: string): RehearsedUpgrade {
  return isRehearsable
    ? { id, range, outcome: "not_reached", why, steps: [] }
    : { id, range, outcome: "not_rehearsed", why: NO_FLAG, steps: [] };
}

/** Returns a function that defines the members that plugins would add to a context, if these are left out: to read one throws. */
function missingMembers(leftOut: readonly Plugin[], recorder: Recorder): (context: object) => void {
  return (context) => {
    for (const { name, adds = [] } of leftOut) {
      for (const key of adds as readonly string[]) {
        const get = (): never => {
          throw recorder.refuse(`ctx.${key}`, `plugin ${name} adds it, and does not say { rehearsal: true }`);
        };
        // Not enumerable: copies of the context leave it out.
        Object.defineProperty(context, key, { get, enumerable: false, configurable: true });
      }
    }
  };
}
