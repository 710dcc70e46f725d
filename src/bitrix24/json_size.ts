/** Estimates what a JSON text costs in memory, before it is parsed. */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const BRACKET = 0x5b;
const BRACE = 0x7b;

/**
 * Returns whether a JSON text has more than `max` containers, which are arrays and objects. A parsed container takes at
 * least 16 bytes, and up to 40 times the memory of its text.
 */
export function hasMoreContainers(json: string, max: number): boolean {
  // The shortest container has 2 characters.
  if (json.length <= 2 * max) return false;
  let count = 0;
  let isString = false;
  for (let i = 0; i < json.length; i++) {
    const unit = json.charCodeAt(i);
    if (unit === QUOTE) isString = !isString;
    else if (isString) { if (unit === BACKSLASH) i++; }
    else if ((unit === BRACKET || unit === BRACE) && ++count > max) return true;
  }
  return false;
}
