/** Real processes over one storage, events that come as they like, and somebody who spoils all that can be spoilt. */
import { createApp } from "@b24/onappupdate";
import { setTimeout as sleep } from "node:timers/promises";
import { trustAll } from "../support/app.ts";
import { waitFor } from "../support/test.ts";
import { until } from "../support/until.ts";
import { createCrew, type Crew, paceOf, ready } from "./_crew.ts";
import type { Life } from "./_judge.ts";
import { breakDown, type Downtime } from "./_outages.ts";
import { type ChaosOptions, type ChaosPlan, LEASE_MS, planChaos, WORKERS } from "./_plan.ts";
import { createPost, type Post } from "./_post.ts";
import { openStorage, type Place, placeFor } from "./_storages.ts";
import { type Sent, unfinished, verdict } from "./_verdict.ts";
import { startWitness, type Witness } from "./_witness.ts";

/** What happened. */
export interface ChaosReport {
  /** What went wrong, one line each. */
  readonly problems: readonly string[];
  /** Requests, and those that were answered 200, 503 and not at all. */
  readonly requests: number;
  readonly acknowledged: number;
  readonly refused: number;
  readonly unanswered: number;
  readonly kills: number;
  readonly pauses: number;
  readonly outages: number;
  /** Workers whose clocks were wrong by more than a minute. */
  readonly skewed: number;
  /** Portals that removed the app for good, and that installed it again. */
  readonly removed: number;
  readonly returned: number;
  readonly effects: number;
  /** Effects of parts that had an effect before. */
  readonly repeated: number;
  /** Effects that were refused, for somebody with a higher fence had been there. */
  readonly late: number;
  readonly restedAfterMs: number;
}

/** Makes chaos, and tells what came of it. */
export async function chaos(options: ChaosOptions): Promise<ChaosReport> {
  const plan = planChaos(options, Date.now());
  const place = await placeFor(options.storage);
  const witness = await startWitness();
  let crew: Crew | undefined;
  try {
    const members = { count: WORKERS, place, witness, skewOf: plan.skewOf };
    const pace = await paceOf(members);
    crew = createCrew({ ...members, pace });
    await ready(crew);
    const begun = Date.now();
    const post = createPost(crew, begun, pace);
    const sending = post.sendAll(plan.sendings);
    sending.catch(() => {});
    const downtimes = await storm(plan, { begun, pace, stormMs: options.stormMs }, place, crew);
    await crew.relieve(LATER_MS);
    return await calm({ plan, pace, place, witness, crew, post, sending, downtimes });
  } finally {
    await crew?.end();
    await witness.close();
    await place.remove();
  }
}

/** All is over by then, whoever's clock it was stored by. */
const LATER_MS = 6 * 60_000;

async function storm(
  { disturbances, outages }: ChaosPlan,
  { begun, pace, stormMs }: { readonly begun: number; readonly pace: number; readonly stormMs: number },
  place: Place,
  crew: Crew,
): Promise<Downtime[]> {
  const at = (ms: number): Promise<void> => sleep(Math.max(0, begun + ms * pace - Date.now()));
  const downtimes: Downtime[] = [];
  const spoilStorage = async (): Promise<void> => {
    for (const outage of outages) {
      await at(outage.at);
      downtimes.push(await breakDown(outage.kind, outage.ms * pace, place, crew));
    }
  };
  const spoil = async ({ at: ms, kind, worker, ms: pauseMs }: ChaosPlan["disturbances"][number]): Promise<void> => {
    await at(ms);
    await (kind === "kill" ? crew.kill(worker) : crew.pause(worker, pauseMs * pace));
  };
  await Promise.all([spoilStorage(), ...disturbances.map(spoil), at(stormMs)]);
  return downtimes;
}

interface Scene {
  readonly plan: ChaosPlan;
  readonly pace: number;
  readonly place: Place;
  readonly witness: Witness;
  readonly crew: Crew;
  readonly post: Post;
  readonly sending: Promise<void>;
  readonly downtimes: readonly Downtime[];
}

/** Waits until all has come to rest, and looks at it. */
async function calm(scene: Scene): Promise<ChaosReport> {
  const { plan, pace, place, witness, crew, post, sending, downtimes } = scene;
  const begun = Date.now();
  const storage = await openStorage(place.name, place.at);
  const app = createApp({ storage, tickEveryMs: false }).use(trustAll);
  try {
    await waitFor("all events are sent", sending);
    const sent = sentOf(plan, post);
    const problems: string[] = [];
    let waiting: readonly string[] = [];
    const rest = (): Promise<void> =>
      until(
        () => `all is at rest, but ${waiting.length} are not:\n${waiting.slice(0, 20).join("\n")}`,
        async () => (waiting = await unfinished(storage, sent)).length === 0,
        300,
      );
    await rest();
    const restedAfterMs = Date.now() - begun;
    const look = async (): Promise<string> =>
      JSON.stringify([
        witness.effects.length,
        await Promise.all(plan.late.map(({ memberId }) => app.portal(memberId))),
      ]);
    const before = await look();
    await post.sendAll(plan.late.map((event) => ({ event, at: 0, worker: 0, repeats: Infinity })));
    await rest();
    if (await look() !== before) problems.push("late removals of earlier installations have changed something");
    await crew.end();
    problems.push(...complaints(crew), ...post.problems(downtimes));
    const lives = new Map<string, Life>(crew.all.map(({ name, life }) => [name, life]));
    const circumstances = { lives, downtimes, leaseMs: LEASE_MS * pace };
    for (const one of sent) problems.push(...await verdict(one, { app, storage, witness, circumstances }));

    const parts = new Set(witness.effects.map(({ idempotencyKey }) => idempotencyKey));
    const returned = new Set(plan.late.map(({ memberId }) => memberId));
    const removed = sent.filter(({ memberId, events }) =>
      !returned.has(memberId) && events.some(({ change }) => change === "removal")
    );
    return {
      problems,
      ...post.counts(),
      kills: crew.kills(),
      pauses: plan.disturbances.filter(({ kind }) => kind === "pause").length,
      outages: downtimes.length,
      skewed: crew.all.filter(({ life: { skewMs } }) => Math.abs(skewMs) > 60_000 && skewMs !== LATER_MS).length,
      removed: removed.length,
      returned: returned.size,
      effects: witness.effects.length,
      repeated: witness.effects.length - parts.size,
      late: witness.effects.filter(({ isRefused }) => isRefused).length,
      restedAfterMs,
    };
  } finally {
    await app.close();
  }
}

function sentOf({ sendings }: ChaosPlan, { acknowledgedAt }: Post): Sent[] {
  const events = Map.groupBy(new Set(sendings.map(({ event }) => event)), ({ memberId }) => memberId);
  return Array.from(events, ([memberId, own]) => {
    const acknowledged = own.flatMap((event) => {
      const at = acknowledgedAt.get(event);
      return at === undefined ? [] : [[event, at] as const];
    });
    return { memberId, events: own, acknowledgedAt: new Map(acknowledged) };
  });
}

function complaints({ all }: Crew): string[] {
  return all.flatMap(({ name, errors, isDismissed }) => [
    ...(errors === "" ? [] : [`${name} said: ${errors.slice(0, 2000)}`]),
    ...(isDismissed ? [] : [`${name} ended by itself`]),
  ]);
}
