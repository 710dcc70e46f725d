/** Runs plugins around an event, like the skins of an onion. */
import type { Context } from "./context.ts";
import type { Plugin, Verification } from "./plugin.ts";

/** The phase in which a plugin runs. */
export type Phase = NonNullable<Plugin["phase"]>;

/**
 * Runs `core` inside the plugins, in their order. Resolves to what plugins verified, the later ones' facts above the
 * earlier ones'; to `undefined` when a plugin did not call `next()`, so that `core` did not run.
 *
 * A failure of `core` or of an inner plugin comes out also when a plugin around it catches it: swallowing it would lose
 * the event.
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
        // Whoever called next() may throw before anybody waits for this.
        inner.catch(() => {});
        return inner;
      });
    } finally {
      // Whatever became of the plugin: work that it did not wait for is not over, and a failure that it caught is one.
      await inner;
    }
  };
  await enter(0, {});
  return verified;
}

/** Runs `core` with what plugins add to the context: not around an event, and nothing else of theirs. */
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
    if (key in context) throw new Error(`plugin "${plugin}" adds "${key}" to the context, which is there already`);
  }
  Object.assign(context, added);
}

/** Keys that the core itself puts into a context. */
const CORE_KEYS = [
  "event",
  "portal",
  "receivedAt",
  "log",
  "signal",
  "memberId",
  "from",
  "to",
  "attempt",
  "mode",
  "step",
  "pages",
  "sleep",
  "progress",
] as const;

/**
 * Checks what the compiler cannot see, or was not asked to.
 *
 * @throws {TypeError} when two plugins have one name or add one key, when a plugin adds a key of the core, or when
 * no plugin verifies
 */
export function assertPlugins(plugins: readonly Plugin[]): void {
  const names = new Set<string>();
  const owners = new Map<string, string>(CORE_KEYS.map((key) => [key, "the core"]));
  for (const { name, phase, adds = [], extend } of plugins) {
    if (names.has(name)) throw new TypeError(`cannot start: two plugins are called "${name}"; give one another name`);
    names.add(name);
    if (phase === "verify" && extend !== undefined) {
      throw new TypeError(
        `cannot start: plugin "${name}" of phase "verify" has extend(), which only phase "handle" can`,
      );
    }
    for (const key of adds as readonly string[]) {
      const owner = owners.get(key);
      if (owner !== undefined) {
        throw new TypeError(`cannot start: plugin "${name}" adds "${key}" to the context, which ${owner} adds already`);
      }
      owners.set(key, `plugin "${name}"`);
    }
  }
  if (!plugins.some(({ phase, around }) => phase === "verify" && around !== undefined)) {
    throw new TypeError(
      'cannot start: no plugin of phase "verify", so anybody could post updates; ' +
        "add one, such as applicationToken() of @b24/onappupdate/application-token",
    );
  }
}
