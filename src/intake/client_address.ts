/** The IP address of the client of a request. */
import type { Logger } from "../logger.ts";
import { addressOf } from "../net/ip_range.ts";

/** Returns the IP address of the client of a request. `platform` is what the server passes besides the request. */
export type ClientAddressReader = (request: Request, platform: readonly unknown[]) => string | undefined;

/** Parts of what servers pass besides a request: `Deno.serve`, and `@hono/node-server`. */
interface ServerInfo {
  readonly remoteAddr?: { readonly hostname?: unknown };
  readonly incoming?: { readonly socket?: { readonly remoteAddress?: unknown } };
}

/**
 * Returns the address at the other end of the connection, which no client can make up: behind a proxy, that of the proxy.
 * Headers such as X-Forwarded-For are not read, because any client can send them.
 */
export function connectionAddress(_request: Request, platform: readonly unknown[]): string | undefined {
  for (const info of platform as readonly (ServerInfo | null | undefined)[]) {
    const address = info?.remoteAddr?.hostname ?? info?.incoming?.socket?.remoteAddress;
    if (typeof address === "string") return address;
  }
  return undefined;
}

/** Returns a reader that never throws, and returns IP addresses in one spelling, or `undefined`. */
export function createAddressReader(read: ClientAddressReader, log: Logger): ClientAddressReader {
  return (request, platform) => {
    try {
      return addressOf(read(request, platform));
    } catch (err) {
      // No event is refused because of its address: it proves nothing.
      log.warn("client address not readable", { event: "client_address.failed", err });
      return undefined;
    }
  };
}
