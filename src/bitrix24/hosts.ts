/** Hosts that may be called: portals of the cloud, the vendor's own hosts, and OAuth hosts. */
import { AddressError } from "../errors.ts";

/** Hosts that may be called besides public ones. */
export interface AddressOptions {
  /** Hosts that the vendor has configured, as {@linkcode portalHost} returns them; they may be private. */
  readonly hosts?: readonly string[];
}

/**
 * Domains of Bitrix24's cloud, according to its help desk and the code of its portals. A domain with another ending is
 * somebody else's, or may become so: `bitrix24.ua` was given up.
 */
const CLOUD = "com ru by kz uz eu de fr it pl es uk in co mx cn id jp vn com.br com.tr".split(" ")
  .map((ending) => `.bitrix24.${ending}`);

/** Origins of the portals in Bitrix24's cloud, as Content-Security-Policy writes them. */
export const CLOUD_ORIGINS: readonly string[] = CLOUD.map((domain) => `https://*${domain}`);

/** Whether `host` is a portal in Bitrix24's cloud. */
export function isCloudHost(host: string): boolean {
  return CLOUD.some((domain) => host.endsWith(domain) && host.length > domain.length);
}

/** Top-level names of private networks, and names that are reserved. */
const PRIVATE_NAMES = new Set([
  ...["localhost", "local", "localdomain", "internal", "intranet", "intra", "private", "corp", "home", "lan", "arpa"],
  ...["test", "example", "invalid", "onion", "alt", "mail", "domain", "dhcp", "workgroup", "docker", "consul"],
]);

const NAME = /^(?=.{4,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * Parses an address that may be called.
 *
 * @throws {AddressError} if it is not https, has a user, a password or a port, or if its host is an IP address, the name
 * of a private network, or malformed; a host among `hosts` may be private, and have the port that it is listed with
 */
export function portalAddress(text: string, { hosts = [] }: AddressOptions = {}): URL {
  const refuse: Refuse = (why, options) => new AddressError(`cannot call ${shown(text)}: ${why}`, options);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) throw refuse("it is not an address");
  // Parsers correct these silently, each in its own way.
  if (/[\0-\x20\x7f\\]/.test(text)) throw refuse("it contains a space, a control character or a backslash");
  const [, authority] = /^https:\/\/([^/?#]+)/i.exec(text) ?? [];
  if (authority === undefined) throw refuse("wanted https");
  if (authority.includes("@")) throw refuse("it contains a user name");
  if (hosts.includes(url.host)) return url;
  if (url.port !== "") throw refuse(`it has a port, wanted none; ${ALLOW}`, { blockedOn: "configuration" });
  assertPublicName(url.hostname, refuse);
  return url;
}

/**
 * Returns the address of a portal's REST API, with a slash at its end.
 *
 * @throws {AddressError} if {@linkcode portalAddress} refuses it, or if its path is not `/rest/`
 */
export function portalEndpoint(text: string, options: AddressOptions = {}): string {
  const { href, origin, host } = portalAddress(text, options);
  const endpoint = `${origin}/rest/`;
  // Methods are appended to it: after a `?` or a `#` they would be lost.
  if (href !== endpoint && `${href}/` !== endpoint) {
    throw new AddressError(`cannot call ${JSON.stringify(host)}: its path is not "/rest/"`);
  }
  return endpoint;
}

const OWN_HOST = /^(\[.+\]|[a-z0-9_-]+(\.[a-z0-9_-]+)*)(:\d+)?$/;

/**
 * Returns a host that the vendor has configured, spelled as in addresses.
 *
 * @throws {TypeError} if it is not a host, with or without a port
 */
export function portalHost(text: string): string {
  const url = URL.canParse(`https://${text}/`) ? new URL(`https://${text}/`) : undefined;
  if (url === undefined || /[\s/?#@\\]/.test(text) || !OWN_HOST.test(url.host)) {
    throw new TypeError(
      `cannot call portals at ${
        JSON.stringify(text)
      }, wanted a host such as "crm.example.com" or "crm.example.com:8443"`,
    );
  }
  return url.host;
}

function assertPublicName(host: string, refuse: Refuse): void {
  const isAddress = host.startsWith("[") || /^[\d.]+$/.test(host);
  if (isAddress) throw refuse(`it is an IP address, wanted a name; ${ALLOW}`, { blockedOn: "configuration" });
  if (host.endsWith(".")) throw refuse("its name ends with a dot");
  const isPrivate = !host.includes(".") || PRIVATE_NAMES.has(host.slice(host.lastIndexOf(".") + 1));
  if (isPrivate) {
    throw refuse(`it is the name of a private network, wanted a public one; ${ALLOW}`, { blockedOn: "configuration" });
  }
  if (!NAME.test(host)) throw refuse("it is not a host name");
}

type Refuse = (why: string, options?: { readonly blockedOn: "configuration" }) => AddressError;

/** The hint of errors about hosts that are not allowed. */
export const ALLOW = "list the host in extraPortalHosts to allow it, if it is your customer's";

/** Returns the host of an address, quoted. The rest of an address may contain a secret. */
function shown(text: string): string {
  const host = URL.canParse(text) ? new URL(text).host : "";
  return JSON.stringify(host.slice(0, 100));
}

/** The address that was passed to {@linkcode originOf} last: most events name the same OAuth host. */
let lastOrigin: { readonly address?: string; readonly origin?: string | undefined } = {};

/** Returns the origin of an address, such as the `server_endpoint` of an event; `undefined` if it is not one. */
export function originOf(address: string | undefined): string | undefined {
  if (address === undefined) return undefined;
  if (address !== lastOrigin.address) {
    lastOrigin = { address, origin: URL.canParse(address) ? new URL(address).origin : undefined };
  }
  return lastOrigin.origin;
}

/**
 * Returns the origin of an OAuth host. Loopback addresses may be http, for tests and demonstrations.
 *
 * @throws {TypeError} if it is not an https address
 */
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
