/** The facts about a request before it is answered. */
import type { Cookies } from "./cookies.ts";
import { type Language, languageOf } from "./texts.ts";

/** A request to the console. */
export interface Visit {
  readonly request: Request;
  /** The arguments that the server has passed besides the request. */
  readonly platform: readonly unknown[];
  /** Path below `base`, such as `/portals`. */
  readonly path: string;
  /** The members of the query that are not empty. */
  readonly query: Readonly<Record<string, string>>;
  /** The path with its query, as links name it. */
  readonly here: string;
  readonly language: Language;
}

/** Returns what is known of a request. */
export function visitOf(request: Request, platform: readonly unknown[], base: string, cookies: Cookies): Visit {
  // `Deno.serve` passes on a Host header that no URL can have.
  const { pathname, searchParams } = new URL(URL.canParse(request.url) ? request.url : "http://localhost/");
  const path = pathBelow(base, pathname);
  const query = Object.fromEntries([...searchParams].filter(([, value]) => value !== ""));
  const search = new URLSearchParams(query).toString();
  return {
    ...{ request, platform, path, query },
    here: `${path}${search === "" ? "" : `?${search}`}`,
    language: languageOf(cookies.get(request, "language"), request.headers.get("accept-language")),
  };
}

/**
 * Returns the path below `base`. A framework may have removed `base` from the address, so both spellings are understood:
 * `operatorConsole` refuses a base that begins like a path of the console.
 */
function pathBelow(base: string, pathname: string): string {
  if (base === "" || !(pathname === base || pathname.startsWith(`${base}/`))) return pathname;
  return pathname.slice(base.length) || "/";
}
