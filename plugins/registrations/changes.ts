/** Compares what is declared with what a portal has. */
import type { OnAppUpdateError } from "../../mod.ts";
import { b24CodeOf, type HasB24Batch } from "./batch.ts";
import type { Declaration } from "./declaration.ts";
import type { Command, Declared, Kind } from "./kind.ts";
import { declaredOf, KINDS } from "./kinds.ts";
import type { There } from "./listed.ts";
import { shown } from "./redaction.ts";

/** One difference between what is declared and what is there. */
export interface RegistrationChange {
  /** Of {@linkcode Declaration}. */
  readonly kind: keyof Declaration;
  /** What it is known by, for people: without the query of its handler, which may hold a secret. */
  readonly id: string;
  /** What is to be done; `keep`: nothing. */
  readonly action: "add" | "update" | "remove" | "keep";
  /** For people. */
  readonly why: string;
}

/** A change, and how it is made. */
export interface Todo {
  readonly change: RegistrationChange;
  /** One after the other. */
  readonly commands: readonly Command[];
  /** Instead of the command that adds, when it is there already. */
  readonly otherwise?: Command | undefined;
}

/** What a comparison has found. */
export interface Comparison {
  readonly todo: readonly Todo[];
  /** Why kinds could not be listed. */
  readonly errors: readonly OnAppUpdateError[];
  /** Kinds that the portal does not know, for people. */
  readonly absent: readonly string[];
}

/**
 * Compares; changes nothing.
 *
 * @param now what is declared
 * @param before what the version before declared; asked only where it matters, for old versions may be forgotten by now
 * @param isRun whether what cannot be seen is to be brought up to date, too
 */
export async function compare(
  b24: HasB24Batch["b24"],
  now: Declaration,
  before: () => Declaration,
  isRun: boolean,
): Promise<Comparison> {
  const kinds = KINDS.filter(({ key }) => now[key] !== undefined);
  if (kinds.length === 0) return { todo: [], errors: [], absent: [] };
  const former = kinds.some(({ hasOthers }) => hasOthers) ? before() : {};
  const todo: Todo[] = [];
  const errors: OnAppUpdateError[] = [];
  const absent: string[] = [];
  const listed = await b24.batch(Object.fromEntries(kinds.map(({ key, list }) => [key, [list]])));
  for (const kind of kinds) {
    const outcome = listed[kind.key]!;
    if (outcome.ok) todo.push(...todoOf(kind, now, former, kind.there(outcome.value), isRun));
    else if (!/^ERROR_METHOD_NOT_FOUND$/i.test(b24CodeOf(outcome.error))) errors.push(outcome.error);
    else absent.push(`${kind.key}: the portal has no ${kind.list}`);
  }
  return { todo, errors, absent };
}

function todoOf(
  kind: Kind,
  now: Declaration,
  former: Declaration,
  listed: readonly There[],
  isRun: boolean,
): Todo[] {
  const there = new Map(listed.map((one) => [one.id, one]));
  const wanted = new Map(declaredOf(kind, now).map((one) => [kind.id(one), one]));
  const todo: Todo[] = [];
  for (const [id, one] of wanted) {
    const isSame = (other: There): boolean => !wanted.has(other.id) && kind.isAlso?.(one, other.fields) === true;
    const found = there.get(id) ?? [...there.values()].find(isSame);
    if (found !== undefined) there.delete(found.id);
    todo.push(todoFor(kind, one, found, isRun));
  }
  const formerly = new Set(declaredOf(kind, former).map(kind.id));
  for (const { id, fields } of there.values()) {
    if (kind.hasOthers && !formerly.has(id)) continue;
    const change = changeOf(kind, id, "remove", "it is not declared");
    todo.push({ change, commands: [kind.remove(fields)] });
  }
  return todo;
}

function todoFor(kind: Kind, one: Declared, found: There | undefined, isRun: boolean): Todo {
  const id = kind.id(one);
  if (found === undefined) {
    const change = changeOf(kind, id, "add", "it is not there");
    return { change, commands: [kind.add(one)], otherwise: kind.otherwise?.(one) };
  }
  const differs = kind.differs?.(one, found.fields) ?? false;
  if (!differs && !(isRun && kind.isUnseen?.(one))) {
    return { change: changeOf(kind, id, "keep", "it is there"), commands: [] };
  }
  const why = differs ? "it is not as declared" : "whether it has changed cannot be seen";
  return { change: changeOf(kind, id, "update", why), commands: kind.update!(one, found.fields) };
}

function changeOf({ key }: Kind, id: string, action: RegistrationChange["action"], why: string): RegistrationChange {
  return { kind: key, id: shown(id), action, why };
}
