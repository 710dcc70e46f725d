/** The rule of an option that is a storage. */
import { hasFunctions, option } from "../check_options.ts";

/** Accepts objects with the functions and the capabilities of a storage. */
export const storageRule = option.value(
  "a storage, such as memoryStorage() to try it out",
  (value) =>
    hasFunctions("get", "put", "delete", "list")(value) &&
    typeof (value as { readonly capabilities?: unknown }).capabilities === "object",
);
