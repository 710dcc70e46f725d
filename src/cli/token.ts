/** `onappupdate token`: a token for the operator API. */
import { createHash, randomBytes } from "node:crypto";
import { defineCommand } from "./command.ts";
import { usageError } from "./exit.ts";

interface TokenOptions {
  readonly role?: "read" | "operate";
}

/** Prints a new token for the operator API once, and the entry for its configuration. */
export const token = defineCommand<TokenOptions>({
  usage: "token",
  summary: "make a token for the operator API",
  description: "Prints a random token, once, and the entry for the option `tokens` of " +
    "operatorApi(), which contains only a digest of it. The token goes into the " +
    "variable ONAPPUPDATE_TOKEN or the file of --token-file of the user of the token.",
  group: "Set up:",
  arguments: [{ usage: "<name>", description: "who uses it; the audit log shows this name" }],
  options: [{ flags: "--role <role>", description: "what it allows", choices: ["read", "operate"] }],
  examples: ["onappupdate token ada --role operate", "onappupdate token dashboard --role read"],
  run: ({ args: [name = ""], options: { role }, show }) => {
    if (role === undefined) {
      throw usageError("cannot make a token: saw no --role, wanted --role read or --role operate");
    }
    // deno-lint-ignore no-control-regex -- as the audit log refuses them
    if (name.trim() === "" || name.length > 100 || /[\u0000-\u001f\u007f]/.test(name)) {
      throw usageError("cannot make a token: wanted a name of 1 to 100 characters without control characters");
    }
    const token = randomBytes(32).toString("base64url");
    const sha256 = createHash("sha256").update(token).digest("hex");
    const entry = { name, role, sha256 };
    show({ token, entry }, () =>
      [
        `The token, which is shown only now: ${token}`,
        "",
        "The entry of `tokens` of operatorApi():",
        `  { name: ${JSON.stringify(name)}, role: "${role}", sha256: "${sha256}" },`,
      ].join("\n"));
    return Promise.resolve();
  },
});
