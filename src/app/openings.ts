/** Openings of the app's page: what a page learns of its portal, and the tickets by which it asks again. */
import { createDeadline } from "../async/deadline.ts";
import { createThrottle } from "../async/throttle.ts";
import { CLOUD_ORIGINS } from "../bitrix24/hosts.ts";
import type { ProfileReader } from "../bitrix24/profile.ts";
import type { OAuthClient } from "../bitrix24/oauth_client.ts";
import { checkOptions, option, type OptionRules } from "../check_options.ts";
import { defined } from "../defined.ts";
import { CannotVerifyError, OnAppUpdateError } from "../errors.ts";
import { isOutage } from "../intake/http.ts";
import { type AcceptedOpening, createOpeningIntake } from "../intake/open.ts";
import { createOpeningVerifier } from "../intake/verify_opening.ts";
import type { Admin } from "../plugin/admin.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { portalKey } from "../portal/keys.ts";
import type { Portal } from "../portal/portal.ts";
import { type PortalRecord, readRecord, snapshot } from "../portal/record.ts";
import { entryTime, schedulePortal } from "../portal/schedule.ts";
import type { Secret } from "../secret.ts";
import type { Upgrade } from "../upgrade/definition.ts";
import type { Verifier } from "../verify/verifier.ts";
import type { Checks } from "../worker/checks.ts";
import { raiseTarget } from "../worker/missed_updates.ts";
import { type UpgradeStatus, upgradeStatus } from "../worker/upgrade_status.ts";
import type { Worker } from "../worker/worker.ts";
import { BY_PORTAL } from "./admin/attribution.ts";
import { assertRequest, keepAlive } from "./dispatch.ts";
import type { Lifecycle } from "./lifecycle.ts";
import { createTickets } from "./tickets.ts";
import type { Settings } from "./settings.ts";

/** A verified opening of the app's page by a user of a portal. */
export interface Opening {
  /** The portal's `member_id`. */
  readonly memberId: string;
  /** The portal after the opening. It is not stored if another user than an administrator opens an app whose installation is not finished. */
  readonly portal: Portal;
  /** Id of the user on the portal; absent if Bitrix24 does not say. */
  readonly userId?: number;
  /** The portal says that the user is an administrator. `false` also if the portal does not answer. */
  readonly isAdmin: boolean;
  /** `false` until the installer of the app, or of its new version, has called `BX24.installFinish()`. */
  readonly isInstalled: boolean;
  /** The app did not know the portal, or knew it as removed. */
  readonly isNew: boolean;
  /** Language of the user's interface, such as `de`; absent if the browser did not send it. */
  readonly language?: string;
  /** `DEFAULT` for the app itself, otherwise the code of the placement. Not verified, as all that the browser sends. */
  readonly placement: string;
  /** Options of the placement, such as the id of the deal; empty if there are none. Not verified. */
  readonly placementOptions: Readonly<Record<string, unknown>>;
  /** Id of the user's session with the app; absent if the browser did not send it. Not verified. */
  readonly appSid?: Secret;
  /** Whether the portal is on its target. */
  readonly upgrade: UpgradeStatus;
  /**
   * A random string for `app.opening()`, valid for an hour, or for a day while it is used; absent if there is nothing to wait for. The page may contain it:
   * it identifies neither the portal nor the user to others.
   */
  readonly ticket?: string;
  /** Origins that may embed the page, Bitrix24's cloud and the portal, for `frame-ancestors` of a Content-Security-Policy. */
  readonly frameAncestors: readonly string[];
}

/** The present state of an opened page. */
export type OpeningState = Pick<Opening, "isAdmin" | "isInstalled" | "language" | "upgrade">;

/** Options of `app.opening`. */
export interface OpeningOptions {
  /**
   * If the portal is parked or blocked and the page belongs to an administrator, retries it as `admin.retry` does: at most
   * once a minute in a process, because each retry is in the audit log. Within that minute, it does nothing.
   *
   * @default false
   */
  readonly retry?: boolean;
}

const ticketRule = option.required(
  option.value("the ticket of an opening", (ticket) => typeof ticket === "string", { isSecret: true }),
);

const OPENING_RULES: OptionRules<OpeningOptions> = { retry: option.flag() };

/** Minimum time (ms) between two retries of a portal from its page: a user who opens it often could fill the audit log. */
const RETRY_INTERVAL_MS = 60_000;

/** The parts of an app that openings use. */
export interface OpeningsOptions extends Pick<Settings, "limits" | "keys" | "oauthHosts"> {
  readonly runtime: AppRuntime;
  readonly upgrades: readonly Upgrade[];
  readonly lifecycle: Lifecycle;
  readonly verifier: Verifier;
  readonly worker: Worker;
  readonly checks: Checks;
  readonly appInfo: OAuthClient["appInfo"];
  readonly isAdministrator: ProfileReader;
  /** Retries a portal; see `Admin.retry`. */
  readonly retry: Admin["retry"];
}

/** Codes of errors by which a retry is refused. */
const REFUSALS: ReadonlySet<string> = new Set(["rollback_unfinished", "unknown_portal"]);

/** `app.open` and `app.opening`. */
export interface Openings {
  readonly open: (request: Request, ...platform: unknown[]) => Promise<Opening>;
  readonly opening: (ticket: string, options?: OpeningOptions) => Promise<OpeningState | undefined>;
}

/** Returns the openings of an app. */
export function createOpenings(options: OpeningsOptions): Openings {
  const { runtime, upgrades, lifecycle, worker, checks, limits } = options;
  const { storage, clock, log } = runtime;
  const tickets = createTickets(runtime);
  const retried = createThrottle(clock);
  const accept = createOpeningIntake({
    ...{ runtime, limits, bodyDeadline: createDeadline(runtime.time, limits.bodyTimeoutMs) },
    reserve: worker.reserve,
    schedule: (memberId) => schedulePortal(runtime, memberId, { at: clock() }),
    raiseTarget: (memberId, version) => raiseTarget(runtime, memberId, version),
    verify: createOpeningVerifier({
      ...{ runtime, appInfo: options.appInfo, budget: options.verifier.budget, oauthHosts: options.oauthHosts },
      ...defined({ clientId: options.keys.clientId }),
      isAdministrator: options.isAdministrator,
    }),
  });

  async function start(): Promise<void> {
    await lifecycle.start();
    if (!lifecycle.isRunning()) throw new CannotVerifyError("the app is not running");
  }

  async function accepted(request: Request): Promise<AcceptedOpening> {
    try {
      await start();
      return await accept(request);
    } catch (err) {
      const level = isOutage(err as Error) ? "warn" : "info";
      log[level]("opening refused", { event: "opening.refused", err });
      throw err;
    }
  }

  /** Retries a portal. Returns whether it may be: an operator has to finish its rollback first, or has erased it meanwhile. */
  async function retry(memberId: string): Promise<boolean> {
    try {
      await options.retry(memberId, BY_PORTAL);
    } catch (error) {
      if (error instanceof OnAppUpdateError && REFUSALS.has(error.code)) return false;
      throw error;
    }
    log.info("retry from an opened page", { event: "opening.retried", memberId });
    return true;
  }

  return {
    open: async (request, ...platform) => {
      assertRequest("cannot open", request);
      const found = await accepted(request);
      const {
        opening: { language, accessToken },
        info: { memberId, userId, isInstalled },
        isAdmin,
        isNew,
        record,
        delivery,
      } = found;
      const fields = { memberId, ...defined({ userId }), isAdmin, isNew, isInstalled };
      log.debug("app opened", { event: "opening.verified", ...fields });
      if (delivery !== undefined) keepAlive(platform, worker.work(delivery).end);
      else if (found.hasWork) keepAlive(platform, worker.process(memberId));
      const upgrade = isInstalled || isAdmin ? await upgradeStatus(runtime, upgrades, record) : WAITS_FOR_ADMINISTRATOR;
      if (isInstalled && upgrade.state !== "upgrading") keepAlive(platform, checks.afterOpening(memberId));
      const hasToWait = !isInstalled || !(upgrade.state === "current" || upgrade.state === "held");
      const ticket = hasToWait
        ? await tickets.issue({ memberId, isAdmin, isInstalled, ...defined({ language }) }, accessToken)
        : undefined;
      return { ...describe(found), upgrade, ...defined({ ticket }) };
    },
    opening: async (ticket, given = {}) => {
      checkOptions("cannot find an opening", { ticket }, { ticket: ticketRule });
      checkOptions("cannot find an opening", given, OPENING_RULES);
      const { retry: isRetry = false } = given;
      await start();
      const found = await tickets.find(ticket);
      if (found === undefined) return undefined;
      const { memberId, ...state } = found;
      if (!state.isInstalled && !state.isAdmin) return { ...state, upgrade: WAITS_FOR_ADMINISTRATOR };
      const record = readRecord(await storage.get<PortalRecord>(portalKey(memberId)));
      if (record === undefined) return undefined;
      const upgrade = await upgradeStatus(runtime, upgrades, record);
      const isStuck = upgrade.state === "parked" || upgrade.state === "blocked";
      if (isRetry && state.isAdmin && isStuck && !retried.isHeld(memberId)) {
        retried.hold(memberId, clock() + RETRY_INTERVAL_MS);
        if (await retry(memberId)) return { ...state, upgrade: { state: "upgrading" } };
      }
      // Hosts without timers continue the work when the page asks.
      if (record.due !== undefined && entryTime(record.due) <= clock()) worker.process(memberId);
      return { ...state, upgrade };
    },
  };
}

function describe(
  { opening, info, isAdmin, isNew, record }: AcceptedOpening,
): Omit<Opening, "upgrade" | "ticket"> {
  const { language, placement, placementOptions, appSid } = opening;
  const { memberId, userId, isInstalled, clientEndpoint } = info;
  const own = clientEndpoint === undefined ? [] : [new URL(clientEndpoint).origin];
  return {
    ...{ memberId, portal: snapshot(record), isAdmin, isInstalled, isNew, placement, placementOptions },
    frameAncestors: [...CLOUD_ORIGINS, ...own],
    ...defined({ userId, language, appSid }),
  };
}

const WAITS_FOR_ADMINISTRATOR: UpgradeStatus = {
  state: "blocked",
  message: "the installation is not finished: an administrator of the portal has to open the app",
};
