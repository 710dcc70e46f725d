/** Cookies of the console. Their prefix makes browsers bind them to its host, and refuse those of subdomains. */
import { createHash } from "node:crypto";

/** Reads and writes cookies. */
export interface Cookies {
  readonly get: (request: Request, name: string) => string | undefined;
  /** Returns a header that sets a cookie: for this many seconds, or until the browser closes. */
  readonly set: (name: string, value: string, maxAge?: number) => string;
  readonly clear: (name: string) => string;
}

/** Returns the cookies of the console at an address: two consoles on one host, or on two ports of it, do not share any. */
export function createCookies(origin: string, base: string): Cookies {
  const id = createHash("sha256").update(`${origin}${base}`).digest("hex").slice(0, 8);
  const nameOf = (name: string): string => `__Host-console-${id}-${name}`;
  const set: Cookies["set"] = (name, value, maxAge) =>
    `${nameOf(name)}=${value}; Path=/; Secure; HttpOnly; SameSite=Lax${
      maxAge === undefined ? "" : `; Max-Age=${maxAge}`
    }`;
  return {
    get: ({ headers }, name) => {
      const start = `${nameOf(name)}=`;
      const found = (headers.get("cookie") ?? "").split(/; */).filter((cookie) => cookie.startsWith(start));
      return found.length === 1 ? found[0]!.slice(start.length) : undefined;
    },
    set,
    clear: (name) => set(name, "", 0),
  };
}
