/** The choices that a new project is made from. */

/** Runtimes. */
export const RUNTIMES = ["deno", "node"] as const;
/** Storages. */
export const STORAGES = ["kv", "redis", "postgres", "file", "memory"] as const;
/** Frameworks; `none` serves the app alone. */
export const FRAMEWORKS = ["none", "hono", "express", "fastify"] as const;

/** One of {@linkcode RUNTIMES}. */
export type Runtime = typeof RUNTIMES[number];
/** One of {@linkcode STORAGES}. */
export type StorageChoice = typeof STORAGES[number];
/** One of {@linkcode FRAMEWORKS}. */
export type Framework = typeof FRAMEWORKS[number];

/** The choices for one project. */
export interface Choice {
  /** Name of the project: lower case, digits and hyphens. */
  readonly name: string;
  readonly runtime: Runtime;
  readonly storage: StorageChoice;
  readonly framework: Framework;
}

/** Returns why a combination does not exist, and what to use instead; `undefined` if it does. */
export function problemOf({ runtime, framework }: Pick<Choice, "runtime" | "framework">): string | undefined {
  if (runtime === "deno" && (framework === "express" || framework === "fastify")) {
    return `cannot make a project with --framework ${framework} --runtime deno: ${framework} serves on Node; ` +
      "use --runtime node, or --framework hono or none";
  }
  return undefined;
}

/** Returns all combinations that exist. */
export function combinations(): Omit<Choice, "name">[] {
  return RUNTIMES.flatMap((runtime) =>
    STORAGES.flatMap((storage) => FRAMEWORKS.map((framework) => ({ runtime, storage, framework })))
  ).filter((choice) => problemOf(choice) === undefined);
}

/** The path that Bitrix24 posts events to. */
export const EVENTS_PATH = "/b24/events";

/** Returns the expression that reads an environment variable. */
export function variable({ runtime }: Pick<Choice, "runtime">, name: string): string {
  return runtime === "deno" ? `Deno.env.get("${name}")` : `process.env.${name}`;
}
