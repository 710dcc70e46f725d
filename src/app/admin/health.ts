/** Reads the figures of an app for operators. */
import { defined } from "../../defined.ts";
import type { AppHealth } from "../../plugin/app_health.ts";
import type { AppRuntime } from "../../plugin/runtime.ts";
import { DEAD_LETTERS, OUTBOX_MESSAGES } from "../../portal/keys.ts";
import { entryTime, listDue } from "../../portal/schedule.ts";
import { listUnverified } from "../../portal/unverified.ts";
import { listKeys } from "../../storage/list_keys.ts";
import type { Key } from "../../storage/storage.ts";

/** Max number of entries of a kind that are counted: a figure that is read every few seconds must not read a whole storage. */
const MAX_COUNTED = 1000;

/** The state of this process. */
export interface ProcessState {
  readonly isRunning: boolean;
  /** In milliseconds since 1970. */
  readonly tickedAt: number | undefined;
}

/** Returns the figures. */
export async function readHealth(
  { storage, clock }: Pick<AppRuntime, "storage" | "clock">,
  { isRunning, tickedAt }: ProcessState,
): Promise<AppHealth> {
  const now = clock();
  const age = (time: number | undefined): number => time === undefined ? 0 : Math.max(0, now - time);

  async function count(prefix: Key): Promise<number> {
    let found = 0;
    for await (const _ of listKeys(storage, prefix, { limit: MAX_COUNTED })) found++;
    return found;
  }

  async function readDue(): Promise<AppHealth["due"]> {
    let entries = 0;
    let earliest: number | undefined;
    for await (const { due } of listDue(storage, now)) {
      earliest ??= entryTime(due);
      if (++entries === MAX_COUNTED) break;
    }
    return { entries, lagMs: age(earliest) };
  }

  async function readUnverified(): Promise<AppHealth["unverified"]> {
    let waiting = 0;
    let portals = 0;
    let oldest: number | undefined;
    for await (const { events } of listUnverified({ storage })) {
      waiting += events.length;
      oldest = Math.min(oldest ?? Infinity, ...events.map(({ receivedAt }) => receivedAt));
      if (++portals === MAX_COUNTED) break;
    }
    return { events: Math.min(waiting, MAX_COUNTED), portals, oldestMs: age(oldest) };
  }

  const [due, unverified, waiting, dead] = await Promise.all([
    readDue(),
    readUnverified(),
    count(OUTBOX_MESSAGES),
    count(DEAD_LETTERS),
  ]);
  return { isRunning, ...defined({ tickedAt }), due, unverified, outbox: { waiting, dead } };
}
