/** Addresses of the app that a stand-in sends events to. */
import { usageError } from "../exit.ts";

const LOOPBACK = new Set(["127.0.0.1", "localhost", "[::1]"]);

/**
 * Returns an address of the app.
 *
 * @throws {ExitError} if it is not one of this machine: a stand-in would post made-up events to a real app
 */
export function standInAddress(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol) && LOOPBACK.has(url.hostname) && url.username === "") {
    return url.href;
  }
  throw usageError(
    `cannot send events to "${text}", wanted an address of the app on this machine, such as http://127.0.0.1:8000/`,
  );
}
