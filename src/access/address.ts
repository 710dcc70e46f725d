/** Which hosts may be called, and a fetch that calls no other. */
import { AddressError } from "../errors.ts";
import { abortable } from "./abortable.ts";

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

/** Ranges of addresses that are not on the public internet, or are not to be called there. */
const CLOSED_V4 = ranges([
  ...["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"],
  ...["192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"],
  ...["224.0.0.0/4", "240.0.0.0/4"],
  // Azure's own service to the machines in it.
  "168.63.129.16/32",
]);

/** Of IPv6, what is public is in one range; of that, these are not, or lead to an IPv4 address that is not seen here. */
const OPEN_V6 = ranges(["2000::/3"]);
const CLOSED_V6 = ranges(["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"]);
/** Of these, the IPv4 address in them counts: the second is how hosts without IPv4 see those without IPv6. */
const WITH_V4 = ranges(["::ffff:0:0/96", "64:ff9b::/96"]);

interface Range {
  readonly bytes: readonly number[];
  readonly bits: number;
}

/** Whether an IP address is one of the public internet. What is none is not. */
export function isPublicAddress(ip: string): boolean {
  const bytes = bytesOf(ip);
  if (bytes === undefined) return false;
  const within = (closed: readonly Range[], bytes: readonly number[]): boolean =>
    closed.some((range) => isIn(bytes, range));
  if (bytes.length === 4) return !within(CLOSED_V4, bytes);
  if (within(WITH_V4, bytes)) return !within(CLOSED_V4, bytes.slice(12));
  return within(OPEN_V6, bytes) && !within(CLOSED_V6, bytes);
}

function ranges(texts: readonly string[]): Range[] {
  return texts.map((text) => {
    const [ip, bits] = text.split("/") as [string, string];
    return { bytes: bytesOf(ip)!, bits: Number(bits) };
  });
}

function isIn(bytes: readonly number[], range: Range): boolean {
  return bytes.length === range.bytes.length && bytes.every((byte, i) => {
    const bits = Math.min(8, Math.max(0, range.bits - i * 8));
    return byte >> (8 - bits) === range.bytes[i]! >> (8 - bits);
  });
}

/** The bytes of an address as lookups give it; `undefined` of anything else. */
function bytesOf(ip: string): number[] | undefined {
  // Without zeros in front: to some they make a number octal.
  if (/^(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){3}$/.test(ip)) {
    const bytes = ip.match(/\d+/g)!.map(Number);
    return bytes.every((byte) => byte <= 255) ? bytes : undefined;
  }
  // The parser of URLs knows all spellings of IPv6.
  const literal = `http://[${ip}]/`;
  if (!/^[\da-f:.]+$/i.test(ip) || !URL.canParse(literal)) return undefined;
  const [head, tail] = new URL(literal).hostname.slice(1, -1).split("::") as [string, string?];
  const groups = (text: string | undefined): number[] =>
    text === undefined || text === "" ? [] : text.split(":").map((group) => Number(`0x${group}`));
  const [first, last] = [groups(head), groups(tail)];
  const all = [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last];
  return all.flatMap((group) => [group >> 8, group & 255]);
}

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
