/** The runtime environment of the process. The only module of the core that looks at the runtime. */

/** Facts about the runtime environment, for warnings at start. */
export interface RuntimeEnvironment {
  /** Returns an environment variable, or `undefined` if it is not set or may not be read. */
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

/** Returns the environment of this process. Reading it never throws and never prompts for a permission. */
export function runtimeEnvironment(runtime: Runtime = globalThis as Runtime): RuntimeEnvironment {
  const { Deno: deno, process } = runtime;
  return {
    variable: (name) =>
      orUndefined(() => {
        if (deno === undefined) return process?.env?.[name];
        // Without the permission, Deno would stop and prompt for it.
        const { state } = deno.permissions.querySync({ name: "env", variable: name });
        return state === "granted" ? deno.env.get(name) : undefined;
      }),
    isWorker: orUndefined(() => {
      const cluster = process?.getBuiltinModule?.("node:cluster") as { readonly isWorker?: boolean } | undefined;
      return cluster?.isWorker;
    }) ?? false,
  };
}

/** Returns `undefined` if `read` throws: host environments deny access in different ways, and none is worth a failed start. */
function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** `node:dns`, which Deno has too. */
interface Dns {
  readonly promises: {
    readonly lookup: (host: string, options: { all: true }) => Promise<readonly { readonly address: string }[]>;
  };
}

/**
 * Resolves to the IP addresses of a host, as a connection would find them, or to `undefined` if the host environment does
 * not allow lookups.
 *
 * @throws the resolver's error, if the host name cannot be resolved
 */
export async function addressesOf(
  host: string,
  runtime: Runtime = globalThis as Runtime,
): Promise<readonly string[] | undefined> {
  const { Deno: deno, process } = runtime;
  const dns = orUndefined(() => {
    // Without the permission, Deno would stop and prompt for it.
    if (deno !== undefined && deno.permissions.querySync({ name: "net", host }).state !== "granted") return undefined;
    return process?.getBuiltinModule?.("node:dns") as Dns | undefined;
  });
  if (dns === undefined) return undefined;
  try {
    return (await dns.promises.lookup(host, { all: true })).map(({ address }) => address);
  } catch (error) {
    // Resolvers have codes such as ENOTFOUND. Any other error comes from a host environment without a resolver.
    const { code } = error as { readonly code?: unknown };
    if (typeof code === "string" && /^E[A-Z_]+$/.test(code)) throw error;
    return undefined;
  }
}
