/** Which hosts may be called, and a fetch that calls no other. */
import { AddressError } from "../errors.ts";

/** Hosts that are called besides those of the cloud. */
export interface AddressOptions {
  /** Of the vendor's own choice, such as `"crm.example.com"` or `"crm.example.com:8443"`; these may be private. */
  readonly hosts?: readonly string[];
}

/** Domains under which Bitrix24 runs its cloud. Who owns one of them is Bitrix24; any other top-level domain is not. */
const CLOUD = [
  ...[
    "com",
    "ru",
    "de",
    "eu",
    "fr",
    "it",
    "pl",
    "es",
    "in",
    "by",
    "kz",
    "cn",
    "vn",
    "id",
    "uk",
    "jp",
    "mx",
    "co",
  ],
  ...["com.br", "com.tr"],
].map((ending) => `.bitrix24.${ending}`);

/** Whether `host` is a portal of Bitrix24's cloud. */
export function isCloudHost(host: string): boolean {
  return CLOUD.some((domain) => host.endsWith(domain) && host.length > domain.length);
}

/** Names that are somebody's own network, or nobody's. */
const PRIVATE_NAMES = [
  ...["localhost", "local", "localdomain", "internal", "intranet", "private", "corp", "home", "lan", "arpa"],
  ...["test", "example", "invalid", "onion", "alt"],
];

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
  // What a parser leaves out without a word, others may read another way.
  if (/[\0-\x20\x7f\\]/.test(text)) throw refuse("it has a space, a control character or a backslash");
  if (url.protocol !== "https:") throw refuse("wanted https");
  if (url.username !== "" || url.password !== "" || text.split(/[/?#]/)[2]?.includes("@")) {
    throw refuse("it names a user");
  }
  if (hosts.includes(url.host)) return url;
  if (url.port !== "") throw refuse("it has a port, wanted none");
  assertPublicName(url.hostname, refuse);
  return url;
}

function assertPublicName(host: string, refuse: (why: string) => AddressError): void {
  if (host.startsWith("[") || /^[\d.]+$/.test(host)) throw refuse("it is an IP address, wanted a name");
  if (host.endsWith(".")) throw refuse("its name ends with a dot");
  if (!host.includes(".")) throw refuse("its name is of a private network");
  if (!NAME.test(host)) throw refuse("its name is no name of a host");
  if (PRIVATE_NAMES.includes(host.slice(host.lastIndexOf(".") + 1))) throw refuse("its name is of a private network");
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
]);

/** Of IPv6, what is public is in one range; of that, these are not, or lead to an IPv4 address that is not seen here. */
const OPEN_V6 = ranges(["2000::/3"]);
const CLOSED_V6 = ranges(["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"]);

interface Range {
  readonly bytes: readonly number[];
  readonly bits: number;
}

/** Whether an IP address is one of the public internet. What is none is not. */
export function isPublicAddress(ip: string): boolean {
  const bytes = bytesOf(ip);
  if (bytes === undefined) return false;
  if (bytes.length === 4) return !CLOSED_V4.some((range) => isIn(bytes, range));
  // An IPv4 address in the clothes of IPv6.
  if (isIn(bytes, MAPPED)) return !CLOSED_V4.some((range) => isIn(bytes.slice(12), range));
  return OPEN_V6.some((range) => isIn(bytes, range)) && !CLOSED_V6.some((range) => isIn(bytes, range));
}

const [MAPPED] = ranges(["::ffff:0:0/96"]) as [Range];

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
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(ip)) {
    const bytes = ip.match(/\d+/g)!.map(Number);
    return bytes.every((byte) => byte <= 255) ? bytes : undefined;
  }
  // The parser of URLs knows all spellings of IPv6; zones are of the host that looked.
  const literal = `http://[${ip.replace(/%.*$/, "")}]/`;
  if (!ip.includes(":") || !URL.canParse(literal)) return undefined;
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
}

/** How long what a lookup gave holds, in milliseconds, and of how many hosts. */
const LOOKUP_MS = 30_000;
const LOOKUPS = 1000;

/**
 * A fetch that calls hosts which {@linkcode portalAddress} lets through, and hands redirects back. Of a host outside of
 * the cloud, it looks first where its name leads. Between the look and the connection, that may change.
 */
export function guardedFetch({ fetch, lookup, hosts = [] }: GuardOptions): typeof globalThis.fetch {
  const looks = new Map<
    string,
    { readonly until: number; readonly addresses: Promise<readonly string[] | undefined> }
  >();

  async function assertPublic(host: string): Promise<void> {
    const known = looks.get(host);
    let addresses = known !== undefined && known.until > performance.now() ? known.addresses : undefined;
    if (addresses === undefined) {
      if (looks.size >= LOOKUPS) looks.clear();
      addresses = lookup(host);
      looks.set(host, { until: performance.now() + LOOKUP_MS, addresses });
      // A host that is not known now may be at the next call.
      addresses.catch(() => looks.delete(host));
    }
    let found: readonly string[] | undefined;
    try {
      found = await addresses;
    } catch (cause) {
      throw new TypeError(`cannot find host ${host}`, { cause });
    }
    if (found === undefined || (found.length > 0 && found.every(isPublicAddress))) return;
    throw new AddressError(`cannot call ${host}: its name leads to an address that is not public`);
  }

  return async (input, init) => {
    const url = portalAddress(typeof input === "string" ? input : input instanceof URL ? input.href : input.url, {
      hosts,
    });
    if (!isCloudHost(url.hostname) && !hosts.includes(url.host)) await assertPublic(url.hostname);
    const request = input instanceof Request ? input : url;
    return await fetch(request, { ...init, redirect: "manual", referrerPolicy: "no-referrer" });
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
