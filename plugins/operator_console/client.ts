/** The client of a request, for the throttle. */
import { isIPv4, isIPv6 } from "node:net";

/**
 * Returns what stands for a client: its IPv4 address, or the first 64 bits of its IPv6 address, because a customer of a provider
 * has all addresses of such a network. `undefined` if it is no address.
 */
export function clientOf(address: string | undefined): string | undefined {
  const [ip = ""] = address?.trim().toLowerCase().split("%") ?? [];
  const mapped = ip.replace(/^::ffff:(?=\d+\.)/, "");
  if (isIPv4(mapped)) return mapped;
  if (!isIPv6(ip)) return undefined;
  const [head = "", tail] = new URL(`http://[${ip}]/`).hostname.slice(1, -1).split("::");
  const [first, last] = [head, tail ?? ""].map((part) => part === "" ? [] : part.split(":"));
  const zeros = tail === undefined ? [] : new Array<string>(8 - first!.length - last!.length).fill("0");
  return [...first!, ...zeros, ...last!].slice(0, 4).join(":");
}
