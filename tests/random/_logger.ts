/** The log of a random life: no line has a token. */
import type { Logger } from "@b24/onappupdate";
import { hasToken, withoutTokens } from "../support/leaks.ts";
import { CLIENT_SECRET } from "./_world.ts";

/** Returns a logger that adds each line with a token to `violations`. */
export function watchedLogger(violations: string[]): Logger {
  const line = (message: string, fields: object = {}): void => {
    const text = `${message} ${JSON.stringify(fields)}`;
    if (hasToken(text) || text.includes(CLIENT_SECRET)) violations.push(`a token is logged: ${withoutTokens(text)}`);
  };
  return { isDebugEnabled: true, debug: line, info: line, warn: line, error: line };
}
