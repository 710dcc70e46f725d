/** Limits what a JSON text costs in time and memory, before it is parsed. */

/** Maximum numbers of what makes a JSON text expensive. */
export interface JsonLimits {
  /** Arrays and objects. A parsed one takes at least 16 bytes, and up to 40 times the memory of its text. */
  readonly containers: number;
  /** Commas outside of strings. There is one after every value but the last of a container. */
  readonly commas?: number;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const BRACE = 0x7b;

/** Returns whether a JSON text exceeds a limit. Of a text that is not JSON, it says nothing that matters. */
export function exceeds(json: string, { containers, commas = Infinity }: JsonLimits): boolean {
  // The shortest container has 2 characters.
  if (json.length <= Math.min(2 * containers, commas)) return false;
  let isString = false;
  for (let i = 0; i < json.length; i++) {
    const unit = json.charCodeAt(i);
    if (unit === QUOTE) isString = !isString;
    else if (isString) { if (unit === BACKSLASH) i++; }
    else if (unit === COMMA) { if (--commas < 0) return true; }
    else if ((unit === BRACKET || unit === BRACE) && --containers < 0) return true;
  }
  return false;
}
