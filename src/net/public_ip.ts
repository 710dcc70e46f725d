/** Tells IP addresses of the public internet from all others. */

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
