/** Rules for the operator of an action and its reason. */
import { option, type OptionRule, type OptionRules } from "../../check_options.ts";
import type { Attribution } from "../../plugin/admin_pages.ts";

/** Rules for {@linkcode Attribution}. */
export const ATTRIBUTION_RULES: OptionRules<Attribution> = {
  by: option.required(line("the operator", 100)),
  reason: option.required(line("the reason", 500)),
};

/**
 * Control characters, and those that change the direction of text: they can make a list show another operator than the one
 * that acted.
 */
// deno-lint-ignore no-control-regex
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/;

/** Accepts strings of up to `max` characters without control characters that are not blank. */
function line(what: string, max: number): OptionRule {
  return option.value(
    `${what}: 1 to ${max} characters without control characters, also of text direction`,
    (value) =>
      typeof value === "string" && value.trim() !== "" && value.length <= max && value.isWellFormed() &&
      !CONTROLS.test(value),
  );
}

/** An administrator of a portal has asked for a retry on the app's page. It does not pass a pause of a rollout. */
export const BY_PORTAL: Attribution = { by: "portal", reason: "an administrator of the portal asked for a retry" };
