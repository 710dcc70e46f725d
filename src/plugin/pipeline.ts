/** Runs the plugins of an app as a middleware chain around the work on an event. */
import type { Context } from "./context.ts";
import type { Plugin, Verification } from "./plugin.ts";

/**
 * Runs `core` inside the plugins, the first plugin outermost. Resolves to what the plugins verified, later plugins
 * overriding earlier ones, or to `undefined` if a plugin did not call `next()`, so that `core` did not run.
 *
 * Rejects with an error of `core` or of an inner plugin even if an outer plugin caught it: swallowing it would lose the
 * event.
 */
export async function runPipeline<C extends Context>(
  plugins: readonly Plugin[],
  context: C,
  core: (context: C, verification: Verification) => Promise<void>,
): Promise<Verification | undefined> {
  let verified: Verification | undefined;
  const enter = async (index: number, verification: Verification): Promise<void> => {
    const plugin = plugins[index];
    if (plugin === undefined) {
      await core(context, verification);
      verified = verification;
      return;
    }
    if (plugin.extend !== undefined) addToContext(context, await plugin.extend(context), plugin.name);
    if (plugin.around === undefined) return await enter(index + 1, verification);
    let inner: Promise<void> | undefined;
    try {
      await plugin.around(context, (more) => {
        if (inner !== undefined) throw new Error(`plugin "${plugin.name}" called next() twice`);
        inner = enter(index + 1, { ...verification, ...more });
        // The plugin may throw before it awaits the inner chain.
        inner.catch(() => {});
        return inner;
      });
    } finally {
      // Always await the inner chain: un-awaited work must finish, and errors that the plugin swallowed still count.
      await inner;
    }
  };
  await enter(0, {});
  return verified;
}

/** Runs `core` with a context that plugins have extended, and without their `around`: for work without an event. */
export async function withExtensions<C extends Context>(
  plugins: readonly Plugin[],
  context: C,
  core: (context: C) => Promise<void>,
): Promise<void> {
  const extending = plugins.filter(({ phase, extend }) => phase !== "verify" && extend !== undefined);
  await runPipeline(extending.map(({ name, extend }) => ({ name, extend: extend! })), context, core);
}

function addToContext(context: object, added: object, plugin: string): void {
  for (const key of Object.keys(added)) {
    if (key in context) throw new Error(`cannot extend the context: plugin "${plugin}" adds "${key}", which exists`);
  }
  Object.assign(context, added);
}

/** The members of contexts that the core adds itself. */
const CORE_KEYS = [
  "event",
  "portal",
  "confirmed",
  "receivedAt",
  "log",
  "signal",
  "memberId",
  "from",
  "to",
  "attempt",
  "mode",
  "fetch",
  "step",
  "pages",
  "sleep",
  "progress",
] as const;

/**
 * Checks the plugins of an app for conflicts that the compiler cannot find, or was not asked to find.
 *
 * @throws {TypeError} if two plugins have one name, add one key or trace, a plugin adds a key of the core, a plugin of phase
 * `verify` extends the context, or no plugin verifies events
 */
export function assertPlugins(plugins: readonly Plugin[]): void {
  const names = new Set<string>();
  const owners = new Map<string, string>(CORE_KEYS.map((key) => [key, "the core"]));
  for (const { name, phase, adds = [], extend } of plugins) {
    if (names.has(name)) throw new TypeError(`cannot start: two plugins have the name "${name}", wanted unique names`);
    names.add(name);
    if (phase === "verify" && extend !== undefined) {
      throw new TypeError(
        `cannot start: plugin "${name}" of phase "verify" has extend(), wanted that only in phase "handle"`,
      );
    }
    for (const key of adds as readonly string[]) {
      const owner = owners.get(key);
      if (owner !== undefined) {
        throw new TypeError(`cannot start: plugin "${name}" adds "${key}" to the context, which ${owner} adds too`);
      }
      owners.set(key, `plugin "${name}"`);
    }
  }
  const [first, second] = plugins.filter(({ tracing }) => tracing !== undefined);
  if (second !== undefined) {
    throw new TypeError(`cannot start: plugins "${first!.name}" and "${second.name}" both have tracing, wanted one`);
  }
  if (!plugins.some(({ phase, around }) => phase === "verify" && around !== undefined)) {
    throw new TypeError(
      'cannot start: no plugin of phase "verify", so anyone could send events; ' +
        "add one, such as applicationToken() of @b24/onappupdate/application-token",
    );
  }
}
