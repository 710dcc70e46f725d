/** The report of an action on the page that the browser opens next: in a cookie, so that no link can make the console say it. */
import { Buffer } from "node:buffer";
import type { Cookies } from "./cookies.ts";
import { isTextKey, type TextKey, type TextValues } from "./texts.ts";

/** A report: a string of the table, and its values. */
export interface Flash {
  readonly key: TextKey;
  readonly values: TextValues;
}

/** Time (s) until a report that no page has shown is forgotten. */
const MAX_AGE_S = 60;

/** Returns the header that reports something on the next page. */
export function flashHeader(cookies: Cookies, { key, values }: Flash): string {
  return cookies.set("flash", Buffer.from(JSON.stringify([key, values])).toString("base64url"), MAX_AGE_S);
}

/** Returns what the last action has reported; `undefined` if nothing is to be shown. */
export function takeFlash(request: Request, cookies: Cookies): Flash | undefined {
  const text = cookies.get(request, "flash");
  // A page that fetches its parts anew would take it from the page that is opened.
  if (text === undefined || request.headers.get("x-console-live") !== null) return undefined;
  try {
    const [key, values] = JSON.parse(Buffer.from(text, "base64url").toString()) as readonly [unknown, unknown];
    return isTextKey(key) && areValues(values) ? { key, values } : undefined;
  } catch {
    return undefined;
  }
}

function areValues(values: unknown): values is TextValues {
  return typeof values === "object" && values !== null &&
    Object.values(values).every((value) => typeof value === "string" || typeof value === "number");
}
