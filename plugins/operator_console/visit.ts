/** What the console knows of a request before it is answered. */
import type { Language } from "./texts.ts";

/** A request to the console. */
export interface Visit {
  readonly request: Request;
  /** What the server has passed besides the request. */
  readonly platform: readonly unknown[];
  /** Path below `base`, such as `/portals`. */
  readonly path: string;
  /** The members of the query that are not empty. */
  readonly query: Readonly<Record<string, string>>;
  /** The path with its query, as links name it. */
  readonly here: string;
  readonly language: Language;
}

/**
 * Returns the path below `base`. A framework may have removed `base` from the address, so both spellings are understood:
 * {@linkcode operatorConsole} refuses a base that begins like a path of the console.
 */
export function pathBelow(base: string, pathname: string): string {
  if (base === "" || !(pathname === base || pathname.startsWith(`${base}/`))) return pathname;
  return pathname.slice(base.length) || "/";
}
