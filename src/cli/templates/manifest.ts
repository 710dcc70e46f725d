/** The manifest of a new project: `deno.json`, or `package.json` and `tsconfig.json`. */
import { type Choice, EVENTS_PATH } from "./choice.ts";
import { PACKAGE_RANGE, RANGES, TYPE_RANGES } from "./versions.ts";

type Package = keyof typeof RANGES;

/** Returns the packages that the code of a project imports, besides this one. */
export function packagesOf({ runtime, storage, framework }: Choice): Package[] {
  const packages: Package[] = [
    ...(runtime === "node" ? ["@hono/node-server"] as const : []),
    ...(framework === "none" ? [] : [framework]),
    ...(storage === "redis" || storage === "postgres" ? [storage] : []),
    ...(storage === "kv" && runtime === "node" ? ["@deno/kv"] as const : []),
  ];
  return packages.sort();
}

/** Returns the permissions that the program needs on Deno. */
export function permissionsOf({ storage }: Choice): string[] {
  const keepsFiles = storage === "file" || storage === "kv";
  return ["--allow-net", "--allow-env", ...(keepsFiles ? ["--allow-read=.", "--allow-write=."] : [])];
}

/**
 * Returns the arguments of the stand-in for an app on a port. It keeps its portals over restarts if the storage of the app
 * does: made up again, its first portal would have the domain of the one that the app knows.
 */
export function standInOf({ storage }: Choice, port = "8000"): string {
  return `dev http://127.0.0.1:${port}${EVENTS_PATH}${storage === "memory" ? "" : " --file portals.json"}`;
}

/** Returns `deno.json`. */
export function denoFile(choice: Choice): string {
  const permissions = permissionsOf(choice).join(" ");
  // A module that is run by its URL does not find deno.json by itself.
  const cli = "deno run -A --env-file=.env --config deno.json @b24/onappupdate/cli";
  return json({
    imports: {
      "@b24/onappupdate": `jsr:@b24/onappupdate@${PACKAGE_RANGE}`,
      ...Object.fromEntries(packagesOf(choice).map((name) => [name, `npm:${name}@${RANGES[name]}`])),
    },
    tasks: {
      dev: `deno run ${permissions} --env-file=.env --watch main.ts`,
      start: `deno run ${permissions} main.ts`,
      test: "deno test --allow-env",
      check: "deno check",
      bitrix24: `${cli} ${standInOf(choice)}`,
      onappupdate: cli,
    },
    unstable: choice.storage === "kv" ? ["cron", "kv"] : ["cron"],
    nodeModulesDir: "none",
    fmt: { lineWidth: 120, proseWrap: "preserve" },
  });
}

/** Returns `package.json`. */
export function packageFile(choice: Choice): string {
  const packages = packagesOf(choice);
  const types = { ...TYPE_RANGES };
  const cli = "node --env-file-if-exists=.env node_modules/@b24/onappupdate/src/cli/cli.js";
  return json({
    name: choice.name,
    private: true,
    type: "module",
    engines: { node: ">=22.18" },
    scripts: {
      dev: "node --env-file=.env --watch main.ts",
      start: "node main.ts",
      test: "node --test",
      check: "tsc",
      bitrix24: `${cli} ${standInOf(choice)}`,
      onappupdate: cli,
    },
    dependencies: {
      "@b24/onappupdate": PACKAGE_RANGE,
      ...Object.fromEntries(packages.map((name) => [name, RANGES[name]])),
    },
    devDependencies: Object.fromEntries(
      Object.entries(types).filter(([name]) => name !== "@types/express" || choice.framework === "express"),
    ),
  });
}

/** Returns `tsconfig.json`: what Node runs as it is, checked strictly. */
export function tsconfigFile(): string {
  return json({
    compilerOptions: {
      target: "es2024",
      module: "nodenext",
      types: ["node"],
      strict: true,
      noEmit: true,
      erasableSyntaxOnly: true,
      verbatimModuleSyntax: true,
      allowImportingTsExtensions: true,
      skipLibCheck: true,
    },
    include: ["*.ts"],
  });
}

function json(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
