/** Checks a plugin when it is added. */
import { checkOptions, misspelled, type OptionProblem, type OptionRule } from "../check_options.ts";
import { OBSERVER_RULES } from "./observers.ts";
import { type Plugin, PLUGIN_RULES } from "./plugin.ts";

type Members = Readonly<Record<string, unknown>>;

/**
 * Checks the members of a plugin, those of its class included. Members of its own are accepted, unless they look like
 * misspelled ones: they would never be called.
 *
 * @throws {TypeError} if a member or an observer is invalid, misspelled or unknown, or the object has members but none of a
 * plugin, as a storage has
 */
export function checkPlugin(plugin: Plugin): void {
  const members = plugin as object as Members;
  const known = membersOf(members, PLUGIN_RULES);
  const mistakes = mistakesIn(members);
  checkOptions<Members>(`cannot add plugin "${plugin.name}"`, { ...known, ...membersOf(members, mistakes) }, {
    ...PLUGIN_RULES,
    ...mistakes,
  });
  const names = Object.keys(PLUGIN_RULES).filter((name) => name !== "name");
  const hasOwn = Object.keys(members).some((name) => !Object.hasOwn(PLUGIN_RULES, name));
  if (!hasOwn || names.some((name) => known[name] !== undefined)) return;
  throw new TypeError(`cannot add "${plugin.name}", which is no plugin: it has none of ${names.join(", ")}`);
}

/** Returns the members that `rules` name, with those of the class. */
function membersOf(members: Members, rules: object): Members {
  const entries = Object.keys(rules).map((name) => [name, members[name]] as const);
  return Object.fromEntries(entries.map(([name, value]) => [name, name === "observe" ? observersIn(value) : value]));
}

/** Returns the observers to check: all of a plain object, and the known and misspelled ones of a class. */
function observersIn(observe: unknown): unknown {
  if (typeof observe !== "object" || observe === null || Array.isArray(observe) || isPlain(observe)) return observe;
  const members = observe as Members;
  const isMistake = (name: string): boolean => misspelled(name, Object.keys(OBSERVER_RULES)) !== undefined;
  const mistakes = Object.keys(members).filter((name) => typeof members[name] === "function" && isMistake(name));
  return Object.fromEntries(
    [...Object.keys(OBSERVER_RULES), ...mistakes].map((name) => [name, members[name]]),
  );
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Returns a rule that refuses it for each unknown member that looks like a misspelled one. */
function mistakesIn(members: Members): Readonly<Record<string, OptionRule>> {
  const mistakes: Record<string, OptionRule> = {};
  for (const name of Object.keys(members)) {
    const wanted = Object.hasOwn(PLUGIN_RULES, name) ? undefined : meantMember(name, members);
    if (wanted === undefined) continue;
    mistakes[name] = (): OptionProblem => ({ path: `the member ${name}`, seen: "that does not exist", wanted });
  }
  return mistakes;
}

/** Returns the member or the observer that an unknown member was probably meant to be. */
function meantMember(name: string, members: Members): string | undefined {
  const value = members[name];
  // Other libraries call them `onClose` or `onEvent`.
  const bare = typeof value === "function" ? name.replace(/^on(?=[A-Z])/, "") : name;
  const member = similar(bare, Object.keys(PLUGIN_RULES));
  // A flag `closed` is not a misspelled function.
  if (member !== undefined && PLUGIN_RULES[member as keyof Plugin](value, "") === undefined) return member;
  if (typeof value !== "function") return undefined;
  const observers = Object.keys(OBSERVER_RULES);
  const observer = similar(bare, observers) ??
    (bare === name ? undefined : observers.find((one) => one.startsWith(bare.toLowerCase())));
  // A class may define its observers as members, and refer to them in `observe`.
  const isUsed = observer !== undefined && typeof Object(members["observe"])[observer] === "function";
  return observer === undefined || isUsed ? undefined : `observe.${observer}`;
}

/** Returns the known name that is the same in either case, or nearly. */
function similar(name: string, known: readonly string[]): string | undefined {
  return known.includes(name) ? name : misspelled(name, known);
}
