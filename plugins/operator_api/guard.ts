/** Authentication of the operator API: bearer tokens, which are configured as digests. */
import { checkOptions, digestToken, option, type OptionRules, Secret } from "../../mod.ts";
import { ApiError } from "./api_error.ts";
import { LINE } from "./parameters.ts";

/** The permission of a token's holder: `read` everything that the API shows, or also `operate`. */
export type OperatorRole = "read" | "operate";

/** A token of the operator API, without the token itself. */
export interface OperatorToken {
  /** The operator: `by` in the audit log. 1 to 100 characters, none of them a control character. */
  readonly name: string;
  /** SHA-256 of the token, in 64 lower-case hexadecimal digits. The token is 32 random bytes; less than 43 characters are refused. */
  readonly sha256: string;
  /** The permission of its holder. */
  readonly role: OperatorRole;
}

const NAME = new RegExp(LINE, "u");

const TOKEN_RULES: OptionRules<OperatorToken> = {
  name: option.required(option.value(
    "1 to 100 characters without control characters, also of text direction",
    (name) => typeof name === "string" && name.length <= 100 && name.isWellFormed() && NAME.test(name),
  )),
  // Somebody may have put the token itself here.
  sha256: option.required(option.value(
    "the SHA-256 of a token, in 64 lower-case hexadecimal digits",
    (digest) => typeof digest === "string" && /^[0-9a-f]{64}$/.test(digest),
    { isSecret: true },
  )),
  role: option.required(option.oneOf("read", "operate")),
};

/** The rule of the option `tokens`. */
export const TOKENS_RULE = option.required(option.list("a list of tokens", option.object(TOKEN_RULES)));

/** SHA-256 of an empty string and of a line break: of a shell variable that was not set. */
const EMPTY: ReadonlySet<string> = new Set([
  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  "01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b",
]);

/** @throws {TypeError} if there is no token, or two have one name or one digest */
export function checkTokens(action: string, tokens: readonly OperatorToken[]): void {
  checkOptions(action, { tokens }, { tokens: TOKENS_RULE });
  const refuse = (what: string, wanted: string): never => {
    throw new TypeError(`${action} with ${what}, wanted ${wanted}`);
  };
  if (tokens.length === 0) refuse("tokens an empty list", "at least one token");
  for (const [i, { name, sha256 }] of tokens.entries()) {
    const before = tokens.slice(0, i);
    if (EMPTY.has(sha256)) refuse(`tokens.${i}.sha256 of an empty string`, "that of 32 random bytes");
    if (before.some((other) => other.name === name)) {
      refuse(`tokens.${i}.name ${JSON.stringify(name)} twice`, "a name for each token");
    }
    if (before.some((other) => other.sha256 === sha256)) refuse(`tokens.${i}.sha256 twice`, "a token for each name");
  }
}

/** The header. 32 bytes have 43 characters in base64url, 64 in hexadecimal; a password has fewer, and could be guessed. */
const TOKEN = /^Bearer +([^\s]{43,512})$/i;

/**
 * Returns the function that finds the token of a request.
 *
 * It compares the digest of what came with all digests: neither the time that it takes nor the position in the list says
 * anything about a token.
 */
export function createGuard(tokens: readonly OperatorToken[]): (request: Request) => Promise<OperatorToken> {
  const known = tokens.map(({ name, sha256, role }) => ({ name, sha256, role, digest: new Secret(sha256) }));
  return async (request) => {
    const header = request.headers.get("authorization");
    if (header === null) throw unauthorized("no_token", "wanted the header authorization: Bearer TOKEN", "");
    const [, presented] = TOKEN.exec(header) ?? [];
    if (presented === undefined) {
      const message =
        "wanted the header authorization: Bearer TOKEN, with a token of 32 random bytes in 43 characters or more";
      throw unauthorized("invalid_token", message, ', error="invalid_request"');
    }
    const digest = await digestToken(new Secret(presented));
    let found: OperatorToken | undefined;
    for (const token of known) if (token.digest.equals(digest)) found = token;
    if (found === undefined) throw unauthorized("invalid_token", "the token is not known", ', error="invalid_token"');
    return found;
  };
}

function unauthorized(code: string, message: string, details: string): ApiError {
  return new ApiError(401, { code, message }, { "www-authenticate": `Bearer realm="onappupdate"${details}` });
}
