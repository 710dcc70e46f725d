/** Reads the form that came with a request. */
import { invalid } from "../operator_api/api_error.ts";
import { assertMediaType, readText } from "../operator_api/request.ts";

/** A form: the first value of each name. */
export type Form = ReadonlyMap<string, string>;

/** @throws an `ApiError` 400, 408, 413 or 415 */
export async function readForm(request: Request, maxBytes: number): Promise<Form> {
  assertMediaType(request, "application/x-www-form-urlencoded");
  const form = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(await readText(request, maxBytes, "a form in UTF-8"))) {
    if (form.has(name)) throw invalid([{ path: name.slice(0, 60), saw: "several values", wanted: "one" }]);
    form.set(name, value);
  }
  return form;
}

/**
 * Returns a path of the console that a form or a link named, with its query; `/` if it is none. It is appended to `base`, so that
 * nothing in it can lead to another host.
 */
export function pathIn(text: string | null | undefined): string {
  if (text === null || text === undefined || text.length > 2000 || !/^\/(?!\/)[^\\\p{Cc}]*$/u.test(text)) return "/";
  const { pathname, search } = new URL(text, "http://console.invalid");
  // The rest of "/..//host" would be another host.
  return pathname.startsWith("//") ? "/" : pathname + search;
}

/**
 * Returns the page that a form or a link named, as `pathIn` does; for an export, the list that it is of: signing in must not
 * cause an export that a link of another site has named.
 */
export function pageIn(text: string | null | undefined): string {
  const path = pathIn(text);
  if (!path.startsWith("/export/")) return path;
  const { pathname, searchParams } = new URL(path, "http://console.invalid");
  for (const name of ["format", "reason"]) searchParams.delete(name);
  // The rest of "/export//host" would be another host.
  return pathIn(`${pathname.slice("/export".length)}${searchParams.size === 0 ? "" : `?${searchParams}`}`);
}
