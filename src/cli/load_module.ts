/** The only place where the command line imports a module of its user. */
import http from "node:http";
import net from "node:net";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { stripVTControlCharacters } from "node:util";
import { redact } from "../redact.ts";
import { unreachable, usageError } from "./exit.ts";
import { isNotReachable, NOT_REACHABLE_HINT } from "./not_reachable.ts";

/**
 * Imports a module by its path and returns its default export. Nothing of this package starts in it, servers and cron jobs
 * throw, and what it logs goes to standard error; other effects of the module are its own.
 *
 * @throws {ExitError} if it cannot be imported
 */
export async function loadModule(path: string): Promise<unknown> {
  makeInert();
  const { href } = pathToFileURL(resolve(path));
  try {
    const module: { readonly default?: unknown } = await import(href);
    return module.default;
  } catch (error) {
    // Deno colors the place of an import that fails.
    const message = redact(stripVTControlCharacters(error instanceof Error ? error.message : String(error)));
    if (isNotReachable(error)) {
      throw unreachable(`cannot load ${path}: ${message || nameOf(error)}\n${NOT_REACHABLE_HINT}`, { cause: error });
    }
    throw usageError([`cannot load ${path}: ${message}`, ...hintsOf(message, error)].join("\n"), { cause: error });
  }
}

/** An AggregateError of several addresses has no message. */
function nameOf(error: unknown): string {
  const { code, errors: [first] = [] } = Object(error) as {
    readonly code?: string;
    readonly errors?: readonly Error[];
  };
  return first?.message ?? code ?? "the error has no message";
}

/** Returns what to do about an error of an import. */
function hintsOf(message: string, error: unknown): string[] {
  const { code } = Object(error) as { readonly code?: unknown };
  if (/not prefixed with|not a dependency|not in import map/i.test(message)) {
    return ["Deno finds no deno.json for a module that is run by its URL: add --config deno.json after deno run"];
  }
  if (code === "ERR_UNKNOWN_FILE_EXTENSION" || code === "ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING") {
    return ["this Node runs no TypeScript: use Node 22.18 or later, or name the compiled .js file"];
  }
  return [];
}

/** Makes the process one in which apps and servers refuse to start. */
function makeInert(): void {
  Object.assign(globalThis, { [Symbol.for("@b24/onappupdate.inert")]: true });
  const refuse = (name: string) => (): never => {
    throw new Error(
      `the module calls ${name}: export the app by default from a module of its own, such as app.ts, ` +
        "and serve it in another one, such as main.ts, that imports it",
    );
  };
  const { Deno: deno } = globalThis as { readonly Deno?: object };
  if (deno !== undefined) {
    for (const name of ["serve", "cron"]) {
      // Not by assignment: unstable features are getters.
      Object.defineProperty(deno, name, { value: refuse(`Deno.${name}()`), configurable: true });
    }
  }
  for (const { prototype } of [net.Server, http.Server]) {
    Object.assign(prototype, { listen: refuse("server.listen()") });
  }
  // Standard output has the data of the command, and nothing else.
  const { console } = globalThis;
  const error = console.error.bind(console);
  Object.assign(console, { log: error, info: error, debug: error, dir: error, table: error, group: error });
}
