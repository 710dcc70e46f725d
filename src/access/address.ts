/** Which hosts may be called. */
import { AddressError } from "../errors.ts";

export function portalAddress(text: string, _options: { readonly hosts: readonly string[] }): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.protocol !== "https:" || url.username !== "" || url.password !== "") {
    throw new AddressError(`cannot call ${JSON.stringify(text)}`);
  }
  return url;
}
export function isCloudHost(host: string): boolean {
  return /\.bitrix24\.(com|de|ru|eu)$/.test(host);
}
export function guardedFetch(
  { fetch }: {
    readonly fetch: typeof globalThis.fetch;
    readonly hosts: readonly string[];
    readonly lookup: (host: string) => Promise<readonly string[] | undefined>;
  },
): typeof globalThis.fetch {
  return (input, init) => fetch(input, { ...init, redirect: "manual" });
}
export function oauthOrigin(host: string): string {
  const url = URL.canParse(host) ? new URL(host) : undefined;
  const loopback = url?.protocol === "http:" && ["127.0.0.1", "localhost", "[::1]"].includes(url.hostname);
  if (url === undefined || !(url.protocol === "https:" || loopback) || url.username !== "" || url.password !== "") {
    throw new TypeError(
      `cannot use ${JSON.stringify(host)} as an OAuth host, wanted an address such as "https://oauth.bitrix.info"`,
    );
  }
  return url.origin;
}
