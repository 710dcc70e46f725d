/** The argument of a step's work. */
import type { AppRuntime } from "../plugin/runtime.ts";
import type { Installation } from "./installation.ts";
import type { StepScope } from "./steps.ts";

/** Returns the argument of a step's work. `part` distinguishes the pages of a step, and its undo. */
export async function stepScope(
  { digest }: Pick<AppRuntime, "digest">,
  { record, fencingToken }: Pick<Installation, "record" | "fencingToken">,
  upgradeId: string,
  name: string,
  { attempt, signal, part }: {
    readonly attempt: number;
    readonly signal: AbortSignal;
    readonly part?: string | undefined;
  },
): Promise<StepScope> {
  const { memberId, generation, rollbacks = 0 } = record();
  const identity = [memberId, generation, rollbacks, upgradeId, name, ...(part === undefined ? [] : [part])];
  return { idempotencyKey: await digest(JSON.stringify(identity)), attempt, fencingToken, signal };
}
