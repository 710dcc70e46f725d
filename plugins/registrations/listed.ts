/** Parses what portals list, which can be anything. */

/** Fields of a registration, under Bitrix24's names. */
export type Fields = Readonly<Record<string, unknown>>;

/** A registration on a portal. */
export interface Registered {
  readonly id: string;
  readonly fields: Fields;
}

/** Returns whether a value is an object of JSON. */
export function isMap(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Returns a value as a string; empty if it is absent. */
export function text(value: unknown): string {
  return String(value ?? "");
}

/** Returns the values of a list or map: PHP encodes lists with gaps as maps, and empty maps as lists. */
function values(listed: unknown): unknown[] {
  return typeof listed === "object" && listed !== null ? Object.values(listed) : [];
}

/** Returns the maps in a list. */
export function maps(listed: unknown): readonly Fields[] {
  return values(listed).filter(isMap);
}

/** Returns the registrations in a list of codes. */
export function codes(listed: unknown): readonly Registered[] {
  return values(listed).map((code) => ({ id: text(code), fields: { CODE: text(code) } }));
}

/** Returns whether a listed value differs from the declared one. Values that are not listed count as equal. */
export function differsFrom(declared: unknown, listed: unknown): boolean {
  if (declared === undefined || listed === undefined) return false;
  if (typeof declared !== "object" || declared === null) return phpString(declared) !== phpString(listed);
  const members = typeof listed === "object" && listed !== null ? listed as Fields : {};
  return Object.entries(declared).some(([name, value]) => differsFrom(value, members[name]));
}

/** Returns a value as PHP writes it. */
function phpString(value: unknown): string {
  return text(typeof value === "boolean" ? Number(value) : value).trim();
}
