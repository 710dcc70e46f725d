/**
 * Adopts the portals of customers that another program of yours has. First a dry run, then in production:
 *
 *     CLIENT_ID=app.5f3a deno run -A examples/09_adopt.ts crest settings.json --dry-run
 *     CLIENT_ID=app.5f3a deno run -A examples/09_adopt.ts jsonl portals.jsonl
 *     CLIENT_ID=app.5f3a CLIENT_SECRET=… deno run -A examples/09_adopt.ts jsonl portals.jsonl --refresh
 *
 * Stores: `crest`, `b24phpsdk` (the file of AppAuthFileStorage), `b24jssdk`, `jsonl` (one portal a line). `MEMBER_ID` and
 * `VERSION` say what the file of one portal does not. Prints each line that was not adopted, and exits with 1 if there is one.
 */
// deno-lint-ignore-file no-console
import { createReadStream, existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { createApp, type PortalSource, type PortalToAdopt } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { fromOAuthStore } from "./_adopt_b24jssdk.ts";
import { fromLocalAppAuth } from "./_adopt_b24phpsdk.ts";
import { fromCRest } from "./_adopt_crest.ts";

const { CLIENT_ID = "", CLIENT_SECRET, DATABASE = "portals.db", MEMBER_ID, VERSION, USER } = process.env;
const { OAUTH_HOST, ONAPPUPDATE_DEV } = process.env;
const [store = "", file = "", ...flags] = process.argv.slice(2);
const known = { ...(MEMBER_ID && { memberId: MEMBER_ID }), ...(VERSION && { version: VERSION }) };

/** The lines of the stores; each is checked again when it is adopted. */
const STORES: Readonly<Record<string, () => Promise<PortalSource>>> = {
  jsonl: () => Promise.resolve(createReadStream(file)),
  crest: async () => [fromCRest(JSON.parse(await readFile(file, "utf8")), known) as PortalToAdopt],
  b24phpsdk: async () => [
    fromLocalAppAuth(JSON.parse(await readFile(file, "utf8")), { memberId: MEMBER_ID ?? "", ...known }),
  ],
  b24jssdk: async () => [...fromOAuthStore(JSON.parse(await readFile(file, "utf8")), () => known)],
};

const open = STORES[store];
if (open === undefined || file === "" || !existsSync(file)) {
  if (file !== "" && !existsSync(file)) console.error(`cannot read ${file}: there is no such file`);
  console.error(`usage: adopt.ts ${Object.keys(STORES).join("|")} FILE [--dry-run] [--refresh]`);
  process.exit(2);
}

const app = createApp({
  storage: fileStorage({ path: DATABASE }),
  clientId: CLIENT_ID,
  ...(CLIENT_SECRET === undefined ? {} : { clientSecret: CLIENT_SECRET }),
  // For trying it with a fake OAuth host, or with `onappupdate dev`.
  ...(OAUTH_HOST === undefined ? {} : { oauthHosts: [OAUTH_HOST] }),
  ...(ONAPPUPDATE_DEV === undefined ? {} : { dev: ONAPPUPDATE_DEV }),
});
const { problems: _, ...totals } = await app.admin.adopt(await open(), {
  by: USER ?? "examples/09_adopt.ts",
  reason: `the move from ${store}`,
  dryRun: flags.includes("--dry-run"),
  refresh: flags.includes("--refresh"),
  onLine: ({ line, memberId, reason, message }) => {
    if (reason !== undefined) console.log(`line ${line} ${memberId ?? ""}: ${reason}: ${message}`);
  },
});
await app.close();
console.log(JSON.stringify(totals));
process.exitCode = totals.notAdopted === 0 ? 0 : 1;
