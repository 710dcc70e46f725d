/**
 * The life of an app with an install wizard: installed and updated without any event. A fake Bitrix24 plays the portal and
 * the user's browser: `deno task example 5`
 */
// deno-lint-ignore-file no-console
import { createApp, memoryStorage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { openingPage } from "@b24/onappupdate/opening-page";
import { fakeBitrix24 } from "@b24/onappupdate/testing";

const bitrix24 = fakeBitrix24({ clientId: "app.5f3a2b1c" });
const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });

const app = createApp({ storage: memoryStorage(), clientId: "app.5f3a2b1c", fetch: bitrix24.fetch })
  .use(applicationToken())
  .on("ONAPPINSTALL", ({ event }) => console.log(`handler: installed at ${event.data.version}`))
  .upgrade("3", () => console.log("handler: upgrade to 3"));

const page = openingPage({
  app,
  page: (_request, { portal, isAdmin }) => new Response(`the app at ${portal.version}, for admins: ${isAdmin}`),
});

/** Opens the app as a user, as often as the page asks for it, and prints what the user sees. */
async function open(options: { readonly userId?: number } = {}): Promise<void> {
  const html = await (await page(portal.open(options))).text();
  const [, status = html] = /role="status"[^>]*>([^<]*)</.exec(html) ?? [];
  console.log(`user ${options.userId ?? 1} sees: ${status}`);
}

/** Waits until the app has done its work; the page in the browser asks by its ticket. */
async function untilReady(): Promise<void> {
  while (true) {
    const { ticket } = await app.open(portal.open());
    if (ticket === undefined || (await app.opening(ticket))?.upgrade.state === "current") return;
    await new Promise((next) => setTimeout(next, 50));
  }
}

portal.install(2, { wizard: true }); // Bitrix24 sends no event before BX24.installFinish()
await open({ userId: 7 }); // not an administrator
await open();
await untilReady();
portal.installFinish(); // the page calls it in the browser
await open();

portal.update(3, { wizard: true });
await open();
await untilReady();
portal.installFinish();
await open();
await open({ userId: 7 });

await app.close();
