/** The values that pages have shown last, for the time in which the storage does not answer. */
import type { Operator } from "../operator_api/route.ts";

/** The data of a page. */
export interface LastKnown {
  readonly data: unknown;
  /** When they were loaded, in milliseconds since 1970. */
  readonly at: number;
}

/** The data of pages by address and operator. */
export interface LastKnownData {
  readonly keep: (operator: Operator, here: string, known: LastKnown) => void;
  readonly find: (operator: Operator, here: string) => LastKnown | undefined;
}

/** Maximum number of pages that are remembered. */
const MAX_PAGES = 50;

/** Remembers the pages that were opened last, in this process only. */
export function createLastKnown(): LastKnownData {
  const known = new Map<string, LastKnown>();
  const keyOf = ({ name, role }: Operator, here: string): string => JSON.stringify([name, role, here]);
  return {
    keep: (operator, here, data) => {
      const key = keyOf(operator, here);
      known.delete(key);
      known.set(key, data);
      if (known.size > MAX_PAGES) known.delete(known.keys().next().value!);
    },
    find: (operator, here) => known.get(keyOf(operator, here)),
  };
}
