/** Where the program runs. The one file of the core that looks at the runtime, and only for warnings. */

/** What the place says of itself. */
export interface Surroundings {
  /** A variable of the environment; `undefined` also when it may not be read. */
  readonly variable: (name: string) => string | undefined;
  /** This process is one of several that `node:cluster` started. */
  readonly isWorker: boolean;
}

interface Runtime {
  readonly Deno?: {
    readonly env: { readonly get: (name: string) => string | undefined };
    readonly permissions: { readonly querySync: (wanted: { name: "env"; variable: string }) => { state: string } };
  };
  readonly process?: {
    readonly env?: Readonly<Record<string, string | undefined>>;
    readonly getBuiltinModule?: (name: string) => unknown;
  };
}

/** Of this program. Reading it never asks anybody for a permission, and never throws. */
export function surroundings(runtime: Runtime = globalThis as Runtime): Surroundings {
  const { Deno: deno, process } = runtime;
  return {
    variable: (name) =>
      orUndefined(() => {
        if (deno === undefined) return process?.env?.[name];
        // Without the permission, Deno would stop and ask who sits before it.
        const { state } = deno.permissions.querySync({ name: "env", variable: name });
        return state === "granted" ? deno.env.get(name) : undefined;
      }),
    isWorker: orUndefined(() => {
      const cluster = process?.getBuiltinModule?.("node:cluster") as { readonly isWorker?: boolean } | undefined;
      return cluster?.isWorker;
    }) ?? false,
  };
}

/** Hosts that forbid it or lack it do so in ways of their own, and none of them is worth a failed start. */
function orUndefined<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

/** The addresses of a host; `undefined` where the runtime does not let us look. */
export function addressesOf(_host: string): Promise<readonly string[] | undefined> {
  return Promise.resolve(undefined);
}
