import assert from "node:assert/strict";
import { createApp, type Plugin } from "@b24/onappupdate";
import {
  crashEverywhere,
  type CrashEverywhereOptions,
  type FakeBitrix24,
  fakeBitrix24,
  type FakePortal,
} from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

/** Vouches for installations; everything else claims. */
const claiming: Plugin = {
  name: "claiming",
  phase: "verify",
  around: ({ event }, next) =>
    next(event.name === "ONAPPINSTALL" ? { tokens: { userId: 1, scope: ["crm"] } } : { claims: "always" }),
};

/** A new portal in each execution, and what has run in it. */
interface CrashScene extends Pick<CrashEverywhereOptions, "app" | "fetch" | "reset"> {
  portal: FakePortal;
  readonly ran: Set<string>;
}

function scene(): Required<CrashScene> {
  let bitrix24: FakeBitrix24;
  const ran = new Set<string>();
  const made: Required<CrashScene> = {
    portal: undefined as unknown as FakePortal,
    ran,
    reset: () => {
      bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, accessTokenSeconds: 100 * 365 * 86_400 });
      made.portal = bitrix24.portal({ memberId: MEMBER_ID });
      ran.clear();
    },
    fetch: (request) => bitrix24.fetch(request),
    app: (environment) =>
      createApp({ ...environment, clientId: CLIENT_ID, acknowledge: "stored" }).use(claiming)
        .upgrade("3", () => void ran.add("upgrade 3"))
        .on("ONAPPUPDATE", ({ event }) => void ran.add(`update ${event.data.version}`))
        .on("ONAPPUNINSTALL", ({ event }) => void ran.add(event.data.clean ? "removal, clean" : "removal")),
  };
  return made;
}

describe("a crash while a claim is open", () => {
  it("loses no version", async () => {
    const shared = scene();
    const report = await crashEverywhere({
      ...{ app: shared.app, fetch: shared.fetch, reset: shared.reset, pairs: 20 },
      events: [() => shared.portal.install(2), () => shared.portal.update(3)],
      check: async (app) => {
        const { version, claims } = (await app.portal(MEMBER_ID))!;
        assert.deepEqual([version, claims, [...shared.ran].sort()], ["3.0.0", undefined, ["update 3", "upgrade 3"]]);
      },
    });
    assert(report.executions > 40, JSON.stringify(report));
  });

  it("loses no removal", async () => {
    const shared = scene();
    await crashEverywhere({
      ...{ app: shared.app, fetch: shared.fetch, reset: shared.reset, pairs: 20 },
      events: [() => shared.portal.install(2), () => shared.portal.uninstall()],
      check: async (app) => {
        assert.deepEqual([(await app.portal(MEMBER_ID))!.status, [...shared.ran]], ["uninstalled", ["removal, clean"]]);
      },
    });
  });
});
