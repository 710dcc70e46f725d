/** Masks the tokens of a stand-in. They open nothing, but output that shows tokens teaches to show tokens. */
import { isSecretName, redact } from "../../redact.ts";

/** Tokens of a fake Bitrix24 begin with a marker of their kind: access, refresh, application token, session. */
const TOKEN = /(?<![0-9a-f])(acce55|fe5fe5|a99|5e55)[0-9a-f]{24,}/gi;

/** Returns `text` with the tokens of a stand-in cut short, and without the values of other fields named like secrets. */
export function maskTokens(text: string, field = ""): string {
  const masked = text.replace(TOKEN, (token) => `${token.slice(0, 6)}…`);
  if (masked !== text) return redactRest(masked);
  // `auth[member_id]` names no secret, though `auth` does.
  const name = field.replace(/^auth\[(.+)\]$/, "$1");
  return name !== "" && isSecretName(name) && text !== "" ? "[redacted]" : redactRest(masked);
}

/** Does not redact what is masked already: the kind of a token is worth seeing. */
function redactRest(text: string): string {
  return text.split(/([0-9a-f]{6}…)/).map((part, i) => i % 2 === 1 ? part : redact(part)).join("");
}
