/** Records refused attempts, so that neither the audit log nor the log of the program can be flooded. */
import type { Logger } from "../../mod.ts";
import type { Operator, OperatorApp, Route } from "./route.ts";

/** An attempt of an operator who may not do this. */
export interface RefusedAttempt {
  readonly operator: Operator;
  readonly route: Pick<Route, "id" | "action">;
  readonly reason: string;
  readonly memberId?: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly refusal: string;
}

/** Options of {@linkcode createRefusals}. */
export interface RefusalsOptions {
  /** Name in log messages. */
  readonly name: "operator API" | "console";
  readonly app: OperatorApp;
  readonly logger: Logger;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
}

/** Records refused requests. */
export interface Refusals {
  /** Logs requests without a known token: the first, then their number once a minute while they continue. */
  readonly unauthorized: () => void;
  /** Logs an attempt, and adds it to the audit log if it was an action. Of each operator, ten a minute are recorded. */
  readonly forbidden: (attempt: RefusedAttempt) => Promise<void>;
}

const MINUTE_MS = 60_000;
const MAX_A_MINUTE = 10;
/** Maximum length of the details of an attempt as JSON. */
const MAX_DETAILS = 4000;

/** Returns the functions that record refused requests. */
export function createRefusals({ name, app, logger, clock }: RefusalsOptions): Refusals {
  let unauthorized = { since: -Infinity, count: 0 };
  const forbidden = new Map<string, { since: number; count: number }>();
  return {
    unauthorized: () => {
      unauthorized.count++;
      const now = clock();
      if (Math.abs(now - unauthorized.since) < MINUTE_MS) return;
      const { count } = unauthorized;
      unauthorized = { since: now, count: 0 };
      logger.warn(`${name} refused requests without a known token`, { event: "operator.unauthorized", count });
    },
    forbidden: async ({ operator: { name: by }, route: { id, action }, reason, memberId, details, refusal }) => {
      const now = clock();
      const window = forbidden.get(by);
      const current = window !== undefined && Math.abs(now - window.since) < MINUTE_MS
        ? window
        : { since: now, count: 0 };
      forbidden.set(by, current);
      if (++current.count > MAX_A_MINUTE) return;
      const fields = { by, ...(memberId !== undefined && { memberId }) };
      logger.warn(`${name} refused an action`, { event: "operator.forbidden", ...fields, route: id });
      if (action === undefined) return;
      const isShort = JSON.stringify(details).length <= MAX_DETAILS;
      await app.admin.noteAction({ ...fields, action, reason, ...(isShort && { details }), refusal });
    },
  };
}
