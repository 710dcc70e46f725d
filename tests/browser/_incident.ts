/** An incident: an upgrade fails on each portal, until somebody repairs what it needs. */
import { type App, createApp, memoryStorage } from "@b24/onappupdate";
import { fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { CLIENT_ID, post, quietLogger, trustAll } from "../support/app.ts";

/** An app whose rollout pauses by itself. */
export interface Incident {
  readonly app: App;
  /** Number of portals, of which 40 fail before the rollout pauses. */
  readonly count: number;
  /** Installs the old version, and begins the rollout. Resolves when it has paused. */
  readonly begin: () => Promise<void>;
  /** Repairs what the upgrade needs. */
  readonly repair: () => void;
  /** All tokens that the app has received. */
  readonly secrets: () => string[];
}

/** Returns an app with portals that fail. */
export function incident(count = 45): Incident {
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
  let isBroken = true;
  const app = createApp({
    ...{ storage: memoryStorage(), clientId: CLIENT_ID, fetch: bitrix24.fetch, logger: quietLogger },
    ...{ acknowledge: "handled", checks: false, tickEveryMs: 1000, retry: { maxAttempts: 1 } },
    rollout: { pauseWhen: { failed: 40 } },
  }).use(trustAll)
    .upgrade("3", async ({ step }) => {
      await step("convert lists", () => {
        if (isBroken) throw new Error('list "orders <script>alert(1)</script>" is not there');
      });
    });
  const portals: FakePortal[] = Array.from({ length: count }, (_, i) =>
    bitrix24.portal({
      memberId: (i + 1).toString(16).padStart(32, "0"),
      domain: `customer-${i + 1}.bitrix24.example`,
    }));
  const secrets = new Set<string>();
  const deliver = async (body: string): Promise<void> => {
    for (const [name, value] of new URLSearchParams(body)) if (/token/.test(name)) secrets.add(value);
    await (await app.fetch(post(body))).body?.cancel();
  };
  return {
    ...{ app, count },
    begin: async () => {
      for (const portal of portals) await deliver(portal.install(2));
      for (const portal of portals) await deliver(portal.update(3));
      await app.settled();
    },
    repair: () => void (isBroken = false),
    secrets: () => [...secrets],
  };
}
