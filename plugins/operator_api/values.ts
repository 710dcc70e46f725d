/** Values of answers, and pages of them. */
import { type ObjectSchema, page, type Schema } from "./schema.ts";

export const text: Schema = { type: "string" };
/** A message for people. It has no tokens; if one has slipped through all the same, it is removed here. */
export const message: Schema = { type: "string", isRedacted: true };
export const number: Schema = { type: "number" };
export const flag: Schema = { type: "boolean" };
/** A time. */
export const time: Schema = { type: "number", description: "Milliseconds since 1970" };

/** One of these strings. */
export function oneOf(...values: readonly string[]): Schema {
  return { type: "string", enum: values };
}

/** The parameter of the next page. */
export const NEXT: Schema = {
  type: "string",
  description: "Pass it as `after` to get the next page; absent after the last one",
};

/** A page in the order of ids. */
export function pageOf(items: Schema): ObjectSchema {
  return page(items, NEXT);
}
