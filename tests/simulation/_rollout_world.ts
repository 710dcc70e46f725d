/** A rollout over a few portals by several processes and operators, with what must hold for it in every schedule. */
import { type App, createApp, deployed, NonRetriableError } from "@b24/onappupdate";
import type { PortalRecord } from "../../src/portal/record.ts";
import type { Breaker } from "../../src/rollout/breaker.ts";
import { isReached, type TargetState } from "../../src/rollout/target.ts";
import { quietLogger, trustAll } from "../support/app.ts";
import { NOW } from "../support/fake_oauth_host.ts";
import { OPERATOR } from "../support/operator.ts";
import { memberIds, storeInstalled } from "../support/rollout.ts";
import { seeded } from "../support/seeded.ts";
import { simulated } from "../support/time.ts";
import type { Subject } from "./_explore.ts";
import { Violation } from "./_history.ts";
import { Process, type SimulatedProcess } from "./_process.ts";
import { type Action, type Chooser, Scheduler } from "./_scheduler.ts";
import { Entries, simulatedStorage, type Writes } from "./_storage.ts";

type OperatorAction = "pause" | "resume" | "promote" | "abort" | "hold";

/** The events of a schedule, before the scheduler chooses the order. */
export interface RolloutScenario {
  readonly name: string;
  readonly skewsMs: readonly number[];
  readonly writes: Writes;
  /** The portals that fail at first: each whose number is below it, of 8. */
  readonly failing: number;
  /** A failure parks the portal at once; otherwise it is retried. */
  readonly isFinal: boolean;
  readonly script: readonly { readonly act: OperatorAction | "tick"; readonly at: number; readonly afterMs: number }[];
}

const LEASE_MS = 30_000;
const PAUSE_MS = LEASE_MS + 6000;
const TARGET = "2.0.0";
const IDS = memberIds(8);
const HELD = IDS[7]!;
const STAGES = [{ portals: 3, forMs: 20_000 }, { percent: 50 }, { percent: 100 }];
const MAX_FAILED = 2;
/** Maximum number of rounds of ticks until all portals must be on the target. */
const MAX_ROUNDS = 40;

/** Returns the random scenario of a seed. */
export function randomRollout(seed: number): RolloutScenario {
  const random = seeded(seed);
  const below = (n: number): number => Math.floor(random() * n);
  const processes = 2 + below(2);
  const acts = ["tick", "tick", "tick", "tick", "pause", "resume", "promote", "promote", "hold"] as const;
  const script = Array.from({ length: 6 + below(5) }, () => ({
    ...{ act: random() < 0.03 ? "abort" as const : acts[below(acts.length)]!, at: below(processes) },
    afterMs: [0, 1500, 25_000, 70_000][below(4)]!,
  }));
  return {
    name: `rollout ${seed}`,
    skewsMs: Array.from({ length: processes }, () => below(5) * 1000),
    writes: (["none", "atomic", "prefix"] as const)[below(3)]!,
    failing: [0, 1, 8][below(3)]!,
    isFinal: random() < 0.5,
    script: [{ act: "tick", at: 0, afterMs: 0 }, ...script],
  };
}

/** Returns the schedules of a scenario. */
export function rolloutSchedules(scenario: RolloutScenario): Subject {
  return {
    name: scenario.name,
    run: async (choose, trace) => await new RolloutWorld(scenario, await installed(), choose, trace).run(),
  };
}

let known: Promise<Entries> | undefined;

/** Returns the entries of portals on version 1, which all schedules start from. */
function installed(): Promise<Entries> {
  known ??= (async () => {
    const entries = new Entries();
    const process = new Process(0, 0, () => 0);
    const work = storeInstalled(simulatedStorage(entries, "atomic", process), IDS, "1.0.0");
    let isDone = false;
    void work.then(() => isDone = true);
    while (!isDone) {
      await new Promise<void>((resolve) => setTimeout(resolve, 0));
      for (const point of process.pending.splice(0)) {
        point.apply(point.parts);
        point.reply();
      }
    }
    return entries;
  })();
  return known;
}

class RolloutWorld {
  readonly #entries: Entries;
  readonly #scenario: RolloutScenario;
  readonly #scheduler: Scheduler;
  readonly #apps = new Map<SimulatedProcess, App>();
  /** Portals whose handler has begun, and none of whose attempts has succeeded. */
  readonly #unfinished = new Set<string>();
  readonly #succeeded = new Set<string>();
  #resumes = 0;
  #isRepaired = false;
  #violation: unknown;

  constructor(scenario: RolloutScenario, entries: Entries, choose: Chooser, trace?: (line: string) => void) {
    this.#scenario = scenario;
    this.#entries = new Entries(entries);
    this.#entries.clock = () => NOW + this.#scheduler.now;
    this.#scheduler = new Scheduler({
      ...{ places: scenario.skewsMs.length, choose, pausesMs: [PAUSE_MS] },
      script: scenario.script.map(({ act, at, afterMs }) => this.#action(act, at, afterMs)),
      whilePaused: (place) => scenario.skewsMs.flatMap((_, at) => at === place ? [] : [this.#action("tick", at)]),
      ...trace && { trace },
    });
  }

  async run(): Promise<void> {
    await this.#scheduler.run();
    this.#assert();
    this.#isRepaired = true;
    const isAborted = this.#state()?.state === "aborted";
    for (let round = 0; !this.#isAtRest(isAborted); round++) {
      if (round === MAX_ROUNDS) throw new Violation(`not at rest: ${this.#describe()}`);
      const at = round % this.#scenario.skewsMs.length;
      const acts: readonly OperatorAction[] = round % 4 === 0 && !isAborted ? ["resume", "promote"] : [];
      await this.#scheduler.settle([...acts, "tick" as const].map((act) => this.#action(act, at)), 61_000);
      this.#assert();
    }
    this.#checkRecords(isAborted);
  }

  #assert(): void {
    if (this.#violation !== undefined) throw this.#violation;
  }

  /** All portals are done, and all slots are free. */
  #isAtRest(isAborted: boolean): boolean {
    const records = this.#records();
    const isDone = ({ memberId, version, target, run }: PortalRecord): boolean =>
      memberId === HELD || version === TARGET || (isAborted && (run !== undefined || target !== TARGET));
    const slots = this.#breakers().flatMap((breaker) => Object.keys(breaker.slots));
    const open = new Set(records.filter(({ run }) => run !== undefined).map(({ memberId }) => memberId));
    return records.every(isDone) && slots.every((memberId) => isAborted && open.has(memberId));
  }

  #checkRecords(isAborted: boolean): void {
    for (const { memberId, version, target, run, inbox = [] } of this.#records()) {
      if (memberId === HELD && (version !== "1.0.0" || target !== "1.0.0")) {
        throw new Violation(`the held portal is on ${version}, with target ${target}`);
      }
      if (version === TARGET && !this.#succeeded.has(memberId)) throw new Violation(`${memberId} ran no handler`);
      if (version === TARGET && (run !== undefined || inbox.length > 0)) {
        throw new Violation(`${memberId} has work left`);
      }
      if (isAborted && version !== TARGET && run === undefined && target === TARGET) {
        throw new Violation(`${memberId} has the target of an aborted rollout`);
      }
    }
  }

  #describe(): string {
    const portals = this.#records().map(({ memberId, version, target, blocked, failure }) =>
      `${memberId.slice(0, 2)} ${version} to ${target} ${blocked?.message ?? ""} ${failure?.message ?? ""}`
    );
    return JSON.stringify([portals, this.#state(), this.#breakers()]);
  }

  #values<T>(prefix: readonly string[]): T[] {
    return this.#entries.list(prefix).map(({ json }) => JSON.parse(json) as T);
  }

  #records(): PortalRecord[] {
    return this.#values<PortalRecord>(["portal"]);
  }

  #breakers(): Breaker[] {
    return this.#values<Breaker>(["rollout", "upgrade"]);
  }

  #state(): TargetState | undefined {
    return this.#values<TargetState>(["rollout", "target"])[0];
  }

  #action(act: OperatorAction | "tick", place: number, afterMs = 0): Action {
    const run = (): void => {
      this.#scheduler.now += afterMs;
      const app = this.#app(this.#scheduler.process(place));
      void this.#act(app, act).catch(() => {});
    };
    return { label: `${"ABC"[place]}: ${act}`, place, run };
  }

  async #act({ tick, admin: { rollout } }: App, act: OperatorAction | "tick"): Promise<unknown> {
    if (act === "resume") this.#resumes++;
    if (act === "tick") return await tick();
    if (act === "hold") return await rollout.set(TARGET, { hold: [HELD], first: [IDS[0]!] }, OPERATOR);
    if (act === "resume") return await rollout.resume(TARGET, { ...OPERATOR, retryParked: true });
    return await rollout[act](TARGET, OPERATOR);
  }

  /** The handler of the upgrade. */
  #handle(memberId: string): void {
    const { failing, isFinal } = this.#scenario;
    if (!this.#succeeded.has(memberId)) this.#unfinished.add(memberId);
    const max = MAX_FAILED * (1 + this.#resumes);
    if (this.#unfinished.size > max) {
      this.#violation ??= new Violation(`${this.#unfinished.size} portals are in flight or have failed, wanted ${max}`);
    }
    if (!isReached(this.#state()!, memberId)) this.#violation ??= new Violation(`${memberId} began before its stage`);
    if (!this.#isRepaired && IDS.indexOf(memberId) < failing) {
      throw isFinal ? new NonRetriableError("no") : new Error("no");
    }
    this.#unfinished.delete(memberId);
    this.#succeeded.add(memberId);
  }

  #app(process: SimulatedProcess): App {
    const known = this.#apps.get(process);
    if (known !== undefined) return known;
    const { writes, skewsMs } = this.#scenario;
    let strings = 0;
    const app = createApp({
      storage: simulatedStorage(this.#entries, writes, process),
      versions: deployed(TARGET),
      rollout: { stages: STAGES, hold: [HELD], pauseWhen: { failed: MAX_FAILED } },
      ...{ logger: quietLogger, tickEveryMs: false as const, checks: false as const },
      ...{ limits: { leaseMs: LEASE_MS }, retry: { initialDelayMs: 1000, maxAttempts: 4 } },
      ...simulated({
        now: () => NOW + this.#scheduler.now + skewsMs[process.place]!,
        monotonic: () => this.#scheduler.now,
        setTimer: (run, ms) => process.setTimer(run, ms),
      }),
      random: () => `${process.id}-${++strings}`,
    }).use(trustAll).upgrade(TARGET, ({ memberId }) => this.#handle(memberId)) as App;
    this.#apps.set(process, app);
    return app;
  }
}
