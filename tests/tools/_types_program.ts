/** A program that uses every export path of the package by its types, for the compilers of those who install it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../support/process.ts";

const APP = `
import { createApp, memoryStorage, type Plugin } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { rest } from "@b24/onappupdate/rest";

const greeting: Plugin<object, { greet: () => string }> = {
  name: "greeting",
  adds: ["greet"],
  extend: () => ({ greet: () => "hello" }),
};
export const app = createApp({ storage: memoryStorage(), clientId: "app.5f3a" })
  .use(applicationToken())
  .use(rest())
  .use(greeting)
  .on("ONAPPUPDATE", ({ event, greet }) => console.log(event.data.version.length, greet()))
  .upgrade(2, async ({ b24, step, greet }) => {
    const name: string = greet();
    await step(name, () => b24.call("profile"));
  });
// @ts-expect-error: no plugin adds it
app.upgrade("3", ({ unknown }) => unknown);
`;

/** Returns the program. */
export function typesProgram(): string {
  const { exports } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8")) as { exports: Record<string, string> };
  // The command line and what writes a project are programs, and export nothing.
  const paths = Object.keys(exports).filter((path) => path !== "./cli" && path !== "./create");
  const names = paths.map((path) => `@b24/onappupdate${path.slice(1)}`);
  const imports = names.map((name, i) => `import * as module${i} from "${name}";\n`).join("");
  return `${imports}${APP}export const all: readonly object[] = [${names.map((_, i) => `module${i}`).join(", ")}];\n`;
}
