/** The only place where the command line imports a module of its user. */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

/** Imports a module by its path and returns its default export. */
export async function loadModule(path: string): Promise<unknown> {
  const { href } = pathToFileURL(resolve(path));
  const module: { readonly default?: unknown } = await import(href);
  return module.default;
}
