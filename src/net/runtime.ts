/** Where the program runs. The one file of the core that looks at the runtime: for warnings, and for where names lead. */

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
    readonly permissions: {
      readonly querySync: (
        wanted: { name: "env"; variable: string } | { name: "net"; host: string },
      ) => { state: string };
    };
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

/** What `node:dns` gives, of which Deno has one too. */
interface Dns {
  readonly promises: {
    readonly lookup: (host: string, options: { all: true }) => Promise<readonly { readonly address: string }[]>;
  };
}

/**
 * The addresses of a host, as a connection would find them; `undefined` where the place does not let us look.
 *
 * @throws whatever the lookup says, out of the promise, of a host that is not known
 */
export async function addressesOf(
  host: string,
  runtime: Runtime = globalThis as Runtime,
): Promise<readonly string[] | undefined> {
  const { Deno: deno, process } = runtime;
  const dns = orUndefined(() => {
    // Without the permission, Deno would stop and ask who sits before it.
    if (deno !== undefined && deno.permissions.querySync({ name: "net", host }).state !== "granted") return undefined;
    return process?.getBuiltinModule?.("node:dns") as Dns | undefined;
  });
  if (dns === undefined) return undefined;
  try {
    return (await dns.promises.lookup(host, { all: true })).map(({ address }) => address);
  } catch (error) {
    // Codes of resolvers, such as ENOTFOUND; anything else is a place that has no resolver for us.
    const { code } = error as { readonly code?: unknown };
    if (typeof code === "string" && /^E[A-Z_]+$/.test(code)) throw error;
    return undefined;
  }
}
