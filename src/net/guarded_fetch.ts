/** A `fetch` that calls public hosts and the vendor's own hosts only. */
import { abortable } from "../async/abortable.ts";
import { type AddressOptions, ALLOW, isCloudHost, portalAddress } from "../bitrix24/hosts.ts";
import { AddressError } from "../errors.ts";
import { isPublicAddress } from "./public_ip.ts";

/** Options of {@linkcode guardedFetch}. */
export interface GuardOptions extends AddressOptions {
  readonly fetch: typeof fetch;
  /** Resolves to the IP addresses of a host, or to `undefined` if lookups are not possible. Rejects for an unknown host. */
  readonly lookup: (host: string) => Promise<readonly string[] | undefined>;
  /** Milliseconds since an arbitrary point; never goes back. */
  readonly clock: () => number;
}

/** Lifetime of a lookup in milliseconds, and the maximum number of hosts that are remembered. */
const LOOKUP_TTL_MS = 30_000;
const MAX_LOOKUPS = 1000;

/**
 * Returns a `fetch` that calls only hosts that {@linkcode portalAddress} accepts, and returns redirects instead of
 * following them. For a host outside of the cloud, it first checks that the name resolves to public addresses only. The
 * name can change between this check and the connection; only a proxy that lets public addresses through, and no others,
 * can prevent that.
 *
 * If a name cannot be resolved, it rejects with a `TypeError`, as `fetch` does: that may be over soon.
 */
export function guardedFetch(
  { fetch, lookup, hosts = [], clock }: GuardOptions,
): typeof globalThis.fetch {
  const lookups = new Map<
    string,
    { readonly expiresAt: number; readonly addresses: Promise<readonly string[] | undefined> }
  >();

  function cachedLookup(host: string): Promise<readonly string[] | undefined> {
    const cached = lookups.get(host);
    if (cached !== undefined && cached.expiresAt > clock()) return cached.addresses;
    if (lookups.size >= MAX_LOOKUPS) lookups.clear();
    const addresses = lookup(host);
    lookups.set(host, { expiresAt: clock() + LOOKUP_TTL_MS, addresses });
    // A failure is not cached: the next call may succeed.
    addresses.catch(() => lookups.delete(host));
    return addresses;
  }

  async function assertPublic(host: string, signal: AbortSignal | null): Promise<void> {
    let addresses: readonly string[] | undefined;
    try {
      addresses = await abortable(cachedLookup(host), signal);
    } catch (cause) {
      signal?.throwIfAborted();
      throw new TypeError(`cannot resolve host ${host}`, { cause });
    }
    if (addresses === undefined || (addresses.length > 0 && addresses.every(isPublicAddress))) return;
    throw new AddressError(`cannot call ${host}: it resolves to an address that is not public; ${ALLOW}`, {
      blockedOn: "configuration",
    });
  }

  return async (input, init) => {
    const request = input instanceof Request ? input : undefined;
    const url = portalAddress(request?.url ?? String(input), { hosts });
    if (!isCloudHost(url.hostname) && !hosts.includes(url.host)) {
      await assertPublic(url.hostname, init?.signal ?? request?.signal ?? null);
    }
    const response = await fetch(request ?? url, { ...init, redirect: "manual", referrerPolicy: "no-referrer" });
    // Browsers hide the target of a redirect, and a replaced `fetch` may follow it in spite of the option.
    if (response.redirected || response.type === "opaqueredirect") {
      await response.body?.cancel();
      throw new AddressError(`cannot call ${url.host}: it redirects, and fetch has followed or hidden the redirect`);
    }
    return response;
  };
}
