/** Finds the portal that a path names by its member_id or its domain. */
import type { Portal } from "../../mod.ts";
import { UnknownPortalError } from "../../errors.ts";
import { ApiError, invalid } from "./api_error.ts";
import type { OperatorApp } from "./route.ts";
import { pick } from "./schema.ts";
import { NAMED_PORTAL } from "./portal_shapes.ts";

const MEMBER_ID = /^[0-9a-f]{32}$/i;
/** A host, possibly with a port. */
const DOMAIN = /^[\p{L}\p{N}.-]{1,253}(:\d{1,5})?$/u;

/** Maximum number of portals that the error of a shared domain lists. */
const MAX_LISTED = 20;

/**
 * Returns the member_id of a portal.
 *
 * @throws {UnknownPortalError} if no portal has this member_id
 * @throws {ApiError} 404, if no portal has or had this domain; 409, if several have or had it
 * @throws {FormatError} if newer code wrote the portal, or one of those with this domain
 */
export async function findPortal({ admin, portal }: OperatorApp, named: string): Promise<string> {
  if (MEMBER_ID.test(named)) {
    const memberId = named.toLowerCase();
    if (await portal(memberId) === undefined) throw new UnknownPortalError(memberId);
    return memberId;
  }
  const wanted = "a member_id of 32 hexadecimal digits, or the domain of a portal";
  if (!DOMAIN.test(named)) {
    throw invalid([{ path: "portal", saw: "another string", wanted }]);
  }
  const found = await portalsWith({ admin, portal }, named);
  if (found.length === 0) {
    throw new ApiError(404, { code: "unknown_portal", message: `no portal with the domain ${named} is stored` });
  }
  if (found.length === 1) return found[0]!.memberId;
  throw new ApiError(409, {
    code: "ambiguous_domain",
    message: `${found.length} portals have had the domain ${named}: name one of them by its member_id`,
    portals: found.slice(0, MAX_LISTED).map((one) => pick(NAMED_PORTAL, one)),
  });
}

/** Returns the portals with a domain, then those that had it before they were renamed. */
async function portalsWith(
  { admin, portal }: Pick<OperatorApp, "admin" | "portal">,
  domain: string,
): Promise<readonly Portal[]> {
  const found: Portal[] = [];
  for (const match of [{ domain }, { formerDomain: domain }]) {
    let after: string | undefined;
    do {
      const page = await admin.portals({ ...match, limit: MAX_LISTED + 1, ...(after !== undefined && { after }) });
      // Rejects: a portal that cannot be shown must neither be said to be unknown nor be taken for another one.
      for (const memberId of page.unreadable ?? []) await portal(memberId);
      found.push(...page.items);
      after = page.next;
    } while (after !== undefined && found.length <= MAX_LISTED);
  }
  return found;
}
