/**
 * An app on Deno: `CLIENT_ID=app.5f3a deno run -A examples/deno.ts`
 *
 * On Deno Deploy the file system is not kept: take `memoryStorage()` for a first try only.
 */
import { fileStorage } from "@b24/onappupdate/file-storage";
import { buildApp } from "./app.ts";

const clientSecret = Deno.env.get("CLIENT_SECRET");
const oauthHost = Deno.env.get("OAUTH_HOST");

const app = buildApp({
  storage: fileStorage({ path: Deno.env.get("DATABASE") ?? "portals.db" }),
  clientId: Deno.env.get("CLIENT_ID") ?? "",
  // Without it, access tokens cannot be renewed: nothing calls a portal an hour after its last event.
  ...(clientSecret === undefined ? {} : { clientSecret }),
  // A stand-in for Bitrix24's own, to try things out.
  ...(oauthHost === undefined ? {} : { oauthHosts: [oauthHost] }),
});

await app.start();
const server = Deno.serve({ port: Number(Deno.env.get("PORT") ?? 8000), hostname: "127.0.0.1" }, app.fetch);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, async () => {
    await server.shutdown();
    await app.close();
    Deno.exit(0);
  });
}
