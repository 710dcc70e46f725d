/** What keeps a rehearsal from effects: the app's storage refuses writes, and its `fetch` refuses requests. */
import type { PortalCredentialsProvider } from "../credentials/contract.ts";
import { NotRehearsedError } from "../errors.ts";
import { runningRehearsal } from "../plugin/rehearsal.ts";
import type { Key, Storage } from "../storage/storage.ts";

/** Returns the storage, which refuses the writes of a rehearsal. */
export function refusingWrites(storage: Storage): Storage {
  const { write, close } = storage;
  return {
    name: storage.name,
    capabilities: storage.capabilities,
    get: (key, options) => storage.get(key, options),
    put: async (key, value, options) => {
      assertNoRehearsal(key);
      return await storage.put(key, value, options);
    },
    delete: async (key, options) => {
      assertNoRehearsal(key);
      return await storage.delete(key, options);
    },
    ...(write !== undefined && {
      write: async (...[operations, options]: Parameters<typeof write>) => {
        const [first] = operations;
        if (first !== undefined) assertNoRehearsal("put" in first ? first.put : first.delete);
        return await write.call(storage, operations, options);
      },
    }),
    list: (prefix, options) => storage.list(prefix, options),
    ...(close !== undefined && { close: () => close.call(storage) }),
  };
}

function assertNoRehearsal([first]: Key): void {
  if (runningRehearsal() !== undefined) {
    throw new NotRehearsedError(`a write of "${first}" to the storage: a rehearsal changes nothing`);
  }
}

/** Returns the `fetch` of plugins for hosts of the vendor's, which a rehearsal does not call. */
export function refusingFetch(fetch: typeof globalThis.fetch): typeof globalThis.fetch {
  // With what the fetch of a fake Bitrix24 tells plugins.
  return Object.assign(
    (...request: Parameters<typeof fetch>) => runningRehearsal()?.refuseFetch(...request) ?? fetch(...request),
    fetch,
  );
}

/** Returns the `fetch` of plugins for portals, which a rehearsal answers. */
export function rehearsedFetch(portalFetch: typeof fetch): typeof fetch {
  return (...request) => runningRehearsal()?.portalFetch(portalFetch, ...request) ?? portalFetch(...request);
}

/** Returns the credentials of portals: in a rehearsal those that store nothing but refreshed pairs, and only of its portal. */
export function rehearsedCredentials(
  provider: PortalCredentialsProvider,
  readOnly: PortalCredentialsProvider,
): PortalCredentialsProvider {
  const providerOf = (memberId: string): PortalCredentialsProvider => {
    const rehearsal = runningRehearsal();
    if (rehearsal === undefined) return provider;
    if (rehearsal.scope.memberId === memberId) return readOnly;
    throw new NotRehearsedError(`a call of portal ${memberId}: the rehearsal is one of another portal`);
  };
  return {
    get: async (memberId, options) => await providerOf(memberId).get(memberId, options),
    refresh: async (memberId, refused, options) => await providerOf(memberId).refresh(memberId, refused, options),
    call: async (memberId, attempt, options) => await providerOf(memberId).call(memberId, attempt, options),
  };
}
