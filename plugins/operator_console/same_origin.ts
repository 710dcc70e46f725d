/** Refuses requests that a page of somebody else has made the browser send. */
import { ApiError } from "../operator_api/api_error.ts";

const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST"]);

/**
 * Every method but GET and HEAD needs `Origin` to be that of the console and `Sec-Fetch-Site: same-origin`, whatever the type of
 * its body. Browsers set both, and no page can change them.
 *
 * @throws {ApiError} 405 or 403
 */
export function assertSameOrigin({ method, headers }: Request, origin: string): void {
  if (!METHODS.has(method)) {
    throw new ApiError(405, { code: "method", message: "wanted the method GET, HEAD or POST" }, {
      allow: "GET, HEAD, POST",
    });
  }
  if (method !== "POST") return;
  if (headers.get("origin") === origin && headers.get("sec-fetch-site") === "same-origin") return;
  throw foreignOrigin();
}

/**
 * Refuses a GET with an effect, such as an export, which is in the audit log and whose number is limited: a link on a page of
 * somebody else comes with the cookie of the operator. An address that the operator has typed is accepted.
 *
 * @throws {ApiError} 403
 */
export function assertOwnLink({ headers }: Request): void {
  if (["same-origin", "none"].includes(headers.get("sec-fetch-site") ?? "none")) return;
  throw foreignOrigin();
}

function foreignOrigin(): ApiError {
  const message = "the request did not come from a page of this console";
  return new ApiError(403, { code: "foreign_origin", message });
}
