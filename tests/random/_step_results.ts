/** The results of steps that handlers have received: a step whose result was received has been recorded, and does not run again. */
import type { PortalRecord } from "../../src/portal/record.ts";

export interface StepResults {
  /** Notes a record that was written. Another run, or a rollback, has results of its own. */
  readonly note: (record: PortalRecord) => void;
  /** Returns the problem if the work of a step runs although its result was received; otherwise `undefined`. */
  readonly started: (step: string) => string | undefined;
  /** Returns the problem if a step has another result than before; otherwise `undefined`. */
  readonly received: (step: string, result: string) => string | undefined;
}

export function createStepResults(): StepResults {
  const results = new Map<string, string>();
  let current = "";
  return {
    note: ({ generation, run, rollbacks = 0 }) => {
      const next = JSON.stringify([generation, run?.id, rollbacks, run?.isRollingBack]);
      if (next !== current) results.clear();
      current = next;
    },
    started: (step) => results.has(step) ? `${step} ran again after its result was received` : undefined,
    received: (step, result) => {
      const before = results.get(step);
      results.set(step, result);
      return before === undefined || before === result ? undefined : `${step} has the results ${before} and ${result}`;
    },
  };
}
