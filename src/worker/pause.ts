/** The pause of all work on portals. It is stored, so that it holds in every process, also in those that start later. */
import { coalesce } from "../async/coalesce.ts";
import { FormatError } from "../errors.ts";
import type { Pause } from "../plugin/admin_reports.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { PAUSE } from "../portal/keys.ts";
import { isUnreadable } from "../storage/unreadable.ts";

interface StoredPause extends Pause {
  readonly format: typeof PAUSE_FORMAT;
}

/** Raised if older code would misread a pause. */
const PAUSE_FORMAT = 1;

/** Stands for a pause that newer code has stored, or whose encryption key is missing. */
const UNREADABLE: Omit<Pause, "since"> = { by: "unknown", reason: "the stored pause cannot be read" };

/** Time (ms) that a process relies on what it has read. */
const KNOWN_MS = 5000;

/** The pause, as one app reads and changes it. */
export interface PauseSwitch {
  /**
   * Resolves to the pause; `undefined` if the app is not paused. At most five seconds old; the last known one if the storage
   * fails.
   */
  readonly current: () => Promise<Pause | undefined>;
  /** Returns whether the app was paused when this process last looked. */
  readonly wasPaused: () => boolean;
  /** As `wasPaused`. Looks again, in the background, if that was more than five seconds ago. */
  readonly isPaused: () => boolean;
  /** Stores a pause, or its end, which holds in this process at once and in others five seconds later at the latest. */
  readonly set: (pause: Pause | undefined) => Promise<void>;
}

/** Returns the switch of an app. */
export function createPauseSwitch(
  { storage, clock, time, log }: Pick<AppRuntime, "storage" | "clock" | "time" | "log">,
): PauseSwitch {
  const reads = new Map<string, Promise<void>>();
  let known: Pause | undefined;
  let readAt = -Infinity;

  async function read(): Promise<void> {
    try {
      const entry = await storage.get<StoredPause>(PAUSE);
      if (entry !== null && entry.value.format !== PAUSE_FORMAT) {
        throw new FormatError("the pause", entry.value.format, PAUSE_FORMAT);
      }
      note(entry?.value);
    } catch (err) {
      log.warn("failed to read whether the app is paused", { event: "pause.read_failed", err });
      // There is one, whatever it says.
      if (isUnreadable(err)) note(known ?? { ...UNREADABLE, since: clock() });
    }
  }

  function note(pause: Pause | undefined): void {
    if ((pause === undefined) !== (known === undefined)) {
      const { by, reason } = pause ?? known!;
      log.warn(pause ? "app paused" : "app resumed", { event: pause ? "app.paused" : "app.resumed", by, reason });
    }
    known = pause;
    readAt = time.monotonic();
  }

  const isKnown = (): boolean => time.monotonic() - readAt < KNOWN_MS;
  const refresh = (): Promise<void> => coalesce(reads, "pause", read);

  return {
    current: async () => {
      if (!isKnown()) await refresh();
      return known;
    },
    wasPaused: () => known !== undefined,
    isPaused: () => {
      if (!isKnown()) void refresh();
      return known !== undefined;
    },
    set: async (pause) => {
      if (pause === undefined) await storage.delete(PAUSE);
      else await storage.put<StoredPause>(PAUSE, { format: PAUSE_FORMAT, ...pause });
      note(pause);
    },
  };
}
