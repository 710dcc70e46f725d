/** Applies planned changes to a portal. */
import { B24Error, type OnAppUpdateError } from "../../mod.ts";
import { b24CodeOf, errorOf, type HasB24Batch } from "./batch.ts";
import type { PlannedChange, RegistrationChange } from "./changes.ts";
import type { Command } from "./kind.ts";

/** A change that Bitrix24 refused. */
export interface Refusal {
  readonly planned: PlannedChange;
  readonly error: OnAppUpdateError;
}

/** One command of a change. */
interface Step {
  readonly planned: PlannedChange;
  readonly command: Command;
}

/** Removals come first, because two user field types cannot have one handler. */
const ORDER: readonly RegistrationChange["action"][] = ["remove", "update", "add", "keep"];

/** Applies all changes that Bitrix24 accepts, and resolves to the others. */
export async function applyChanges(
  b24: HasB24Batch["b24"],
  changes: readonly PlannedChange[],
): Promise<readonly Refusal[]> {
  const sorted = changes.toSorted((a, b) => ORDER.indexOf(a.change.action) - ORDER.indexOf(b.change.action));
  const steps = sorted.flatMap((planned) => planned.commands.map((command): Step => ({ planned, command })));
  const refusals: Refusal[] = [];
  const existing: (Step & { readonly conflict: OnAppUpdateError })[] = [];
  for (const { step, error } of await run(b24, steps)) {
    const { planned } = step;
    if (isMissing(step, error)) continue;
    if (!isExisting(step, error)) refusals.push({ planned, error });
    else if (planned.ifExists !== undefined) existing.push({ planned, command: planned.ifExists, conflict: error });
  }
  // Another process has added it since the list. If it cannot be updated, the code belongs to another kind.
  for (const { step: { planned, conflict }, error } of await run(b24, existing)) {
    refusals.push({ planned, error: /_NOT_FOUND$/.test(b24CodeOf(error)) ? conflict : error });
  }
  return refusals;
}

/** Runs all commands, and resolves to those that failed. */
async function run<S extends Step>(
  b24: HasB24Batch["b24"],
  steps: readonly S[],
): Promise<readonly { readonly step: S; readonly error: OnAppUpdateError }[]> {
  if (steps.length === 0) return [];
  const commands = Object.fromEntries(steps.map(({ command }, i) => [`c${i}`, command]));
  // All commands are idempotent.
  const outcomes = await b24.batch(commands, { repeatable: true });
  return steps.flatMap((step, i) => {
    const error = errorOf(outcomes[`c${i}`]!, step.command[0]);
    return error === undefined ? [] : [{ step, error }];
  });
}

/** Returns whether the error means that a registration to be added exists. */
function isExisting({ command: [method] }: Step, error: OnAppUpdateError): boolean {
  const code = b24CodeOf(error);
  if (!/\.(add|bind|register)$/.test(method)) return false;
  return /^ERROR_(ACTIVITY|SENDER)_ALREADY_INSTALLED$/i.test(code) ||
    (code === "ERROR_CORE" && /already/i.test(descriptionOf(error)));
}

/** Returns whether the error means that a registration to be removed does not exist. */
function isMissing({ planned }: Step, error: OnAppUpdateError): boolean {
  const code = b24CodeOf(error);
  if (planned.change.action !== "remove") return false;
  // Errors of triggers have no code.
  return /^ERROR_((ACTIVITY|SENDER)_)?NOT_FOUND$/i.test(code) ||
    (code === "UNKNOWN_ERROR" && /not found/i.test(descriptionOf(error)));
}

function descriptionOf(error: OnAppUpdateError): string {
  return error instanceof B24Error ? error.description : "";
}
