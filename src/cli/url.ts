/** Addresses that a command calls. */
import { usageError } from "./exit.ts";

/** Returns whether a host is this machine. Names below `localhost` may be resolved by a name server. */
export function isLoopback(hostname: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/i.test(hostname);
}

/**
 * Returns the address that an option names: http or https, without a user and a password. `example`: one that could be meant.
 *
 * @throws {ExitError} with the name of the option, if it is none
 */
export function readUrl(option: string, text: string, example: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw usageError(`${option}: saw ${JSON.stringify(text)}, wanted an address such as ${example}`);
  }
  if (url.username !== "" || url.password !== "") {
    throw usageError(
      `${option}: saw an address with a user or a password, wanted one without: others can read arguments`,
    );
  }
  return url;
}
