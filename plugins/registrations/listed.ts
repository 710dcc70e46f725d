/** Reads what portals list, which may be anything. */

/** Fields of one that is there, in Bitrix24's own names. */
export type Fields = Readonly<Record<string, unknown>>;

/** One that is there, by what it is known by. */
export interface There {
  readonly id: string;
  readonly fields: Fields;
}

/** Whether it is an object of JSON. */
export function isMap(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An empty text for what is not there. */
export function text(value: unknown): string {
  return String(value ?? "");
}

/** Lists with gaps become maps in PHP, and empty maps become lists. */
function values(listed: unknown): unknown[] {
  return typeof listed === "object" && listed !== null ? Object.values(listed) : [];
}

/** Of a list of maps. */
export function rows(listed: unknown): readonly Fields[] {
  return values(listed).filter(isMap);
}

/** Of a list of codes alone. */
export function codes(listed: unknown): readonly There[] {
  return values(listed).map((code) => ({ id: text(code), fields: { CODE: text(code) } }));
}

/** Whether something in `declared` is listed otherwise. What is not listed is not known to the portal. */
export function isUnlike(declared: unknown, listed: unknown): boolean {
  if (declared === undefined || listed === undefined) return false;
  if (typeof declared !== "object" || declared === null) return word(declared) !== word(listed);
  const inside = typeof listed === "object" && listed !== null ? listed as Fields : {};
  return Object.entries(declared).some(([name, one]) => isUnlike(one, inside[name]));
}

/** As PHP would write it. */
function word(value: unknown): string {
  return text(typeof value === "boolean" ? Number(value) : value).trim();
}
