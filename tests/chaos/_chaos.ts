/** Worker processes over one storage, events in any order, and kills, pauses, wrong clocks and outages. */
import { createApp } from "@b24/onappupdate";
import { setTimeout as sleep } from "node:timers/promises";
import { trustAll } from "../support/app.ts";
import { waitFor } from "../support/test.ts";
import { until } from "../support/until.ts";
import { measurePace, startWorkers, untilReachable, type Workers } from "./_workers.ts";
import type { ProcessHistory } from "./_check_effects.ts";
import { type Downtime, simulateOutage } from "./_outages.ts";
import { type ChaosOptions, type ChaosPlan, LEASE_MS, planChaos, WORKERS } from "./_plan.ts";
import { createSender, type Sender } from "./_sender.ts";
import { openStorage, type Place, placeFor } from "./_storages.ts";
import { checkPortal, type Sent, unfinishedWork } from "./_check_portal.ts";
import { type EffectsLog, startEffectsLog } from "./_effects_log.ts";

/** The result of a run. */
export interface ChaosReport {
  /** Problems, one line each. */
  readonly problems: readonly string[];
  /** Number of requests, and of those answered with 200, with 503, and not at all. */
  readonly requests: number;
  readonly acknowledged: number;
  readonly refused: number;
  readonly unanswered: number;
  readonly kills: number;
  readonly pauses: number;
  readonly outages: number;
  /** Workers with a clock offset of more than a minute. */
  readonly skewed: number;
  /** Portals that removed the app in the end, and that installed it again. */
  readonly removed: number;
  readonly returned: number;
  readonly effects: number;
  /** Repeated effects. */
  readonly repeated: number;
  /** Effects that were refused because of a higher fencing token. */
  readonly late: number;
  readonly settledAfterMs: number;
}

/** Runs the chaos, waits until all work is done, and checks the result. */
export async function chaos(options: ChaosOptions): Promise<ChaosReport> {
  const plan = planChaos(options, Date.now());
  const place = await placeFor(options.storage);
  const log = await startEffectsLog();
  let workers: Workers | undefined;
  try {
    const members = { count: WORKERS, place, log, skewOf: plan.skewOf };
    const pace = await measurePace(members);
    workers = startWorkers({ ...members, pace });
    await untilReachable(workers);
    const start = Date.now();
    const sender = createSender(workers, start, pace);
    const sending = sender.sendAll(plan.sendings);
    sending.catch(() => {});
    const downtimes = await disturb(plan, { start, pace, chaosMs: options.chaosMs }, place, workers);
    await workers.replaceAll(LATER_MS);
    return await settle({ plan, pace, place, log, workers, sender, sending, downtimes });
  } finally {
    await workers?.stop();
    await log.close();
    await place.remove();
  }
}

/** Longer than every lease and delay, by every clock. */
const LATER_MS = 6 * 60_000;

async function disturb(
  { disturbances, outages }: ChaosPlan,
  { start, pace, chaosMs }: { readonly start: number; readonly pace: number; readonly chaosMs: number },
  place: Place,
  workers: Workers,
): Promise<Downtime[]> {
  const at = (ms: number): Promise<void> => sleep(Math.max(0, start + ms * pace - Date.now()));
  const downtimes: Downtime[] = [];
  const runOutages = async (): Promise<void> => {
    for (const outage of outages) {
      await at(outage.at);
      downtimes.push(await simulateOutage(outage.kind, outage.ms * pace, place, workers));
    }
  };
  const runDisturbance = async (
    { at: ms, kind, worker, ms: pauseMs }: ChaosPlan["disturbances"][number],
  ): Promise<void> => {
    await at(ms);
    await (kind === "kill" ? workers.kill(worker) : workers.pause(worker, pauseMs * pace));
  };
  await Promise.all([runOutages(), ...disturbances.map(runDisturbance), at(chaosMs)]);
  return downtimes;
}

interface SettleOptions {
  readonly plan: ChaosPlan;
  readonly pace: number;
  readonly place: Place;
  readonly log: EffectsLog;
  readonly workers: Workers;
  readonly sender: Sender;
  readonly sending: Promise<void>;
  readonly downtimes: readonly Downtime[];
}

/** Waits until all work is done, and checks the result. */
async function settle(options: SettleOptions): Promise<ChaosReport> {
  const { plan, pace, place, log, workers, sender, sending, downtimes } = options;
  const start = Date.now();
  const storage = await openStorage(place.name, place.at);
  const app = createApp({ storage, tickEveryMs: false }).use(trustAll);
  try {
    await waitFor("all events are sent", sending);
    const sent = sentOf(plan, sender);
    const problems: string[] = [];
    let waiting: readonly string[] = [];
    const untilDone = (): Promise<void> =>
      until(
        () => `all work is done, except ${waiting.length}:\n${waiting.slice(0, 20).join("\n")}`,
        async () => (waiting = await unfinishedWork(storage, sent)).length === 0,
        300,
      );
    await untilDone();
    const settledAfterMs = Date.now() - start;
    const observe = async (): Promise<string> =>
      JSON.stringify([
        log.effects.length,
        await Promise.all(plan.late.map(({ memberId }) => app.portal(memberId))),
      ]);
    const before = await observe();
    await sender.sendAll(plan.late.map((event) => ({ event, at: 0, worker: 0, repeats: Infinity })));
    await untilDone();
    if (await observe() !== before) problems.push("late removals of earlier installations changed something");
    await workers.stop();
    problems.push(...workerProblems(workers), ...sender.problems(downtimes));
    const processes = new Map<string, ProcessHistory>(workers.all.map(({ name, history }) => [name, history]));
    const circumstances = { processes, downtimes, leaseMs: LEASE_MS * pace };
    for (const portal of sent) problems.push(...await checkPortal(portal, { app, storage, log, circumstances }));

    const parts = new Set(log.effects.map(({ idempotencyKey }) => idempotencyKey));
    const returned = new Set(plan.late.map(({ memberId }) => memberId));
    const removed = sent.filter(({ memberId, events }) =>
      !returned.has(memberId) && events.some(({ change }) => change === "removal")
    );
    return {
      problems,
      ...sender.counts(),
      kills: workers.kills(),
      pauses: plan.disturbances.filter(({ kind }) => kind === "pause").length,
      outages: downtimes.length,
      skewed: workers.all.filter(({ history: { skewMs } }) => Math.abs(skewMs) > 60_000 && skewMs !== LATER_MS).length,
      removed: removed.length,
      returned: returned.size,
      effects: log.effects.length,
      repeated: log.effects.length - parts.size,
      late: log.effects.filter(({ isRefused }) => isRefused).length,
      settledAfterMs,
    };
  } finally {
    await app.close();
  }
}

function sentOf({ sendings }: ChaosPlan, { sentAt, acknowledgedAt }: Sender): Sent[] {
  const events = Map.groupBy(new Set(sendings.map(({ event }) => event)), ({ memberId }) => memberId);
  return Array.from(events, ([memberId, own]) => {
    const acknowledged = own.flatMap((event) => {
      const at = acknowledgedAt.get(event);
      return at === undefined ? [] : [[event, at] as const];
    });
    return { memberId, events: own, sentAt, acknowledgedAt: new Map(acknowledged) };
  });
}

function workerProblems({ all }: Workers): string[] {
  return all.flatMap(({ name, errors, isStopped }) => [
    ...(errors === "" ? [] : [`${name} printed: ${errors.slice(0, 2000)}`]),
    ...(isStopped ? [] : [`${name} ended by itself`]),
  ]);
}
