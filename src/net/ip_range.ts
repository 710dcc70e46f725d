/** IP addresses and ranges of them. */

/** The addresses whose first `bits` bits are those of `bytes`: 4 bytes for IPv4, 16 for IPv6. */
export interface IpRange {
  readonly bytes: readonly number[];
  readonly bits: number;
}

/** Returns the range of `192.0.2.0/24`, or of the single address `192.0.2.1`; `undefined` if the text is neither. */
export function rangeOf(text: string): IpRange | undefined {
  const [, ip = "", length] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const bytes = bytesOf(ip);
  if (bytes === undefined) return undefined;
  const bits = length === undefined ? bytes.length * 8 : Number(length);
  return bits > bytes.length * 8 ? undefined : { bytes, bits };
}

/** Returns whether a range contains an address. */
export function isIn(bytes: readonly number[], range: IpRange): boolean {
  return bytes.length === range.bytes.length && bytes.every((byte, i) => {
    const bits = Math.min(8, Math.max(0, range.bits - i * 8));
    return byte >> (8 - bits) === range.bytes[i]! >> (8 - bits);
  });
}

/** Returns the bytes of an IP address, or `undefined` if it is not one. */
export function bytesOf(ip: string): number[] | undefined {
  // No leading zeros: some parsers read such a number as octal.
  if (/^(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){3}$/.test(ip)) {
    const bytes = ip.match(/\d+/g)!.map(Number);
    return bytes.every((byte) => byte <= 255) ? bytes : undefined;
  }
  // The URL parser reads all spellings of IPv6.
  const literal = `http://[${ip}]/`;
  if (!/^[\da-f:.]+$/i.test(ip) || !URL.canParse(literal)) return undefined;
  const [head, tail] = new URL(literal).hostname.slice(1, -1).split("::") as [string, string?];
  const groups = (text: string | undefined): number[] =>
    text === undefined || text === "" ? [] : text.split(":").map((group) => Number(`0x${group}`));
  const [first, last] = [groups(head), groups(tail)];
  const all = [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last];
  return all.flatMap((group) => [group >> 8, group & 255]);
}

const MAPPED_V4 = rangeOf("::ffff:0:0/96")!;

/**
 * Returns an address as sockets name it, without the zone of a local address, and an IPv4 address that an IPv6 socket has
 * accepted as IPv4; `undefined` if it is not an IP address.
 */
export function addressOf(text: string | undefined): string | undefined {
  const [ip = ""] = text?.trim().split("%") ?? [];
  const bytes = bytesOf(ip);
  if (bytes === undefined) return undefined;
  return isIn(bytes, MAPPED_V4) ? bytes.slice(12).join(".") : ip;
}
