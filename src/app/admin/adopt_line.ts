/** Checks the lines of an adoption. No problem quotes a value that may be a token. */
import { MEMBER_ID } from "../../bitrix24/schemas.ts";
import { defined } from "../../defined.ts";
import type { PortalToAdopt } from "../../plugin/adoption.ts";
import { isVersion, parseVersion } from "../../version.ts";
import { MAX_LINE, type SourceLine } from "./adopt_source.ts";

/** A portal as a line describes it, checked. */
export interface OfferedPortal {
  /** In lower case. */
  readonly memberId: string;
  readonly accessToken: string;
  readonly refreshToken?: string;
  readonly expiresAt?: number;
  readonly applicationToken?: string;
  readonly serverEndpoint?: string;
  /** As `coerced()` reads it. */
  readonly version?: string;
  /** As the line has it. */
  readonly rawVersion?: string;
}

/** Accepts a value, and what is wanted instead of others. */
interface Rule {
  readonly wanted: string;
  readonly accepts: (value: unknown) => boolean;
  readonly isRequired?: true;
}

const token: Rule = {
  wanted: "a token of 1 to 255 characters",
  accepts: (value) => typeof value === "string" && /^[\x21-\x7e]{1,255}$/.test(value),
};

/** Longer than any version, and shorter than any token: only such a text is quoted. */
const MAX_QUOTED = 24;

/** Times below it are seconds, or no times at all. */
const EARLIEST_MS = Date.UTC(2010, 0);

const RULES: Readonly<Record<keyof PortalToAdopt, Rule>> = {
  memberId: { wanted: MEMBER_ID.wanted, accepts: MEMBER_ID.accepts, isRequired: true },
  accessToken: { ...token, isRequired: true },
  refreshToken: token,
  expiresAt: {
    wanted: "a time in milliseconds since 1970",
    accepts: (value) => typeof value === "number" && value >= EARLIEST_MS && value <= Number.MAX_SAFE_INTEGER,
  },
  applicationToken: token,
  serverEndpoint: {
    wanted: "the address of an OAuth host",
    accepts: (value) => typeof value === "string" && value.length <= 2048 && URL.canParse(value),
  },
  version: { wanted: 'a version such as "3" or "2.1.0"', accepts: isVersionOfLine },
};

/** Returns the portal of a line, or why the line is invalid. */
export function checkLine({ value }: SourceLine): OfferedPortal | { readonly problem: string } {
  if (value === undefined) return { problem: `the line is longer than ${MAX_LINE} characters` };
  let portal = value;
  if (typeof value === "string") {
    try {
      portal = JSON.parse(value);
    } catch {
      // The engine's message quotes the line.
      return { problem: `${value.length} characters that are not JSON` };
    }
  }
  if (typeof portal !== "object" || portal === null || Array.isArray(portal)) {
    return { problem: `${kindOf(portal)}, wanted an object with ${Object.keys(RULES).join(", ")}` };
  }
  const problem = problemOf(portal as Readonly<Record<string, unknown>>);
  return problem === undefined ? portalOf(portal as PortalToAdopt) : { problem };
}

function problemOf(portal: Readonly<Record<string, unknown>>): string | undefined {
  const unknown = Object.keys(portal).find((name) => !Object.hasOwn(RULES, name));
  if (unknown !== undefined) {
    const name = /^\w+$/.test(unknown) && unknown.length <= MAX_QUOTED ? unknown : "with an invalid name";
    return `unknown field ${name}, wanted ${Object.keys(RULES).join(", ")}`;
  }
  for (const [name, { wanted, accepts, isRequired }] of Object.entries(RULES)) {
    const value = portal[name] ?? undefined;
    if (value === undefined ? isRequired !== true : accepts(value)) continue;
    const seen = name === "version" ? quoted(value) : name === "expiresAt" ? kindOfTime(value) : kindOf(value);
    return `${name} is ${seen}, wanted ${wanted}`;
  }
  return undefined;
}

function portalOf(
  { memberId, accessToken, refreshToken, expiresAt, applicationToken, serverEndpoint, version }: PortalToAdopt,
): OfferedPortal {
  const rawVersion = version ?? undefined;
  return {
    memberId: memberId.toLowerCase(),
    accessToken,
    ...defined({
      refreshToken: refreshToken ?? undefined,
      expiresAt: expiresAt ?? undefined,
      applicationToken: applicationToken ?? undefined,
      serverEndpoint: serverEndpoint ?? undefined,
      version: rawVersion === undefined ? undefined : parseVersion(String(rawVersion)),
      rawVersion: rawVersion === undefined ? undefined : String(rawVersion),
    }),
  };
}

/** A number such as 2.1 would not tell 2.1 from 2.10. */
function isVersionOfLine(value: unknown): boolean {
  if (typeof value === "number") return Number.isSafeInteger(value) && value >= 0;
  return typeof value === "string" && value.length <= MAX_QUOTED && isVersion(value);
}

function quoted(value: unknown): string {
  if (typeof value === "number") return String(value);
  return typeof value === "string" && value !== "" && value.length <= MAX_QUOTED
    ? JSON.stringify(value)
    : kindOf(value);
}

/** `expires` of Bitrix24 is in seconds, so that is the most frequent mistake. */
function kindOfTime(value: unknown): string {
  const isSeconds = typeof value === "number" && value >= EARLIEST_MS / 1000 && value < EARLIEST_MS;
  return isSeconds ? "a time in seconds" : kindOf(value);
}

function kindOf(value: unknown): string {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  if (value === "") return "an empty string";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "string") return `a string of ${value.length} characters`;
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
