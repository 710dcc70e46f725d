/** The `fetch` of upgrade handlers. */
import { currentStep } from "./current_step.ts";

/** Returns `fetch` with the signal of the step that calls it, or with `signal` outside of steps, besides the caller's own. */
export function handlerFetch(fetch: typeof globalThis.fetch, signal: AbortSignal): typeof globalThis.fetch {
  return async (input, init) => {
    const own = init?.signal ?? (input instanceof Request ? input.signal : undefined);
    const current = currentStep()?.signal ?? signal;
    return await fetch(input, { ...init, signal: own === undefined ? current : AbortSignal.any([own, current]) });
  };
}
