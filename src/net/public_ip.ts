/** IP addresses of the public internet. */
import { bytesOf, type IpRange, isIn, rangeOf } from "./ip_range.ts";

/** IPv4 ranges that are not public, or that portals cannot be in. */
const CLOSED_V4 = ranges([
  ...["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"],
  ...["192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"],
  ...["224.0.0.0/4", "240.0.0.0/4"],
  // Azure's service for the virtual machines in it.
  "168.63.129.16/32",
]);

/** The range of all public IPv6 addresses. */
const OPEN_V6 = ranges(["2000::/3"]);

/** Ranges in it that are not public, or that lead to an IPv4 address that is not visible here. */
const CLOSED_V6 = ranges(["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"]);

/** IPv6 ranges that contain an IPv4 address, which decides. The second range (NAT64) is how IPv6-only hosts reach IPv4. */
const WITH_V4 = ranges(["::ffff:0:0/96", "64:ff9b::/96"]);

/** Whether `ip` is an IP address of the public internet; false if it is not an IP address. */
export function isPublicAddress(ip: string): boolean {
  const bytes = bytesOf(ip);
  if (bytes === undefined) return false;
  const within = (closed: readonly IpRange[], bytes: readonly number[]): boolean =>
    closed.some((range) => isIn(bytes, range));
  if (bytes.length === 4) return !within(CLOSED_V4, bytes);
  if (within(WITH_V4, bytes)) return !within(CLOSED_V4, bytes.slice(12));
  return within(OPEN_V6, bytes) && !within(CLOSED_V6, bytes);
}

function ranges(texts: readonly string[]): IpRange[] {
  return texts.map((text) => rangeOf(text)!);
}
