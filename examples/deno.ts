/**
 * An app on Deno: `CLIENT_ID=app.5f3a deno run -A examples/deno.ts`
 *
 * On Deno Deploy, files are not kept: use `denoKvStorage()` there.
 */
import { fileStorage } from "@b24/onappupdate/file-storage";
import { buildApp } from "./app.ts";

const clientSecret = Deno.env.get("CLIENT_SECRET");
const oauthHost = Deno.env.get("OAUTH_HOST");

const app = buildApp({
  storage: fileStorage({ path: Deno.env.get("DATABASE") ?? "portals.db" }),
  clientId: Deno.env.get("CLIENT_ID") ?? "",
  // Needed to refresh access tokens, which expire after an hour.
  ...(clientSecret === undefined ? {} : { clientSecret }),
  // For trying the app with a fake OAuth host.
  ...(oauthHost === undefined ? {} : { oauthHosts: [oauthHost] }),
});

await app.start();
const server = Deno.serve({ port: Number(Deno.env.get("PORT") ?? 8000), hostname: "127.0.0.1" }, app.fetch);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, async () => {
    await Promise.all([server.shutdown(), app.close()]);
    Deno.exit(0);
  });
}
