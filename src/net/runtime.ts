/** The runtime environment of the process. The only module of the core that looks at the runtime. */

/** Facts about the runtime environment, for warnings at start. */
export interface RuntimeEnvironment {
  /** Returns an environment variable, or `undefined` if it is not set or may not be read. */
  readonly variable: (name: string) => string | undefined;
  /** This process is one of several that `node:cluster` started. */
  readonly isWorker: boolean;
  /** The program runs on Cloudflare Workers. */
  readonly isCloudflareWorker: boolean;
  /** Returns whether the program may connect to a host: Deno may forbid it. */
  readonly mayConnect: (host: string) => boolean;
  /** Returns the permissions of the program; `undefined` if the runtime has none. */
  readonly permissions: () => readonly Permission[] | undefined;
}

/**
 * A permission of Deno for all files, hosts or names. `"partial"`: for all but some. `"withheld"`: for none, or only for some, which
 * Deno does not tell apart.
 */
export interface Permission {
  readonly name: string;
  readonly state: "granted" | "partial" | "withheld";
}

const PERMISSIONS = ["net", "env", "read", "write", "sys", "run", "ffi", "import"] as const;

interface Runtime {
  readonly Deno?: {
    readonly mainModule?: string;
    readonly env: { readonly get: (name: string) => string | undefined };
    readonly permissions: {
      readonly querySync: (
        wanted: { name: "env"; variable: string } | { name: "net"; host: string } | { name: string },
      ) => { state: string; partial?: boolean };
    };
  };
  readonly process?: {
    readonly argv?: readonly string[];
    readonly env?: Readonly<Record<string, string | undefined>>;
    readonly getBuiltinModule?: (name: string) => unknown;
    readonly on?: (name: "unhandledRejection", listener: (reason: unknown) => void) => unknown;
    readonly off?: (name: "unhandledRejection", listener: (reason: unknown) => void) => unknown;
    readonly listenerCount?: (name: "unhandledRejection") => number;
  };
  readonly navigator?: { readonly userAgent?: string };
  readonly BroadcastChannel?: new (name: string) => Channel;
  readonly addEventListener?: (name: "unhandledrejection", listener: RejectionListener) => void;
  readonly removeEventListener?: (name: "unhandledrejection", listener: RejectionListener) => void;
}

/** A `BroadcastChannel`, which reaches all threads of the process. Node has `unref`. */
interface Channel {
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  readonly postMessage: (data: unknown) => void;
  readonly close: () => void;
  readonly unref?: () => void;
}

type RejectionListener = (event: { readonly reason?: unknown; readonly preventDefault: () => void }) => void;

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
    isCloudflareWorker: orUndefined(() => runtime.navigator?.userAgent === "Cloudflare-Workers") ?? false,
    mayConnect: (host) =>
      deno === undefined ||
      (orUndefined(() => deno.permissions.querySync({ name: "net", host }).state === "granted") ?? true),
    permissions: () =>
      deno === undefined ? undefined : PERMISSIONS.flatMap((name) => {
        // Older versions do not know all of them.
        const found = orUndefined(() => deno.permissions.querySync({ name }));
        if (found === undefined) return [];
        return [{
          name,
          state: found.state !== "granted" ? "withheld" : found.partial === true ? "partial" : "granted",
        }];
      }),
  };
}

/**
 * Calls `onFound` once if another thread of this process calls this function, too: `deno serve --parallel` and worker threads
 * run a program several times, each with a memory of its own. Returns a function that ends the search.
 */
export function findOtherThreads(onFound: () => void, runtime: Runtime = globalThis as Runtime): () => void {
  const { BroadcastChannel } = runtime;
  const channel = orUndefined(() => BroadcastChannel && new BroadcastChannel(threadsChannel(runtime)));
  if (channel === undefined) return () => {};
  // A channel that is closing may throw, and an error in its listener would end the process.
  const greet = (): void => orUndefined(() => channel.postMessage(THREAD));
  let isOver = false;
  channel.onmessage = ({ data: thread }) => {
    if (thread === THREAD || isOver) return;
    isOver = true;
    // The other thread may have asked before this one listened.
    greet();
    onFound();
  };
  channel.unref?.();
  greet();
  return () => {
    isOver = true;
    orUndefined(() => channel.close());
  };
}

/** Returns the name of the channel of all threads that run the same program: `deno test --parallel` runs several. */
export function threadsChannel({ Deno: deno, process }: Runtime = globalThis as Runtime): string {
  const program = orUndefined(() => deno === undefined ? process?.argv?.[1] : deno.mainModule) ?? "";
  return `@b24/onappupdate ${program}`;
}

/** Several apps of one thread share its memory. No random number: some hosts have none while a program loads. */
const THREAD = `${Date.now()}-${performance.now()}-${Math.random()}`;

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

/** `node:crypto`, which Deno has too. */
interface NodeCrypto {
  readonly createHash: (algorithm: "sha256") => {
    readonly update: (text: string) => { readonly digest: (encoding: "hex") => string };
  };
}

/** Returns a function that returns the SHA-256 of a text in hexadecimal: at once if the host environment can do that. */
export function hasherOf(runtime: Runtime = globalThis as Runtime): (text: string) => string | Promise<string> {
  const node = orUndefined(() => runtime.process?.getBuiltinModule?.("node:crypto")) as Partial<NodeCrypto> | undefined;
  const { createHash } = node ?? {};
  if (createHash !== undefined) return (text) => createHash("sha256").update(text).digest("hex");
  // A thread pool does it, which takes ten times as long for a short text.
  return async (text) => {
    const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  };
}

/** Data that follows asynchronous calls, also those that are not awaited. */
export interface AsyncContext<T> {
  readonly run: <R>(store: T, work: () => R) => R;
  readonly getStore: () => T | undefined;
}

/** Returns a context of its own. In a host environment that has none, its data is always `undefined`. */
export function createAsyncContext<T>(runtime: Runtime = globalThis as Runtime): AsyncContext<T> {
  const hooks = orUndefined(() => runtime.process?.getBuiltinModule?.("node:async_hooks")) as
    | { readonly AsyncLocalStorage?: new () => AsyncContext<T> }
    | undefined;
  if (hooks?.AsyncLocalStorage === undefined) return { run: (_store, work) => work(), getStore: () => undefined };
  return new hooks.AsyncLocalStorage();
}

/**
 * Calls `handle` for every rejection of a promise that nothing awaits, in the asynchronous context of that promise. If it
 * returns false, the rejection ends the process as it would without this call. Returns a function that undoes the call.
 */
export function onUnhandledRejection(
  handle: (reason: unknown) => boolean,
  runtime: Runtime = globalThis as Runtime,
): () => void {
  const { Deno: deno, process } = runtime;
  if (deno === undefined && process?.on !== undefined) {
    const listener = (reason: unknown): void => {
      // Without any listener, Node ends the process with the reason.
      if (!handle(reason) && process.listenerCount?.("unhandledRejection") === 1) throw reason;
    };
    process.on("unhandledRejection", listener);
    return () => void process.off?.("unhandledRejection", listener);
  }
  const listener: RejectionListener = (event) => {
    if (handle(event.reason)) event.preventDefault();
  };
  runtime.addEventListener?.("unhandledrejection", listener);
  return () => runtime.removeEventListener?.("unhandledrejection", listener);
}

/** The flag that the command line sets before it imports a module with an app, which must then do nothing by itself. */
const INERT = Symbol.for("@b24/onappupdate.inert");

/** Returns whether the command line has loaded this program, to look at its app. */
export function isInert(runtime: object = globalThis): boolean {
  return (runtime as { readonly [INERT]?: unknown })[INERT] === true;
}
