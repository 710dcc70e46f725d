/** Counts the lines of an adoption. Its memory does not depend on their number. */
import type { AdoptionLine, AdoptionReason, AdoptionReport } from "../../plugin/adoption.ts";

/** The lines of an adoption so far. */
export interface AdoptionTally {
  readonly add: (line: AdoptionLine) => void;
  readonly report: () => AdoptionReport;
}

/** Maximum number of lines in the report. */
const MAX_PROBLEMS = 1000;

/** Returns a tally without lines. */
export function createTally(): AdoptionTally {
  const counts: Record<AdoptionLine["outcome"], number> = { adopted: 0, filled_in: 0, unchanged: 0, not_adopted: 0 };
  const reasons: Partial<Record<AdoptionReason, number>> = {};
  const problems: AdoptionLine[] = [];
  return {
    add: (line) => {
      const { outcome, reason } = line;
      counts[outcome]++;
      if (reason === undefined) return;
      reasons[reason] = (reasons[reason] ?? 0) + 1;
      if (problems.length < MAX_PROBLEMS) problems.push(line);
    },
    report: () => {
      const { adopted, filled_in: filledIn, unchanged, not_adopted: notAdopted } = counts;
      return {
        lines: adopted + filledIn + unchanged + notAdopted,
        ...{ adopted, filledIn, unchanged, notAdopted },
        reasons: { ...reasons },
        problems: problems.toSorted((a, b) => a.line - b.line),
      };
    },
  };
}
