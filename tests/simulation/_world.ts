/** Two or three apps in one process over a simulated storage, and what happens to them. */
import { type App, createApp, type Plugin, type UpgradeContext } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { CLIENT_ID, MEMBER_ID, post, quietLogger, trustAll } from "../support/app.ts";
import { CLIENT_SECRET, type FakeOAuthHost, fakeOAuthHost, NOW, tokenFields } from "../support/fake_oauth_host.ts";
import { simulated } from "../support/time.ts";
import { createTold, type Told } from "../support/told.ts";
import { EVENT_NAMES, eventBody, type EventName, nameOf, versionOf } from "./_events.ts";
import type { Subject } from "./_explore.ts";
import { History, Violation } from "./_history.ts";
import { indexEntries, isRecord, leftovers, recordIn } from "./_layout.ts";
import { Pairs } from "./_pairs.ts";
import type { SimulatedProcess } from "./_process.ts";
import { type Action, type Chooser, Scheduler } from "./_scheduler.ts";
import { Entries, simulatedStorage, type Writes } from "./_storage.ts";

/** Something that happens from outside. `at`: the place of the process. `afterMs`: after so many milliseconds. */
export type Happening = { readonly send: EventName; readonly at: number } | {
  readonly tick: true;
  readonly at: number;
  readonly afterMs?: number;
} | {
  /** Code of the app has the portal's token refreshed. */
  readonly refresh: true;
  readonly at: number;
};

/** The events of a schedule, before the scheduler chooses the order. */
export interface Scenario {
  readonly name: string;
  /** The lead of the clock of each process, in milliseconds. There are as many processes. */
  readonly skewsMs: readonly number[];
  readonly writes: Writes;
  /** Events are verified and confirmed by the OAuth host and the portal; otherwise every event is believed. */
  readonly isVerified?: true;
  /** The OAuth host confirms the removal, until the reinstallation. */
  readonly isRemovalTrue?: true;
  /** The result of one step is too large for its journal. */
  readonly hasLargeResult?: true;
  /** The events are too large for the portal's record. */
  readonly hasLargeEvents?: true;
  /** The upgrade to version 2 sleeps between its steps. */
  readonly hasSleep?: true;
  /** The upgrade to version 3 has pages. */
  readonly hasPages?: true;
  /** Observers are told of what changes in the state of the portal. */
  readonly isObserved?: true;
  /** Processes also pause for a time shorter than a lease. */
  readonly hasShortPauses?: true;
  readonly script: readonly Happening[];
}

const LEASE_MS = 30_000;
const SLEEP_MS = 5000;
/** Longer than a lease. */
const PAUSE_MS = LEASE_MS + 6000;
/** Shorter than a lease by the clock of its holder if that is slow. */
const SHORT_PAUSE_MS = LEASE_MS - 3000;

/** Returns the schedules of a scenario. Each runs to its end, and rejects with a {@linkcode Violation} if it breaks a promise. */
export function schedulesOf(scenario: Scenario): Subject {
  return {
    name: scenario.name,
    run: async (choose, trace) => {
      const world = new World(scenario, await installedPortal(scenario), choose, trace);
      await world.run();
    },
  };
}

/** The entries after the installation of the portal, which all schedules of a kind start from. */
const installed = new Map<boolean, Promise<Entries>>();

function installedPortal(of: Scenario): Promise<Entries> {
  const isVerified = of.isVerified === true;
  const known = installed.get(isVerified);
  if (known !== undefined) return known;
  const entries = new Entries();
  const scenario: Scenario = {
    ...{ name: "install", skewsMs: [0], writes: "atomic", script: [{ send: "install", at: 0 }] },
    ...isVerified && { isVerified: true as const },
  };
  const world = new World(scenario, entries, () => 0);
  const promise = world.install();
  installed.set(isVerified, promise);
  return promise;
}

/** Maximum number of rounds of ticks until all work must be done. */
const MAX_ROUNDS = 30;

class World {
  readonly entries: Entries;
  readonly #scenario: Scenario;
  readonly #scheduler: Scheduler;
  readonly #history: History;
  readonly #oauth: FakeOAuthHost = fakeOAuthHost();
  readonly #apps = new Map<SimulatedProcess, App>();
  readonly #trace: ((line: string) => void) | undefined;
  readonly #bodies = new Map<EventName, string>();
  readonly #told: Told = createTold();
  readonly #pairs: Pairs;
  #violation: unknown;
  #values = 0;

  constructor(scenario: Scenario, entries: Entries, choose: Chooser, trace?: (line: string) => void) {
    this.#scenario = scenario;
    this.#trace = trace;
    this.entries = new Entries(entries);
    const clocks = scenario.skewsMs.map((_, place) => ["ABC"[place]!, () => this.#now(place)] as const);
    this.#history = new History(this.entries, new Map(clocks));
    this.#pairs = new Pairs(this.entries);
    const { onWrite } = this.entries;
    this.entries.onWrite = (write) => {
      onWrite(write);
      this.#pairs.checkWrite(write);
      if (scenario.isObserved !== true || write.after === undefined || !isRecord(write.after)) return;
      this.#told.note(write.before && recordIn(write.before), recordIn(write.after));
    };
    this.entries.clock = () => NOW + this.#scheduler.now;
    this.#scheduler = new Scheduler({
      ...{ places: scenario.skewsMs.length, choose },
      pausesMs: scenario.hasShortPauses === true ? [SHORT_PAUSE_MS, PAUSE_MS] : [PAUSE_MS],
      script: scenario.script.map((happening) => this.#action(happening)),
      whilePaused: (place) => scenario.skewsMs.flatMap((_, other) => other === place ? [] : [this.#tick(other)]),
      ...trace && { trace },
    });
    // The same token pair in each schedule.
    for (const name of EVENT_NAMES) {
      const pair = scenario.isVerified === true ? this.#oauth.issueTokens() : undefined;
      if (pair !== undefined) this.#pairs.sent(name, pair);
      const tokens = pair === undefined ? {} : tokenFields(pair);
      const filler = scenario.hasLargeEvents === true ? { filler: ".".repeat(5000) } : {};
      this.#bodies.set(name, eventBody(name, { ...tokens, ...filler }));
    }
    this.#oauth.version = 1;
  }

  /** Returns the entries once the work of the script is done. */
  async install(): Promise<Entries> {
    await this.#scheduler.run();
    await this.#rest();
    return this.entries;
  }

  async run(): Promise<void> {
    await this.#scheduler.run();
    this.#trace?.("- no more faults");
    await this.#rest();
    await this.#checkRest();
    await this.#checkIndex();
    await this.#checkPairs();
    await this.#checkDuplicates();
    this.#checkTold();
  }

  /** Lets time pass, and ticks, until no work is left. */
  async #rest(): Promise<void> {
    for (let round = 0;; round++) {
      const left = leftovers(this.entries, MEMBER_ID, (event) => this.#isOwed(event));
      if (left.length === 0) return;
      if (round === MAX_ROUNDS) throw new Violation(`work is left at rest: ${left.join("; ")}`);
      const place = round % this.#scenario.skewsMs.length;
      await this.#scheduler.settle([this.#tick(place)], round < 6 ? 61_000 : 3_600_000);
      this.#assert();
    }
  }

  #assert(): void {
    if (this.#violation !== undefined) throw this.#violation;
  }

  async #checkRest(): Promise<void> {
    this.#assert();
    const { acknowledged } = this.#history;
    for (const event of acknowledged) {
      if (this.#isOwed(event)) throw new Violation(`${event} was answered with 200, and its handlers have not run`);
    }
    const app = this.#app(this.#scheduler.process(0));
    const { status, version: reached, generation, applied } = (await this.#settled("portal()", app.portal(MEMBER_ID)))!;
    if (acknowledged.has("reinstallation") && status !== "installed") {
      throw new Violation("the app was installed again, and the portal is uninstalled");
    }
    // If the app was removed, updates may have come meanwhile.
    const names = this.#isRemoved() ? ["reinstallation"] as const : ["update 2", "update 3"] as const;
    const version = Math.max(1, ...names.filter((name) => acknowledged.has(name)).map((name) => versionOf(name)!));
    if (status === "installed" && !(parseInt(reached ?? "") >= version)) {
      throw new Violation(`the portal is on ${reached}, and ${version} was acknowledged`);
    }
    const runs = await this.#settled("runs()", app.admin.runs(MEMBER_ID));
    const recorded = runs.toReversed().filter((run) => run.generation === generation).flatMap(({ upgrades }) =>
      upgrades
    )
      .flatMap(({ upgradeId, steps }) => [upgradeId, ...steps.map(({ name }) => `${upgradeId}/${name}`)]);
    const pause = this.#scenario.hasSleep === true ? ["to 2/pause"] : [];
    const all = [["to 2", "to 2/one", ...pause, "to 2/two"], ["to 3", "to 3/three"]];
    const wanted = all.slice(generation - 1, Math.max(0, parseInt(reached ?? "") - 1)).flat();
    if (status === "uninstalled") return;
    if (applied.length > 0) throw new Violation("no run is open, and an upgrade is applied");
    if (recorded.join() !== wanted.join()) {
      throw new Violation(`history has ${recorded.join()}, wanted ${wanted.join()}`);
    }
  }

  /** Checks index and totals, which a recount repairs after a crash. */
  async #checkIndex(): Promise<void> {
    const app = this.#app(this.#scheduler.process(0));
    const { status, version } = (await this.#settled("portal()", app.portal(MEMBER_ID)))!;
    const state = status === "installed" ? "current" : status;
    const wanted = JSON.stringify([[{ status: state, count: 1, version }], [`state/${state}`, `version/${version}`]]);
    for (let round = 0;; round++) {
      const counts = await this.#settled("counts()", app.admin.counts());
      const found = JSON.stringify([counts, indexEntries(this.entries)]);
      if (found === wanted) return;
      if (round === MAX_ROUNDS) throw new Violation(`the index has ${found}, wanted ${wanted}`);
      await this.#scheduler.settle([this.#tick(0)], 600_000);
      this.#assert();
    }
  }

  /** Checks that no pair of a removed portal is left. A recount deletes what a crash has left. */
  async #checkPairs(): Promise<void> {
    for (let round = 0;; round++) {
      const left = this.#pairs.left();
      if (left.length === 0) return;
      if (round === MAX_ROUNDS) throw new Violation(`pairs are left of the removed portal: ${left.join()}`);
      await this.#scheduler.settle([this.#tick(0)], 600_000);
      this.#assert();
    }
  }

  /** Checks that observers were told of each change, under one id. */
  #checkTold(): void {
    const { changes, ids } = this.#told;
    for (const change of this.#scenario.isObserved === true ? new Set([...changes, ...ids.keys()]) : []) {
      const [told, stored] = [ids.get(change)?.size ?? 0, changes.filter((other) => other === change).length];
      if (told < stored) throw new Violation(`"${change}" was stored ${stored} times, and was not told`);
      if (told > stored) throw new Violation(`"${change}" was stored ${stored} times, and was told under ${told} ids`);
    }
  }

  /** Returns whether an event was answered with 200, and its handlers have not run. They need not once the app was removed. */
  #isOwed(event: string): boolean {
    const { acknowledged, handled } = this.#history;
    const hasHandlers = event.startsWith("update") || event === "deal";
    return acknowledged.has(event) && !handled.has(event) && hasHandlers && !this.#isRemoved();
  }

  /** Returns whether the app is removed in the script. */
  #isRemoved(): boolean {
    return this.#scenario.script.some((happening) => "send" in happening && happening.send === "removal");
  }

  /** Posts all events again: none of the life cycle is handled again. */
  async #checkDuplicates(): Promise<void> {
    const names = (["update 2", "update 3"] as const).filter((event) => this.#history.handled.has(event));
    const before = names.map((name) => this.#history.started.get(name));
    await this.#scheduler.settle(names.map((send) => this.#action({ send, at: 0 })), 61_000);
    for (const [i, name] of names.entries()) {
      if (this.#history.started.get(name) !== before[i]) {
        throw new Violation(`${name} was sent again after it was finished, and was handled again`);
      }
    }
    this.#assert();
  }

  /** Awaits a call without faults. */
  async #settled<T>(label: string, call: Promise<T>): Promise<T> {
    await this.#scheduler.settle([{ label, place: 0, run: () => {} }]);
    return await call;
  }

  #now(place: number): number {
    return NOW + this.#scheduler.now + this.#scenario.skewsMs[place]!;
  }

  #action(happening: Happening): Action {
    if ("tick" in happening) return this.#tick(happening.at, happening.afterMs);
    if ("refresh" in happening) return this.#refresh(happening.at);
    const { send, at } = happening;
    const run = (): void => {
      this.#oauth.version = Math.max(this.#oauth.version, versionOf(send) ?? 1);
      if (this.#scenario.isRemovalTrue === true && (send === "removal" || send === "reinstallation")) {
        const isRemoved = send === "removal";
        const refusal = (): Response => Response.json({ error: "NOT_INSTALLED" }, { status: 403 });
        this.#oauth.answer = ({ kind }) => isRemoved && kind === "app.info" ? refusal() : undefined;
      }
      const app = this.#app(this.#scheduler.process(at));
      this.#watch(
        app.fetch(post(this.#bodies.get(send)!)).then(({ status }) => {
          this.#trace?.(`- ${send} is answered with ${status}`);
          if (status === 200) this.#history.acknowledged.add(send);
        }),
      );
    };
    return { label: `${send} is sent to ${"ABC"[at]}`, place: at, run };
  }

  #tick(place: number, afterMs = 0): Action {
    const run = (): void => {
      this.#scheduler.now += afterMs;
      this.#watch(this.#app(this.#scheduler.process(place)).tick().catch(() => {}));
    };
    return { label: `${"ABC"[place]} ticks`, place, run };
  }

  #refresh(place: number): Action {
    const refresh = async ({ credentials }: App): Promise<void> => {
      await credentials.refresh(MEMBER_ID, await credentials.get(MEMBER_ID));
    };
    const run = (): void => this.#watch(refresh(this.#app(this.#scheduler.process(place))).catch(() => {}));
    return { label: `${"ABC"[place]} refreshes`, place, run };
  }

  /** Reports what a promise rejects with at the next check. */
  #watch(promise: Promise<unknown>): void {
    promise.catch((error) => this.#violation ??= error);
  }

  #app(process: SimulatedProcess): App {
    const known = this.#apps.get(process);
    if (known !== undefined) return known;
    const { entries } = this;
    const { writes, isVerified = false, hasSleep = false, hasPages = false } = this.#scenario;
    let strings = 0;
    const options = {
      storage: simulatedStorage(entries, writes, process),
      ...{ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, logger: quietLogger },
      ...{ tickEveryMs: false as const, checks: false as const },
      ...{ limits: { leaseMs: LEASE_MS }, retry: { initialDelayMs: 1000 } },
      ...simulated({
        now: () => this.#now(process.place),
        monotonic: () => this.#scheduler.now,
        setTimer: (run, ms) => process.setTimer(run, ms),
      }),
      random: () => `${process.id}-${++strings}`,
      lookup: () => Promise.resolve(undefined),
      fetch: (input: Request | URL | string, init?: RequestInit) => this.#fetch(process, input, init),
    };
    const app = createApp(options).use(isVerified ? applicationToken() as Plugin : trustAll)
      .upgrade("2", async (ctx) => {
        await this.#step(process, ctx, "to 2", "one");
        if (hasSleep) await ctx.sleep("pause", SLEEP_MS);
        await this.#step(process, ctx, "to 2", "two");
      }, { id: "to 2" })
      .upgrade("3", async (ctx) => {
        if (hasPages) await this.#pages(process, ctx, "to 3", "three");
        else await this.#step(process, ctx, "to 3", "three");
      }, { id: "to 3" })
      .on("ONAPPUPDATE", ({ event }) => this.#handle(process, nameOf(event), event.data.version))
      .on("ONCRMDEALADD", () => this.#handle(process, "deal"));
    if (this.#scenario.isObserved === true) app.use(this.#told.plugin());
    this.#apps.set(process, app as App);
    return app as App;
  }

  async #step(process: SimulatedProcess, ctx: UpgradeContext, upgrade: string, name: string): Promise<void> {
    const { step, portal } = ctx;
    const [id, runId] = [`${upgrade}/${name}`, portal.run!.id];
    const filler = this.#scenario.hasLargeResult && name === "two" ? ".".repeat(300) : "";
    const result = await step(name, async () => {
      this.#guard(() => this.#history.startStep(process.id, runId, id));
      return await this.#call(process, `call of ${id}`, () => `${process.id} ${++this.#values}${filler}`);
    });
    this.#guard(() => this.#history.receiveResult(process.id, runId, id, [result]));
  }

  /** Three pages with cursors that the pages before them have made. */
  async #pages(process: SimulatedProcess, ctx: UpgradeContext, upgrade: string, name: string): Promise<void> {
    const { pages, portal } = ctx;
    const [id, runId] = [`${upgrade}/${name}`, portal.run!.id];
    const done = await pages<readonly [number: number, by: string]>(name, [1, "start"], async ([number, by]) => {
      this.#guard(() => {
        this.#history.startStep(process.id, runId, `${id}#${number}`);
        if (number > 1) {
          this.#history.receiveResult(process.id, runId, `${id}#${number - 1}`, [number - 1, [number, by]]);
        }
      });
      const value = await this.#call(process, `page ${number} of ${id}`, () => `${process.id} ${++this.#values}`);
      return { next: number === 3 ? null : [number + 1, value], done: 1 };
    });
    this.#guard(() => this.#history.receiveResult(process.id, runId, `${id}#3`, [done]));
  }

  async #handle(process: SimulatedProcess, event: string, version?: string): Promise<void> {
    this.#guard(() => this.#history.startHandlers(process.id, event, version));
    await this.#call(process, `handlers of ${event}`, () => this.#history.handled.add(event));
  }

  /** Keeps a violation that a handler would otherwise turn into a failed attempt. */
  #guard(check: () => void): void {
    try {
      check();
    } catch (error) {
      this.#violation ??= error;
      throw error;
    }
  }

  async #call<T>(process: SimulatedProcess, label: string, effect: () => T): Promise<T> {
    return await process.operate(label, {
      parts: 1,
      apply: (parts) => parts === 0 ? undefined as T : effect(),
      error: () => new Error(`${label} failed`),
    });
  }

  async #fetch(process: SimulatedProcess, input: Request | URL | string, init?: RequestInit): Promise<Response> {
    const url = new URL(input instanceof Request ? input.url : input);
    return await this.#call(process, `${url.host}${url.pathname}`, () => this.#pairs.fetch(this.#oauth, input, init));
  }
}
