/** Fields that this library does not know, with what looks like a secret wrapped in `Secret`. */
import { isSecretName } from "../redact.ts";
import { Secret } from "../secret.ts";
import type { Extra, ExtraValue } from "./events.ts";
import { isTree, type WireTree, type WireValue } from "./tree.ts";

const NO_EXTRA: Extra = Object.freeze(Object.create(null));
const NO_KEYS: ReadonlySet<string> = new Set();

/** Returns the fields of a map whose keys are not among `known`; of anything else, none. */
export function extraOf(tree: WireValue | undefined, known: ReadonlySet<string> = NO_KEYS): Extra {
  return isTree(tree) ? fieldsOf(tree, known, false) : NO_EXTRA;
}

/** Returns a value under `key`. `isSecret`: it is inside of a secret. */
export function extraValue(key: string, value: WireValue, isSecret: boolean = false): ExtraValue {
  const isOwn = isSecretName(key);
  if (typeof value === "string" || typeof value === "number") {
    return isOwn || isSecret ? new Secret(String(value)) : value;
  }
  // `auth` is also a map with fields that are no secrets, such as `member_id`.
  const isInside = isSecret || (isOwn && key.toLowerCase() !== "auth");
  if (isTree(value)) return fieldsOf(value, NO_KEYS, isInside);
  return Array.isArray(value) ? value.map((item) => extraValue(key, item, isSecret)) : value as boolean | null;
}

function fieldsOf(tree: WireTree, known: ReadonlySet<string>, isSecret: boolean): Extra {
  let fields: Record<string, ExtraValue> | undefined;
  for (const key of Object.keys(tree)) {
    if (known.has(key)) continue;
    // No prototype, so that a key such as `__proto__` is a key like any other.
    fields ??= Object.create(null) as Record<string, ExtraValue>;
    fields[key] = extraValue(key, tree[key]!, isSecret);
  }
  return fields ?? NO_EXTRA;
}
