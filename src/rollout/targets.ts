/** The rollouts of all targets, as one process knows and changes them. Each is changed by compare-and-set on its key. */
import { coalesce } from "../async/coalesce.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { ROLLOUT_TARGETS, rolloutTargetKey } from "../portal/keys.ts";
import { updateEntry } from "../storage/update.ts";
import { compareVersions } from "../version.ts";
import type { StoredOptions } from "./options.ts";
import { newTarget, readTarget, type TargetState } from "./target.ts";

/** Time (ms) that a process relies on what it has read. */
const KNOWN_MS = 1000;

/** The rollouts, as one process knows them. */
export interface Targets {
  /** Resolves to all rollouts, the lowest target first; at most a second old. */
  readonly all: () => Promise<readonly TargetState[]>;
  /** Resolves to the rollout of a target; at most a second old. */
  readonly get: (target: string) => Promise<TargetState | undefined>;
  /** Returns the rollout of a target as this process last read it. */
  readonly known: (target: string) => TargetState | undefined;
  /** Resolves to the rollout of a target. Stores a new one if there is none. */
  readonly ensure: (target: string, kind: TargetState["kind"], options: StoredOptions) => Promise<TargetState>;
  /**
   * Changes the rollout of a target. `change` may run several times; it returns `undefined` if there is nothing to change.
   *
   * @throws the error of `change`
   */
  readonly change: (
    target: string,
    change: (state: TargetState | undefined) => TargetState | undefined,
  ) => Promise<TargetState | undefined>;
  /** Makes the next read go to the storage. */
  readonly forget: () => void;
}

/** Returns the rollouts of a storage. */
export function createTargets({ storage, time, clock }: Pick<AppRuntime, "storage" | "time" | "clock">): Targets {
  const states = new Map<string, TargetState>();
  const reads = new Map<string, Promise<void>>();
  let readAt = -Infinity;

  async function read(): Promise<void> {
    const startedAt = time.monotonic();
    const found = new Map<string, TargetState>();
    for await (const entry of storage.list<TargetState>(ROLLOUT_TARGETS)) {
      const state = readTarget(entry)!;
      found.set(state.target, state);
    }
    states.clear();
    for (const [target, state] of found) states.set(target, state);
    readAt = startedAt;
  }

  async function refresh(): Promise<void> {
    if (time.monotonic() - readAt >= KNOWN_MS) await coalesce(reads, "targets", read);
  }

  async function change(
    target: string,
    apply: (state: TargetState | undefined) => TargetState | undefined,
  ): Promise<TargetState | undefined> {
    const key = rolloutTargetKey(target);
    const entry = await updateEntry<TargetState>(storage, key, (entry) => apply(readTarget(entry)));
    if (entry !== null) states.set(target, entry.value);
    return entry?.value;
  }

  return {
    all: async () => {
      await refresh();
      return [...states.values()].sort((a, b) => compareVersions(a.target, b.target));
    },
    get: async (target) => {
      await refresh();
      return states.get(target);
    },
    known: (target) => states.get(target),
    ensure: async (target, kind, options) => {
      await refresh();
      return states.get(target) ??
        (await change(target, (state) => state ?? newTarget(target, kind, options, clock())))!;
    },
    change,
    forget: () => void (readAt = -Infinity),
  };
}
