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
  const { code, b24Code } = error as { readonly code?: unknown; readonly b24Code?: unknown };
  const parts = [upgradeId, step, error.name, plain(code), plain(b24Code), withoutValues(error.message)];
  return (await digest(JSON.stringify(parts))).slice(0, DIGITS);
}

function plain(code: unknown): string {
  return typeof code === "string" || typeof code === "number" ? String(code) : "";
}

/** Replaces quoted strings, hosts, ids and numbers. */
function withoutValues(message: string): string {
  return message
    .replace(/"[^"]*"|'[^']*'|`[^`]*`|«[^»]*»/g, '""')
    .replace(/\b[\w-]+(\.[\w-]+)*\.[a-z]{2,}(:\d+)?\b/gi, "host")
    .replace(/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b/gi, "id")
    .replace(/\d+([.,]\d+)*/g, "0");
}
