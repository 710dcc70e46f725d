/** Finds the route of a request. */
import { ApiError } from "./api_error.ts";
import type { Route } from "./route.ts";

/** A route, and the parameters in the path of a request. */
export interface Match {
  readonly route: Route;
  /** `{portal}` of the path; absent if it has none. */
  readonly portal?: string;
  /** `{id}` of the path; absent if it has none. */
  readonly id?: string;
  /** `{target}` of the path; absent if it has none. */
  readonly target?: string;
}

/** Returns the function that finds the route of a request below `prefix`. It throws {@linkcode ApiError} 404 and 405. */
export function createRouter(routes: readonly Route[], prefix: string): (request: Request, url: URL) => Match {
  const compiled = routes.map((route) => ({
    route,
    pattern: new RegExp(`^${route.path.replaceAll(/\{(\w+)\}/g, "(?<$1>[^/]+)")}$`),
  }));
  return ({ method }, { pathname }) => {
    if (!pathname.startsWith(`${prefix}/`)) throw unknownRoute();
    const path = pathname.slice(prefix.length);
    const matching = compiled.flatMap(({ route, pattern }) => {
      const parts = pattern.exec(path);
      return parts === null ? [] : [{ route, parts: parts.groups ?? {} }];
    });
    if (matching.length === 0) throw unknownRoute();
    const found = matching.find(({ route }) => route.method === method);
    if (found === undefined) {
      const allow = [...new Set(matching.map(({ route }) => route.method))].join(", ");
      throw new ApiError(405, { code: "method", message: `wanted the method ${allow}` }, { allow });
    }
    return { route: found.route, ...decoded(found.parts) };
  };
}

function decoded(parts: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  try {
    return Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, decodeURIComponent(part)]));
  } catch {
    throw unknownRoute();
  }
}

function unknownRoute(): ApiError {
  return new ApiError(404, { code: "unknown_route", message: "no route has this path: see docs/operator-api.md" });
}
