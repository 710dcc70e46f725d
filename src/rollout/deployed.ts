/** The rollout of the version that this code deploys. */
import type { AppRuntime, RolloutGate } from "../plugin/runtime.ts";
import { portalKey } from "../portal/keys.ts";
import type { PortalBlock } from "../portal/portal.ts";
import type { PortalRecord } from "../portal/record.ts";
import { compareVersions } from "../version.ts";
import { refusalOf } from "./gate.ts";
import type { StoredOptions } from "./options.ts";
import type { TargetState } from "./target.ts";
import type { Targets } from "./targets.ts";

/** The rollout of the deployed version. */
export interface DeployedRollout extends Pick<RolloutGate, "heldBlock" | "holdsBack"> {
  /** Resolves to the version that portals wait for, if this code raises their targets to it. */
  readonly waitingFor: () => Promise<string | undefined>;
  /** Resolves to the rollout, which is stored if it is new; `undefined` if code of a higher version has taken over. */
  readonly leading: () => Promise<TargetState | undefined>;
  /** Warns once of portals that the options name and that are not stored. They may install the app later. */
  readonly warnOfUnknown: () => Promise<void>;
}

/** Returns the rollout of the deployed version. `given`: the options of this code; those that are stored hold. */
export function createDeployedRollout(runtime: AppRuntime, targets: Targets, given: StoredOptions): DeployedRollout {
  const { storage, clock, log, versions } = runtime;
  const warned = new Set<string>();
  let isNamedChecked = false;

  /** Resolves to the rollout if it is stored, unless code of a higher version has taken over. */
  async function present(): Promise<TargetState | undefined> {
    const { deployed } = versions;
    if (deployed === undefined) return undefined;
    const all = await targets.all();
    return isLed(all, deployed) ? undefined : all.find(({ target }) => target === deployed);
  }

  /** Two codes with one version and other options: those that are stored hold. */
  function warnIfOther({ target, given: stored }: TargetState): void {
    if (warned.has(target) || isSameOptions(stored, given)) return;
    warned.add(target);
    log.warn("options of the rollout differ from those that hold", {
      ...{ event: "rollout.options_differ", target, stored, given },
      hint: "another deployment of this version has stored its options: change them by app.admin.rollout.set()",
    });
  }

  return {
    waitingFor: async () => {
      const state = await present();
      return state !== undefined && state.state !== "aborted" ? state.target : undefined;
    },
    leading: async () => {
      const { deployed } = versions;
      if (deployed === undefined || isLed(await targets.all(), deployed)) return undefined;
      const state = await targets.ensure(deployed, "deployed", given);
      warnIfOther(state);
      return state;
    },
    heldBlock: async (record) => {
      const state = await present();
      return state && heldBlock(state, record, clock());
    },
    holdsBack: (memberId) => {
      const { deployed } = versions;
      if (deployed === undefined) return false;
      const state = targets.known(deployed);
      return state?.state !== "finished" || state.options.hold.includes(memberId);
    },
    warnOfUnknown: async () => {
      if (isNamedChecked) return;
      const unknown: string[] = [];
      for (const memberId of [...given.first, ...given.hold]) {
        if (await storage.get(portalKey(memberId)) === null) unknown.push(memberId);
      }
      isNamedChecked = true;
      if (unknown.length === 0) return;
      log.warn("rollout names portals that are not stored", {
        ...{ event: "rollout.portals_unknown", memberIds: unknown },
        hint: "first and hold of the option rollout are lists of member_ids",
      });
    },
  };
}

/** Returns whether the rollout of a version above `deployed` is running or finished. */
function isLed(all: readonly TargetState[], deployed: string): boolean {
  return all.some(({ target, kind, state }) =>
    kind === "deployed" && (state === "running" || state === "finished") && compareVersions(target, deployed) > 0
  );
}

/** Returns why a portal is below the deployed version; `undefined` if it is not, or the rollout has raised its target. */
function heldBlock(state: TargetState, record: PortalRecord, now: number): PortalBlock | undefined {
  const { status, version, target, run } = record;
  const isHeld = status === "installed" && run === undefined && version !== undefined && target !== undefined &&
    version === target && compareVersions(version, state.target) < 0;
  if (!isHeld) return undefined;
  const rollout = `the rollout of ${state.target}`;
  const message = state.state === "superseded"
    ? `${rollout} was superseded by that of a higher version`
    : refusalOf(state, record, now)?.why ?? `${rollout} has not come to the portal yet`;
  return { on: "rollout", message, since: state.startedAt };
}

function isSameOptions(a: StoredOptions, b: StoredOptions): boolean {
  const text = (value: unknown): string =>
    JSON.stringify(
      value,
      (_, member) =>
        typeof member === "object" && member !== null && !Array.isArray(member)
          ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => a < b ? -1 : 1))
          : member,
    );
  return text(a) === text(b);
}
