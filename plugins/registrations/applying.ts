/** Brings a portal to what is declared. */
import { B24Error, type OnAppUpdateError } from "../../mod.ts";
import { b24CodeOf, errorOf, type HasB24Batch } from "./batch.ts";
import type { RegistrationChange, Todo } from "./changes.ts";
import type { Command } from "./kind.ts";

/** What could not be done. */
export interface Refusal {
  readonly todo: Todo;
  readonly error: OnAppUpdateError;
}

/** One command on its way. */
interface Step {
  readonly todo: Todo;
  readonly command: Command;
}

/** What is removed makes room for what is added: two user field types cannot have one handler. */
const ORDER: readonly RegistrationChange["action"][] = ["remove", "update", "add", "keep"];

/** Does all that can be done; resolves to the rest. */
export async function apply(b24: HasB24Batch["b24"], todo: readonly Todo[]): Promise<readonly Refusal[]> {
  const sorted = todo.toSorted((a, b) => ORDER.indexOf(a.change.action) - ORDER.indexOf(b.change.action));
  const steps = sorted.flatMap((todo) => todo.commands.map((command): Step => ({ todo, command })));
  const refusals: Refusal[] = [];
  const beaten: (Step & { readonly already: OnAppUpdateError })[] = [];
  for (const { step, error } of await run(b24, steps)) {
    const { todo } = step;
    if (isGone(step, error)) continue;
    if (!isThere(step, error)) refusals.push({ todo, error });
    else if (todo.otherwise !== undefined) beaten.push({ todo, command: todo.otherwise, already: error });
  }
  // Another process was faster; or it is there as something else, and then cannot be updated either.
  for (const { step: { todo, already }, error } of await run(b24, beaten)) {
    refusals.push({ todo, error: /_NOT_FOUND$/.test(b24CodeOf(error)) ? already : error });
  }
  return refusals;
}

/** Resolves to what went wrong. */
async function run<S extends Step>(
  b24: HasB24Batch["b24"],
  steps: readonly S[],
): Promise<readonly { readonly step: S; readonly error: OnAppUpdateError }[]> {
  if (steps.length === 0) return [];
  const commands = Object.fromEntries(steps.map(({ command }, i) => [`c${i}`, command]));
  // Whatever it is, doing it twice does no harm.
  const outcomes = await b24.batch(commands, { repeatable: true });
  return steps.flatMap((step, i) => {
    const error = errorOf(outcomes[`c${i}`]!, step.command[0]);
    return error === undefined ? [] : [{ step, error }];
  });
}

/** Whether an error says that what was to be added is there. */
function isThere({ command: [method] }: Step, error: OnAppUpdateError): boolean {
  const code = b24CodeOf(error);
  if (!/\.(add|bind|register)$/.test(method)) return false;
  return /^ERROR_(ACTIVITY|SENDER)_ALREADY_INSTALLED$/i.test(code) ||
    (code === "ERROR_CORE" && /already/i.test(descriptionOf(error)));
}

/** Whether an error says that what was to be removed is not there. */
function isGone({ todo }: Step, error: OnAppUpdateError): boolean {
  const code = b24CodeOf(error);
  if (todo.change.action !== "remove") return false;
  // Triggers have no codes of errors.
  return /^ERROR_((ACTIVITY|SENDER)_)?NOT_FOUND$/i.test(code) ||
    (code === "UNKNOWN_ERROR" && /not found/i.test(descriptionOf(error)));
}

function descriptionOf(error: OnAppUpdateError): string {
  return error instanceof B24Error ? error.description : "";
}
