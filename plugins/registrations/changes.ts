/** Compares the declaration with the registrations of a portal. */
import type { OnAppUpdateError } from "../../mod.ts";
import { b24CodeOf, type HasB24Batch } from "./batch.ts";
import type { Declaration } from "./declaration.ts";
import type { Command, Declared, Kind } from "./kind.ts";
import { declaredOf, KINDS } from "./kinds.ts";
import type { Registered } from "./listed.ts";
import { hideUrlSecrets } from "./redaction.ts";

/** The change of one registration. */
export interface RegistrationChange {
  /** Kind of the registration: a field of {@linkcode Declaration}. */
  readonly kind: keyof Declaration;
  /** Identifies the registration, for people. The query of its handler is left out, because it may contain a secret. */
  readonly id: string;
  /** The action; `keep` does nothing. */
  readonly action: "add" | "update" | "remove" | "keep";
  /** Reason for people. */
  readonly why: string;
}

/** A change and the commands that make it. */
export interface PlannedChange {
  readonly change: RegistrationChange;
  /** Run in order. */
  readonly commands: readonly Command[];
  /** Run if adding fails because the registration exists. */
  readonly ifExists?: Command | undefined;
}

/** The result of a comparison. */
export interface Comparison {
  readonly planned: readonly PlannedChange[];
  /** Errors of kinds that could not be listed. */
  readonly errors: readonly OnAppUpdateError[];
  /** Kinds that the portal does not support, for people. */
  readonly unsupported: readonly string[];
}

/**
 * Compares without changing anything.
 *
 * @param current the current declaration
 * @param previous returns the declaration of the previous version; called only if it matters, because apps may no longer
 * have those of old versions
 * @param isRun whether to update registrations whose changes cannot be detected
 */
export async function compare(
  b24: HasB24Batch["b24"],
  current: Declaration,
  previous: () => Declaration,
  isRun: boolean,
): Promise<Comparison> {
  const kinds = KINDS.filter(({ key }) => current[key] !== undefined);
  if (kinds.length === 0) return { planned: [], errors: [], unsupported: [] };
  const former = kinds.some(({ listsOtherApps }) => listsOtherApps) ? previous() : {};
  const planned: PlannedChange[] = [];
  const errors: OnAppUpdateError[] = [];
  const unsupported: string[] = [];
  const listed = await b24.batch(Object.fromEntries(kinds.map(({ key, list }) => [key, [list]])));
  for (const kind of kinds) {
    const outcome = listed[kind.key]!;
    if (outcome.ok) planned.push(...planKind(kind, current, former, kind.parse(outcome.value), isRun));
    else if (!/^ERROR_METHOD_NOT_FOUND$/i.test(b24CodeOf(outcome.error))) errors.push(outcome.error);
    else unsupported.push(`${kind.key}: the portal has no ${kind.list}`);
  }
  return { planned, errors, unsupported };
}

function planKind(
  kind: Kind,
  current: Declaration,
  former: Declaration,
  listed: readonly Registered[],
  isRun: boolean,
): PlannedChange[] {
  const remaining = new Map(listed.map((registered) => [registered.id, registered]));
  const wanted = new Map(declaredOf(kind, current).map((declared) => [kind.id(declared), declared]));
  const planned: PlannedChange[] = [];
  for (const [id, declared] of wanted) {
    const isSame = (other: Registered): boolean =>
      !wanted.has(other.id) && kind.isSame?.(declared, other.fields) === true;
    const found = remaining.get(id) ?? [...remaining.values()].find(isSame);
    if (found !== undefined) remaining.delete(found.id);
    planned.push(planDeclared(kind, declared, found, isRun));
  }
  const formerIds = new Set(declaredOf(kind, former).map(kind.id));
  for (const { id, fields } of remaining.values()) {
    if (kind.listsOtherApps && !formerIds.has(id)) continue;
    const change = changeOf(kind, id, "remove", "not declared");
    planned.push({ change, commands: [kind.remove(fields)] });
  }
  return planned;
}

function planDeclared(kind: Kind, declared: Declared, found: Registered | undefined, isRun: boolean): PlannedChange {
  const id = kind.id(declared);
  if (found === undefined) {
    const change = changeOf(kind, id, "add", "not registered");
    return { change, commands: [kind.add(declared)], ifExists: kind.ifExists?.(declared) };
  }
  const differs = kind.differs?.(declared, found.fields) ?? false;
  if (!differs && !(isRun && kind.hasUnlistedFields?.(declared))) {
    return { change: changeOf(kind, id, "keep", "registered"), commands: [] };
  }
  const why = differs ? "differs from the declaration" : "may differ in fields that are not listed";
  return { change: changeOf(kind, id, "update", why), commands: kind.update!(declared, found.fields) };
}

function changeOf({ key }: Kind, id: string, action: RegistrationChange["action"], why: string): RegistrationChange {
  return { kind: key, id: hideUrlSecrets(id), action, why };
}
