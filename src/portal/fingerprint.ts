/** Fingerprints of failures: failures with the same cause have the same one, whatever portal they happen on. */

/** The parts of a failure that make its fingerprint. */
export interface FailureParts {
  readonly upgradeId?: string | undefined;
  readonly step?: string | undefined;
  readonly error: Error;
}

/** Number of hexadecimal digits. */
const DIGITS = 16;

/**
 * Returns the fingerprint of a failure: the first 16 hexadecimal digits of the SHA-256 of the upgrade, the step, the error's
 * name and codes, and its message without what differs between portals.
 */
export async function fingerprintOf(
  digest: (text: string) => Promise<string>,
  { upgradeId = "", step = "", error }: FailureParts,
): Promise<string> {
  const codes = [ownCode(error, "code"), ownCode(error, "b24Code")];
  const parts = [upgradeId, step, error.name, ...codes, withoutValues(error.message)];
  return (await digest(JSON.stringify(parts))).slice(0, DIGITS);
}

/** Returns a code of an error. The code of a redacted DOMException cannot be read: it is not its own, and says no more than its name. */
function ownCode(error: Error, name: "code" | "b24Code"): string {
  const value: unknown = Object.getOwnPropertyDescriptor(error, name)?.value;
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

/** Replaces quoted strings, hosts, ids and numbers. */
function withoutValues(message: string): string {
  return message
    .replace(/"[^"]*"|'[^']*'|`[^`]*`|«[^»]*»/g, '""')
    .replace(/\b[\w-]+(\.[\w-]+)*\.[a-z]{2,}(:\d+)?\b/gi, "host")
    .replace(/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b/gi, "id")
    .replace(/\d+([.,]\d+)*/g, "0");
}
