/** All files of a new project. */
import { appFile, testFile, upgradesFile } from "./app.ts";
import type { Choice } from "./choice.ts";
import { mainFile } from "./main.ts";
import { denoFile, packageFile, tsconfigFile } from "./manifest.ts";
import { dockerFile, dockerIgnoreFile, envExampleFile, envFile, ignoreFile, readmeFile } from "./surroundings.ts";

/** Returns the content of each file, by its path in the project. */
export function projectFiles(choice: Choice): ReadonlyMap<string, string> {
  const manifests: readonly (readonly [string, string])[] = choice.runtime === "deno"
    ? [["deno.json", denoFile(choice)]]
    : [["package.json", packageFile(choice)], ["tsconfig.json", tsconfigFile()]];
  return new Map([
    ["upgrades.ts", upgradesFile()],
    ["app.ts", appFile(choice)],
    ["main.ts", mainFile(choice)],
    ["upgrades.test.ts", testFile()],
    ...manifests,
    [".env", envFile(choice)],
    [".env.example", envExampleFile(choice)],
    [".gitignore", ignoreFile()],
    [".dockerignore", dockerIgnoreFile()],
    ["Dockerfile", dockerFile(choice)],
    ["README.md", readmeFile(choice)],
  ]);
}
