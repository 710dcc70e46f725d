/**
 * For `node --import` in the project that test_npm.ts makes: what a test imports from the sources (`../src/**.ts`,
 * `../plugins/**.ts`, `../mod.ts`) is taken from the installed package, so that internal modules under test are
 * those that users get.
 */
import * as nodeModule from "node:module";

const project = new URL("..", import.meta.url).href;
const installed = new URL("node_modules/@b24/onappupdate/", project).href;
const source = /^(mod|src\/.+|plugins\/.+)\.ts$/;

// Absent on Node 20, where a test may start npm.
nodeModule.registerHooks?.({
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
