/** Which hosts may be called, and a fetch that calls no other. */
import { abortable } from "../async/abortable.ts";
import { type AddressOptions, isCloudHost, portalAddress } from "../bitrix24/hosts.ts";
import { AddressError } from "../errors.ts";
import { isPublicAddress } from "./public_ip.ts";

/** What a guarded fetch is made of. */
export interface GuardOptions extends AddressOptions {
  readonly fetch: typeof fetch;
  /** The addresses of a host; `undefined` where that cannot be seen. Rejects where the host is not known. */
  readonly lookup: (host: string) => Promise<readonly string[] | undefined>;
  /** Milliseconds since any point, never going back; default those of the process. */
  readonly clock?: () => number;
}

/** How long what a lookup gave holds, in milliseconds, and of how many hosts. */
const LOOKUP_MS = 30_000;
const LOOKUPS = 1000;

/**
 * A fetch that calls hosts which {@linkcode portalAddress} lets through, and hands redirects back. Of a host outside of
 * the cloud, it looks first where its name leads. Between the look and the connection, that may change: only what stands
 * between the program and the network can prevent it, such as a proxy that lets public addresses through and no others.
 *
 * A name that is not known rejects as a connection would, with a `TypeError`: that may be over soon.
 */
export function guardedFetch(
  { fetch, lookup, hosts = [], clock = () => performance.now() }: GuardOptions,
): typeof globalThis.fetch {
  const looks = new Map<
    string,
    { readonly until: number; readonly addresses: Promise<readonly string[] | undefined> }
  >();

  function look(host: string): Promise<readonly string[] | undefined> {
    const known = looks.get(host);
    if (known !== undefined && known.until > clock()) return known.addresses;
    if (looks.size >= LOOKUPS) looks.clear();
    const addresses = lookup(host);
    looks.set(host, { until: clock() + LOOKUP_MS, addresses });
    // A host that is not known now may be at the next call.
    addresses.catch(() => looks.delete(host));
    return addresses;
  }

  async function assertPublic(host: string, signal: AbortSignal | null): Promise<void> {
    let found: readonly string[] | undefined;
    try {
      found = await abortable(look(host), signal);
    } catch (cause) {
      signal?.throwIfAborted();
      throw new TypeError(`cannot find host ${host}`, { cause });
    }
    if (found === undefined || (found.length > 0 && found.every(isPublicAddress))) return;
    throw new AddressError(`cannot call ${host}: its name leads to an address that is not public`);
  }

  return async (input, init) => {
    const request = input instanceof Request ? input : undefined;
    const url = portalAddress(request?.url ?? String(input), { hosts });
    if (!isCloudHost(url.hostname) && !hosts.includes(url.host)) {
      await assertPublic(url.hostname, init?.signal ?? request?.signal ?? null);
    }
    const response = await fetch(request ?? url, { ...init, redirect: "manual", referrerPolicy: "no-referrer" });
    // Browsers hide where a redirect leads, and what stands in for `fetch` may follow it all the same.
    if (response.redirected || response.type === "opaqueredirect") {
      await response.body?.cancel();
      throw new AddressError(`cannot follow a redirect of ${url.host}: it was not handed back`);
    }
    return response;
  };
}
