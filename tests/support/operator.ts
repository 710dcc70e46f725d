/** The operator of tests. */
import type { Attribution } from "../../mod.ts";

/** For actions of operators whose author does not matter. */
export const OPERATOR: Attribution = { by: "ada", reason: "test" };
