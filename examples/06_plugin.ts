/**
 * A custom plugin: it notifies a chat of finished and failed upgrades. Run it with `deno task example 6`.
 */
// deno-lint-ignore-file no-console
import { type App, type AppOptions, createApp, memoryStorage, type Plugin } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { fakeBitrix24 } from "@b24/onappupdate/testing";

/** Members that the plugin adds to the context of handlers. */
interface Notifications {
  /** Sends a text. Nobody waits for it, and a failure is only logged. */
  readonly notify: (text: string) => void;
}

export function notifications(send: (text: string) => Promise<void>): Plugin<object, Notifications> {
  return {
    name: "notifications",
    adds: ["notify"],
    extend: ({ event, log }) => ({
      // Not awaited: a chat that is down must not park the customer's upgrade.
      notify: (text) => void send(`${event.auth.domain}: ${text}`).catch((err) => log.warn("not sent", { err })),
    }),
    observe: {
      portalUpgraded: ({ memberId, from, to }) => send(`${memberId} was upgraded from ${from} to ${to}`),
      portalParked: ({ memberId, error }) => send(`${memberId} needs an operator: ${error.message}`),
    },
  };
}

export function buildApp(options: AppOptions, send: (text: string) => Promise<void>): App<Notifications> {
  return createApp(options)
    .use(applicationToken())
    .use(notifications(send))
    .upgrade("3.0.0", ({ notify }) => notify("the new report is ready"));
}

if (import.meta.main) {
  const bitrix24 = fakeBitrix24({ clientId: "app.5f3a" });
  const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });
  const app = buildApp(
    { storage: memoryStorage(), clientId: "app.5f3a", acknowledge: "handled", fetch: bitrix24.fetch },
    (text) => Promise.resolve(console.log(text)),
  );
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  for (const send of [() => portal.install(2), () => portal.update(3)]) {
    await app.fetch(new Request("http://localhost/", { method: "POST", body: send(), headers }));
  }
  await app.close();
}
