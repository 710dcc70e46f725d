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
 * Headers such as X-Forwarded-For are not read, because any client can send them. `platform` is what the server passes besides
 * the request.
 *
 * For a `clientAddress` of your own, which believes a header if the proxy has sent it:
 *
 * @example
 * ```ts
 * import { connectionAddress } from "@b24/onappupdate";
 * import assert from "node:assert/strict";
 *
 * const clientAddress = (request: Request, platform: readonly unknown[]): string | undefined => {
 *   const address = connectionAddress(request, platform);
 *   // The proxy adds the address of its client at the end.
 *   return address === "127.0.0.1" ? request.headers.get("x-forwarded-for")?.split(",").at(-1)?.trim() : address;
 * };
 * const request = new Request("https://ops.example.com/", { headers: { "x-forwarded-for": "10.0.0.1, 192.0.2.7" } });
 * assert.equal(clientAddress(request, [{ remoteAddr: { hostname: "127.0.0.1" } }]), "192.0.2.7");
 * assert.equal(clientAddress(request, [{ remoteAddr: { hostname: "198.51.100.1" } }]), "198.51.100.1");
 * ```
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
