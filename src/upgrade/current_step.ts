/** The step that is running, for plugins that act on behalf of it. */
import { createAsyncContext } from "../net/runtime.ts";
import type { StepScope } from "./steps.ts";

const steps = createAsyncContext<StepScope>();

/** Runs the work of a step, and returns its result. */
export function runInStep<T>(scope: StepScope, work: (scope: StepScope) => T): T {
  return steps.run(scope, () => work(scope));
}

/**
 * Returns the scope of the step, page or undo that the caller runs in, for plugins that pass its `idempotencyKey` to a service;
 * `undefined` outside of steps, and on a host without `node:async_hooks`. It is the same object in one attempt at a step.
 *
 * @example
 * ```ts
 * import { currentStep } from "@b24/onappupdate";
 *
 * export async function post(url: string, body: object): Promise<Response> {
 *   const key = currentStep()?.idempotencyKey;
 *   const headers = new Headers(key === undefined ? {} : { "idempotency-key": key });
 *   return await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
 * }
 * ```
 */
export function currentStep(): StepScope | undefined {
  return steps.getStore();
}
