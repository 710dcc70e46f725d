/** Asks Bitrix24 about portals: an update may come without an event, and a portal may get no events at all. */
import { B24Error } from "../bitrix24/b24_error.ts";
import type { AppCredentials } from "../credentials/provider.ts";
import { NoCredentialsError } from "../errors.ts";
import { withExtensions } from "../plugin/pipeline.ts";
import type { Plugin } from "../plugin/plugin.ts";
import { type AppRuntime, eventLog, notify } from "../plugin/runtime.ts";
import { withPortalLease } from "../portal/exclusive.ts";
import { loadPortal, type PortalRecord, readRecord, snapshot } from "../portal/record.ts";
import { portalKey } from "../portal/keys.ts";
import { commitEntry, reserveEntry, withNextDelivery } from "../portal/schedule.ts";
import { redactError } from "../redact.ts";
import { blockedReasonOf, unitHash } from "../retry.ts";
import { updateEntry } from "../storage/update.ts";
import { raiseTarget, syntheticUpdateEvent } from "./missed_updates.ts";

/** How often Bitrix24 is asked about a portal of which no event told. */
export interface CheckPolicy {
  /** Milliseconds between two checks that contacts of a portal cause; default 900000, 15 minutes. */
  readonly afterContactMs: number;
  /** Milliseconds of silence after which `tick()` checks a portal; default 604800000, a week. Needs `clientSecret`. */
  readonly silentPortalMs: number;
}

/** Something that keeps a portal from getting events, or from its version. */
export interface CheckProblem {
  /**
   * `uninstalled`, `not_installed` (no events come before the app's installer calls `installFinish`), `payment`,
   * `authorization`, `scope`, `configuration`, or the name of the plugin that found it.
   */
  readonly code: string;
  /** For people, without tokens. */
  readonly message: string;
}

/** What `app.check` found out. */
export interface CheckReport {
  /** The portal. */
  readonly memberId: string;
  /** Version that Bitrix24 says is installed, as the app's scheme reads it; absent where that could not be found out. */
  readonly installed?: string;
  /** Version that the portal's data is on. */
  readonly version?: string;
  /** Version that it should be on. */
  readonly target?: string;
  /** The target has risen by this check. */
  readonly isRaised: boolean;
  /** `L` local, `F` free, `D` demo, `T` trial, `P` paid, `S` subscription; absent where it could not be found out. */
  readonly status?: string;
  /** What the portal lets the app do; absent where it could not be found out. */
  readonly scope?: readonly string[];
  /** Why the portal gets no events, or does not reach its version; empty when all is well. */
  readonly problems: readonly CheckProblem[];
}

/** Checks portals. */
export interface Checks {
  /**
   * @throws {UnknownPortalError} when the portal is not stored
   * @throws {UnreachableError} when no OAuth host answers
   */
  readonly check: (memberId: string) => Promise<CheckReport>;
  /** After a contact: checks the portal; `undefined` when that was done lately. Never rejects. */
  readonly afterContact: (memberId: string) => Promise<void> | undefined;
  /**
   * After an event that nobody could verify, and that does not come again: has a stored portal checked in an hour.
   * `undefined` when that was done lately. Never rejects.
   */
  readonly afterUnverified: (memberId: string) => Promise<void> | undefined;
  /** When silence is to be broken, in milliseconds since 1970; `undefined`: never. */
  readonly dueAt: (record: PortalRecord) => number | undefined;
  /** The same as `check`, at a visit: never rejects, and remembers that it was tried. */
  readonly underLease: (memberId: string) => Promise<void>;
  /** Resolves when no check is under way. */
  readonly idle: () => Promise<void>;
}

/** After one that failed, in milliseconds. */
const AGAIN_MS = 60 * 60 * 1000;
/** How often, and how far apart in milliseconds, a portal that plugins are to check is tried to be had. */
const HOLD_ATTEMPTS = 20;
const HOLD_MS = 100;
/** Portals of which this process remembers when it checked them. */
const REMEMBERED = 10_000;

/** What checks are made with. */
export interface ChecksOptions {
  readonly core: AppRuntime;
  readonly access: AppCredentials;
  readonly policy: CheckPolicy | undefined;
  /** Tokens of portals that were silent can be renewed. */
  readonly canRefresh: boolean;
  /** Has the work of a portal begun. */
  readonly wake: (memberId: string) => void;
}

/** The checks of an app; without a policy, none but those that are asked for. */
export function createChecks({ core, access, policy, canRefresh, wake }: ChecksOptions): Checks {
  const { storage, clock } = core;
  const underWay = new Set<Promise<unknown>>();
  const lately = new Map<string, number>();

  /** `isHeld`: whoever asks has the portal. */
  async function check(memberId: string, isHeld: boolean): Promise<CheckReport> {
    const before = await loadPortal(storage, memberId);
    const problems: CheckProblem[] = [];
    if (before.status === "uninstalled") {
      const problem = { code: "uninstalled", message: "the app was removed from the portal" };
      return report(before, { isRaised: false, problems: [problem] });
    }
    try {
      const info = await access.inspect(memberId);
      const installed = info.version === undefined ? undefined : read(info.version);
      if (!info.isInstalled) {
        const message = "the app is not installed to its end; no events come before its installer calls installFinish";
        problems.push({ code: "not_installed", message });
      }
      const isRaised = installed !== undefined && await raiseTarget(core, memberId, installed);
      const record = await loadPortal(storage, memberId);
      // Under a visit's lease, or else under one of their own: what they compare with must not change meanwhile.
      const found = isHeld ? await pluginProblems(record, core.signal) : await pluginsOf(memberId);
      if (isRaised || (before.blocked !== undefined && record.blocked === undefined)) wake(memberId);
      const waits = waitProblems(await loadPortal(storage, memberId));
      problems.push(...waits, ...found.filter(({ code }) => code !== waits[0]?.code));
      const { scope, status } = info;
      return report(await loadPortal(storage, memberId), {
        ...{ isRaised, problems, scope },
        ...(installed === undefined ? {} : { installed }),
        ...(status === undefined ? {} : { status }),
      });
    } catch (error) {
      if (!(error instanceof NoCredentialsError || error instanceof B24Error) || error.blockedOn === undefined) {
        throw error;
      }
      return report(await loadPortal(storage, memberId), {
        isRaised: false,
        problems: [{ code: error.blockedOn, message: error.message }],
      });
    }
  }

  function read(raw: string): string | undefined {
    // What the running code says counts for a local app, whose VERSION says nothing.
    if (core.versions.deployed !== undefined) return core.versions.deployed;
    try {
      return core.versions.parse(raw);
    } catch (error) {
      core.log.warn("the version that is installed cannot be read", { error });
      return undefined;
    }
  }

  const asked = (): readonly Plugin[] => core.plugins.filter(({ check }) => check !== undefined);

  /** What plugins find while no worker is at the portal: one that goes on being worked on is left to its run. */
  async function pluginsOf(memberId: string): Promise<readonly CheckProblem[]> {
    if (asked().length === 0) return [];
    for (let attempt = 0; attempt < HOLD_ATTEMPTS; attempt++) {
      if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, HOLD_MS));
      const found = await withPortalLease({ ...core, wake }, memberId, async (held) => {
        const signal = AbortSignal.any([core.signal, held.signal]);
        return await pluginProblems(held.record(), signal);
      });
      if (found !== undefined) return found.result;
    }
    core.log.info("plugins do not check a portal that is being worked on", { memberId });
    return [];
  }

  /** What plugins find, each asked in the context of an event that did not come. */
  async function pluginProblems(record: PortalRecord, signal: AbortSignal): Promise<CheckProblem[]> {
    const event = syntheticUpdateEvent(record, record.target ?? record.version ?? "", clock());
    const context = {
      event,
      receivedAt: clock(),
      portal: snapshot(record),
      log: eventLog(core, event),
      signal,
    };
    const found: CheckProblem[] = [];
    await withExtensions(core.plugins, context, async (context) => {
      for (const { name, check } of asked()) {
        try {
          for (const message of await check!(context)) found.push({ code: name, message });
        } catch (error) {
          const { message } = redactError(error, []);
          found.push({ code: blockedReasonOf(error) ?? name, message: `${name} could not be checked: ${message}` });
        }
      }
    });
    return found;
  }

  /** Checks, and remembers also a failure, so that the next one comes later. */
  async function attempt(memberId: string, isHeld: boolean): Promise<void> {
    // A refusal is an answer.
    let isAnswered = false;
    try {
      const { problems, isRaised } = await check(memberId, isHeld);
      isAnswered = true;
      const codes = problems.map(({ code }) => code);
      core.log[problems.length === 0 ? "info" : "warn"]("portal checked", { memberId, isRaised, problems: codes });
      notify(core, "portalChecked", { memberId, isRaised, problems });
    } catch (error) {
      core.log.warn("a portal could not be checked; it is tried again", { memberId, error: redactError(error, []) });
    }
    try {
      const at = clock();
      await updateEntry<PortalRecord>(storage, portalKey(memberId), (entry) => {
        const record = readRecord(entry);
        // Somebody has asked, and been answered.
        if (record === undefined || (record.check?.at ?? 0) >= at - 1000) return record;
        return { ...record, check: isAnswered ? { at } : { at, hasFailed: true } };
      });
    } catch (error) {
      core.log.warn("that a portal was checked could not be stored", { memberId, error });
    }
  }

  function tracked<T>(work: Promise<T>): Promise<T> {
    underWay.add(work);
    const done = (): boolean => underWay.delete(work);
    work.then(done, done);
    return work;
  }

  /** Whether the portal was not looked at for a while in this process, and is now. */
  function isTurn(memberId: string, everyMs: number): boolean {
    const now = clock();
    if (now - (lately.get(memberId) ?? -Infinity) < everyMs) return false;
    if (lately.size >= REMEMBERED) lately.clear();
    lately.set(memberId, now);
    return true;
  }

  async function checkSoon(memberId: string): Promise<void> {
    const now = clock();
    const read = await storage.get<PortalRecord>(portalKey(memberId));
    const known = readRecord(read);
    if (known?.status !== "installed" || known.tokens === undefined) return;
    const plan = await reserveEntry(core, memberId, now + AGAIN_MS, read);
    await commitEntry(
      core,
      plan,
      (record, due) => record && withNextDelivery({ ...record, check: { at: now, hasFailed: true } }, due),
    );
  }

  return {
    check: (memberId) => tracked(check(memberId, false)),
    afterContact: (memberId) => {
      if (policy === undefined || !isTurn(memberId, policy.afterContactMs)) return undefined;
      const now = clock();
      return tracked((async () => {
        try {
          const record = await loadPortal(storage, memberId);
          const isRecent = record.check !== undefined && now - record.check.at < policy.afterContactMs;
          if (record.status === "installed" && record.tokens !== undefined && !isRecent) {
            await attempt(memberId, false);
          }
        } catch (error) {
          core.log.warn("a portal could not be checked after a contact", { memberId, error });
        }
      })());
    },
    afterUnverified: (memberId) => {
      if (policy === undefined || !canRefresh || !isTurn(`doubt ${memberId}`, AGAIN_MS)) return undefined;
      return tracked(
        checkSoon(memberId).catch((error) =>
          core.log.warn("a check of a portal whose event could not be verified could not be planned", {
            memberId,
            error,
          })
        ),
      );
    },
    dueAt: (record) => {
      if (policy === undefined || !canRefresh || record.status !== "installed" || record.tokens === undefined) {
        return undefined;
      }
      const { check, latestTs, memberId } = record;
      if (check?.hasFailed) return check.at + AGAIN_MS;
      // Not all at once, where many were installed at once.
      const heard = Math.max(latestTs * 1000, check?.at ?? 0);
      return Math.floor(heard + policy.silentPortalMs * (0.9 + 0.2 * unitHash(memberId)));
    },
    underLease: (memberId) => tracked(attempt(memberId, true)),
    idle: async () => {
      while (underWay.size > 0) await Promise.allSettled(underWay);
    },
  };
}

function waitProblems({ blocked }: PortalRecord): CheckProblem[] {
  return blocked === undefined ? [] : [{ code: blocked.on, message: blocked.message }];
}

function report(
  { memberId, version, target }: PortalRecord,
  found: Omit<CheckReport, "memberId" | "version" | "target">,
): CheckReport {
  return {
    memberId,
    ...(version === undefined ? {} : { version }),
    ...(target === undefined ? {} : { target }),
    ...found,
  };
}
