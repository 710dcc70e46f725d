/** Guards that keep a rehearsal from effects: the app's storage refuses writes, and its `fetch` refuses requests. */
import type { PortalCredentialsProvider } from "../credentials/contract.ts";
import { NotRehearsedError } from "../errors.ts";
import { runningRehearsal } from "../plugin/rehearsal.ts";
import type { Key, Storage, WriteOperation } from "../storage/storage.ts";

/** Returns the storage, which refuses the writes of a rehearsal. */
export function refusingWrites(storage: Storage): Storage {
  const { write, close } = storage;
  return {
    name: storage.name,
    capabilities: storage.capabilities,
    get: (key, options) => storage.get(key, options),
    put: (key, value, options) => refusal(key) ?? storage.put(key, value, options),
    delete: (key, options) => refusal(key) ?? storage.delete(key, options),
    ...(write !== undefined && {
      write: (...[operations, options]: Parameters<typeof write>) =>
        refusal(firstKey(operations)) ?? write.call(storage, operations, options),
    }),
    list: (prefix, options) => storage.list(prefix, options),
    ...(close !== undefined && { close: () => close.call(storage) }),
  };
}

function firstKey([first]: readonly WriteOperation[]): Key | undefined {
  return first && ("put" in first ? first.put : first.delete);
}

/** Returns the refusal of a write, if the caller runs in a rehearsal. */
function refusal(key: Key | undefined): Promise<never> | undefined {
  if (runningRehearsal() === undefined) return undefined;
  const what = `a write of "${key?.[0] ?? ""}" to the app's storage`;
  return Promise.reject(new NotRehearsedError(`${what}: a rehearsal changes nothing`));
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

/** Returns the credentials of portals: in a rehearsal, those of the rehearsal, and only of its portal. */
export function rehearsedCredentials(provider: PortalCredentialsProvider): PortalCredentialsProvider {
  const providerOf = (memberId: string): PortalCredentialsProvider => {
    const rehearsal = runningRehearsal();
    if (rehearsal === undefined) return provider;
    if (rehearsal.scope.memberId === memberId) return rehearsal.credentials;
    throw new NotRehearsedError(`a call of portal ${memberId}: the rehearsal is one of another portal`);
  };
  return {
    get: async (memberId, options) => await providerOf(memberId).get(memberId, options),
    refresh: async (memberId, refused, options) => await providerOf(memberId).refresh(memberId, refused, options),
    call: async (memberId, attempt, options) => await providerOf(memberId).call(memberId, attempt, options),
  };
}
