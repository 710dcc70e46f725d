/** Ticks of plugins: what they do from time to time, beside the work on portals. */
import { coalesce } from "../async/coalesce.ts";
import { withTimeout } from "../async/with_timeout.ts";
import type { Plugin } from "../plugin/plugin.ts";
import type { AppRuntime } from "../plugin/runtime.ts";

/** Time (ms) that the tick of a plugin may take. */
const TICK_MS = 60_000;

/**
 * Returns a function that calls `tick` of all plugins, and resolves when all have ended. Never rejects: a failure is logged. A
 * plugin that is still ticking is not called again, but waited for.
 */
export function createPluginTicks(runtime: AppRuntime): () => Promise<void> {
  const { plugins, time, signal, log } = runtime;
  const running = new Map<string, Promise<void>>();

  async function tickOne(plugin: string, tick: NonNullable<Plugin["tick"]>): Promise<void> {
    try {
      await withTimeout(time, signal, TICK_MS, async (signal) => await tick({ signal }));
    } catch (err) {
      if (!signal.aborted) log.error("tick of a plugin failed", { event: "plugin.tick_failed", plugin, err });
    }
  }

  return async () => {
    await Promise.all(plugins.map(async ({ name, tick }) => {
      if (tick !== undefined) await coalesce(running, name, () => tickOne(name, tick));
    }));
  };
}
