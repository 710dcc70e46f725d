/**
 * For `node --import` in the project of npm_project.ts: what a test imports from the sources (`../src/**.ts`,
 * `../plugins/**.ts`, `../mod.ts`) comes from the installed package, so that internal modules under test are those that
 * users get.
 */
import { registerHooks } from "node:module";

const project = new URL("..", import.meta.url).href;
const installed = new URL("node_modules/@b24/onappupdate/", project).href;
const source = /^(mod|storage|errors|src\/.+|plugins\/.+)\.ts$/;

registerHooks({
  // deno-lint-ignore explicit-function-return-type -- JavaScript has none
  resolve(specifier, context, nextResolve) {
    if (/^\.{0,2}\/|^file:/.test(specifier) && context.parentURL?.startsWith(project)) {
      const url = new URL(specifier, context.parentURL).href;
      const path = url.startsWith(project) ? url.slice(project.length) : "";
      if (source.test(path)) return nextResolve(installed + path.replace(/\.ts$/, ".js"), context);
    }
    return nextResolve(specifier, context);
  },
});
