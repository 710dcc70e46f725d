/** REST 3.0 of a portal, whose methods recognize a repeated call by its `Idempotency-Key`. */
import { checkOptions, currentStep, type PluginHost, type StepScope } from "../../mod.ts";
import type { Answer } from "./answers.ts";
import { assertMethod, isBatch, isV3Read } from "./methods.ts";
import { type B24Options, type B24V3Options, V3_RULES } from "./options.ts";
import type { V3Request } from "./request.ts";

/** The methods of REST 3.0, which are at `/rest/api/`: see {@linkcode B24.v3}. */
export interface B24V3 {
  /**
   * Calls a method of REST 3.0 and resolves to its `result`.
   *
   * Inside a step of an upgrade, a call that may write has an `Idempotency-Key`, derived from the step's, the method and `params`:
   * Bitrix24 answers a call that is repeated after a crash from the first one, and creates nothing twice. Equal calls in
   * one step are counted, so each of them is done. Bitrix24 keeps the answers of successful calls for 24 hours, for the user
   * who called: later, or as another user, or with other `params`, a call runs again.
   *
   * @throws {TypeError} if it is `batch` or not a method, or an option is unknown or invalid
   * @throws {B24Error} and everything else that `b24.call` throws; the description of an error names the invalid fields
   *
   * @example
   * ```ts
   * import { createApp, memoryStorage } from "@b24/onappupdate";
   * import { rest } from "@b24/onappupdate/rest";
   *
   * createApp({ storage: memoryStorage() }).use(rest()).upgrade("2.0.0", async ({ b24, step }) => {
   *   await step("task", async () => {
   *     const fields = { title: "Check the deals", responsibleId: 1, creatorId: 1 };
   *     const { item } = await b24.v3.call<{ item: { id: number } }>("tasks.task.add", { fields });
   *     return item.id;
   *   });
   * });
   * ```
   */
  readonly call: <T = unknown>(method: string, params?: object, options?: B24V3Options) => Promise<T>;
}

/** Dependencies of {@linkcode v3Client}. */
export interface V3ClientOptions {
  /** Calls a method. */
  readonly ask: (method: string, params: object, v3: V3Request, options: B24Options) => Promise<Answer>;
  readonly stepKeys: StepKeys;
}

/** Returns the client of REST 3.0. */
export function v3Client({ ask, stepKeys }: V3ClientOptions): B24V3 {
  return {
    call: async <T>(method: string, params: object = {}, options: B24V3Options = {}) => {
      assertMethod(method);
      checkOptions(`cannot call ${method}`, options, V3_RULES);
      const { idempotencyKey, ...others } = options;
      if (isBatch(method)) throw new TypeError("cannot call batch of REST 3.0, wanted a call of each method");
      const key = idempotencyKey ?? (isV3Read(method) ? undefined : stepKeys(method, params));
      return (await ask(method, params, { idempotencyKey: Promise.resolve(key) }, others)).result as T;
    },
  };
}

/** Returns the key of a call in the current step; `undefined` outside of steps. */
export type StepKeys = (method: string, params: object) => Promise<string> | undefined;

/** Returns the function that derives the keys of calls from those of their steps. */
export function createStepKeys(digest: PluginHost["digest"]): StepKeys {
  /** The number of times that each call was made, by the attempt at its step. */
  const calls = new WeakMap<StepScope, Map<string, number>>();
  return (method, params) => {
    const step = currentStep();
    if (step === undefined) return undefined;
    const call = JSON.stringify([method, params]);
    const counts = calls.get(step) ?? new Map<string, number>();
    const count = (counts.get(call) ?? 0) + 1;
    calls.set(step, counts.set(call, count));
    return digest(JSON.stringify([step.idempotencyKey, call, count]));
  };
}
