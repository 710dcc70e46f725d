/** The storage of a plugin: the app's, restricted to the keys of that plugin. */
import { StorageError } from "../errors.ts";
import { pluginPrefix } from "../portal/keys.ts";
import { assertKey } from "../storage/key.ts";
import type { Entry, Key, ListOptions, Storage, WriteOperation, WriteOptions } from "../storage/storage.ts";

/**
 * Returns the storage whose keys are stored under the prefix of a plugin. No key of it reaches beyond that, and closing it is
 * left to the app.
 */
export function pluginStorage(storage: Storage, plugin: string): Storage {
  const prefix = pluginPrefix(plugin);
  const outer = (key: Key): Key => {
    // Without a part of its own, it would be the prefix.
    assertKey(key);
    return [...prefix, ...key];
  };
  const inner = (key: readonly string[]): Key => key.slice(prefix.length) as unknown as Key;
  const { write } = storage;

  async function* list<T>(listed: readonly string[], options: ListOptions = {}): AsyncGenerator<Entry<T>> {
    const { after } = options;
    const outerOptions = { ...options, ...(after !== undefined && { after: outer(after) }) };
    try {
      for await (const entry of storage.list<T>([...prefix, ...listed], outerOptions)) {
        yield { ...entry, key: inner(entry.key) };
      }
    } catch (error) {
      if (!(error instanceof StorageError) || error.unreadableKey === undefined) throw error;
      throw new StorageError(error.message, { cause: error, unreadableKey: inner(error.unreadableKey) });
    }
  }

  return {
    name: storage.name,
    capabilities: storage.capabilities,
    get: async <T>(key: Key, options?: Parameters<Storage["get"]>[1]) => {
      const entry = await storage.get<T>(outer(key), options);
      return entry && { ...entry, key: inner(entry.key) };
    },
    put: async (key, value, options) => await storage.put(outer(key), value, options),
    delete: async (key, options) => await storage.delete(outer(key), options),
    ...(write !== undefined && {
      write: async (operations: readonly WriteOperation[], options?: WriteOptions) =>
        await write.call(
          storage,
          operations.map((operation): WriteOperation =>
            "put" in operation
              ? { ...operation, put: outer(operation.put) }
              : { ...operation, delete: outer(operation.delete) }
          ),
          options,
        ),
    }),
    list,
  };
}
