/** The hosts that may be called: portals of the cloud, the vendor's own hosts, and OAuth hosts. */
import { AddressError } from "../errors.ts";

/** Hosts that are called besides those of the cloud. */
export interface AddressOptions {
  /** Of the vendor's own choice, as {@linkcode portalHost} spells them; these may be private. */
  readonly hosts?: readonly string[];
}

/**
 * Domains under which Bitrix24 runs its cloud, by its help desk and the code of its portals. With another ending, the
 * name is anybody's, or may be soon: under `bitrix24.ua` there is nothing any more.
 */
const CLOUD = "com ru by kz uz eu de fr it pl es uk in co mx cn id jp vn com.br com.tr".split(" ")
  .map((ending) => `.bitrix24.${ending}`);

/** Whether `host` is a portal of Bitrix24's cloud. */
export function isCloudHost(host: string): boolean {
  return CLOUD.some((domain) => host.endsWith(domain) && host.length > domain.length);
}

/** Names that are somebody's own network, or nobody's. */
const PRIVATE_NAMES = new Set([
  ...["localhost", "local", "localdomain", "internal", "intranet", "intra", "private", "corp", "home", "lan", "arpa"],
  ...["test", "example", "invalid", "onion", "alt", "mail", "domain", "dhcp", "workgroup", "docker", "consul"],
]);

const NAME = /^(?=.{4,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * The address of a host that may be called, in its one spelling.
 *
 * @throws {AddressError} when it is not https, has a user, a password or a port, or its host is an IP address, a name of
 * a private network, or none; a host of `hosts` may be private and have the port that it is given with
 */
export function portalAddress(text: string, { hosts = [] }: AddressOptions = {}): URL {
  const refuse = (why: string): AddressError => new AddressError(`cannot call ${shown(text)}: ${why}`);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) throw refuse("it is no address");
  // What a parser leaves out or puts in without a word, others may read another way.
  if (/[\0-\x20\x7f\\]/.test(text)) throw refuse("it has a space, a control character or a backslash");
  const [, authority] = /^https:\/\/([^/?#]+)/i.exec(text) ?? [];
  if (authority === undefined) throw refuse("wanted https");
  if (authority.includes("@")) throw refuse("it names a user");
  if (hosts.includes(url.host)) return url;
  if (url.port !== "") throw refuse("it has a port, wanted none");
  assertPublicName(url.hostname, refuse);
  return url;
}

/**
 * The address of a portal's REST, with a slash at its end.
 *
 * @throws {AddressError} when {@linkcode portalAddress} refuses it, or it is not where a portal's REST is
 */
export function portalEndpoint(text: string, options: AddressOptions = {}): string {
  const { href, origin, host } = portalAddress(text, options);
  const endpoint = `${origin}/rest/`;
  // Methods are added to it: after a `?` or a `#` they would be lost.
  if (href !== endpoint && `${href}/` !== endpoint) {
    throw new AddressError(`cannot call ${JSON.stringify(host)}: its path is not "/rest/"`);
  }
  return endpoint;
}

const OWN_HOST = /^(\[.+\]|[a-z0-9_-]+(\.[a-z0-9_-]+)*)(:\d+)?$/;

/**
 * A host of the vendor's own choice, spelt as in addresses.
 *
 * @throws {TypeError} when it is no host, with a port or without one
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

function assertPublicName(host: string, refuse: (why: string) => AddressError): void {
  if (host.startsWith("[") || /^[\d.]+$/.test(host)) throw refuse("it is an IP address, wanted a name");
  if (host.endsWith(".")) throw refuse("its name ends with a dot");
  if (!host.includes(".")) throw refuse("its name is of a private network");
  if (!NAME.test(host)) throw refuse("its name is no name of a host");
  if (PRIVATE_NAMES.has(host.slice(host.lastIndexOf(".") + 1))) throw refuse("its name is of a private network");
}

/** The host alone: whatever else there is may be a secret. */
function shown(text: string): string {
  const host = URL.canParse(text) ? new URL(text).host : "";
  return JSON.stringify(host.slice(0, 100));
}

/**
 * The origin of an OAuth host. Loopback is let through for tests and demonstrations: nobody else can be there.
 *
 * @throws {TypeError} when it is no https address
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
