/**
 * A scheduler of simulated processes: it runs one point at a time, chooses what runs next, and injects faults. It knows
 * nothing about apps. A run is determined by its choices, so that it can be repeated.
 */
import process from "node:process";
import { Process, type SimulatedProcess } from "./_process.ts";

/** A choice of the scheduler: the default, another order, or a fault. */
export type ChoiceKind = "default" | "switch" | "fault";

interface Choice {
  readonly kind: ChoiceKind;
  readonly label: string;
  readonly take: () => void;
}

/** Returns the number of the choice that is taken at a step; 0 is the default. */
export type Chooser = (step: number, kinds: readonly ChoiceKind[]) => number;

/** An action from outside: a request, or a tick. */
export interface Action {
  readonly label: string;
  /** The process that it is for: it runs next. */
  readonly place: number;
  readonly run: () => void;
}

export interface SchedulerOptions {
  /** Number of places for processes. */
  readonly places: number;
  readonly choose: Chooser;
  /** Actions in order. Each may come at any time after the one before. */
  readonly script: readonly Action[];
  /** Returns the actions that follow at once when a process pauses: what other processes do at that time. */
  readonly whilePaused: (place: number) => readonly Action[];
  /** Durations of pauses in milliseconds. */
  readonly pausesMs: readonly number[];
  /** Receives everything that happens. */
  readonly trace?: (line: string) => void;
}

/** More steps than any run takes: the processes go round in circles. */
const MAX_STEPS = 5000;

export class Scheduler {
  /** Milliseconds since the start. */
  now = 0;
  readonly #options: SchedulerOptions;
  readonly #processes: Process[];
  readonly #counts: number[];
  #script: Action[];
  #urgent: Action[] = [];
  #current = 0;
  #step = 0;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#script = [...options.script];
    this.#counts = Array.from({ length: options.places }, () => 0);
    this.#processes = this.#counts.map((_, place) => this.#start(place));
  }

  /** Returns the process that runs at a place now. */
  process(place: number): SimulatedProcess {
    return this.#processes[place]!;
  }

  /** Runs until the script has ended and no process has anything to do. */
  async run(): Promise<void> {
    const { choose } = this.#options;
    while (true) {
      await pendingWork();
      const choices = this.#choices();
      if (choices.length === 0) return;
      const chosen = choices.length === 1 ? 0 : choose(this.#step, choices.map(({ kind }) => kind));
      this.#take(choices[chosen]!);
    }
  }

  /** Lets `ms` milliseconds pass, and runs actions without faults until no process has anything to do. */
  async settle(actions: readonly Action[], ms = 0): Promise<void> {
    this.now += ms;
    this.#urgent.push(...actions);
    while (true) {
      await pendingWork();
      const next = this.#default();
      if (next === undefined) return;
      this.#take(next);
    }
  }

  #take({ label, take }: Choice): void {
    if (++this.#step > MAX_STEPS) throw new Error(`the processes are still busy after ${MAX_STEPS} steps`);
    this.#options.trace?.(label);
    take();
  }

  #start(place: number): Process {
    return new Process(place, ++this.#counts[place]!, () => this.now);
  }

  #crash(process: Process): void {
    // Its operations and timers are no longer scheduled.
    this.#processes[process.place] = this.#start(process.place);
  }

  #pause(process: Process, ms: number): void {
    process.isPaused = true;
    this.now += ms;
    this.#urgent.push(...this.#options.whilePaused(process.place));
  }

  /** Processes that can run, the current one first. */
  #runnable(): Process[] {
    const count = this.#processes.length;
    const runnable: Process[] = [];
    for (let i = 0; i < count; i++) {
      const process = this.#processes[(this.#current + i) % count]!;
      if (process.isPaused) continue;
      process.fireTimers();
      if (process.pending.length > 0) runnable.push(process);
    }
    return runnable;
  }

  #resume(): Choice | undefined {
    const paused = this.#processes.find(({ isPaused }) => isPaused);
    return paused && {
      kind: "switch",
      label: `${paused.id} resumes`,
      take: () => {
        paused.isPaused = false;
        this.#current = paused.place;
      },
    };
  }

  #action(actions: Action[]): Choice | undefined {
    const [action] = actions;
    return action && {
      kind: "switch",
      label: `- ${action.label}`,
      take: () => {
        actions.shift();
        this.#current = action.place;
        action.run();
      },
    };
  }

  /** The next action, if it is for another process than one that is paused: the world goes on. */
  #actionMeanwhile(): Choice | undefined {
    const place = this.#script[0]?.place;
    const isMeanwhile = this.#processes.some(({ isPaused }) => isPaused) && !this.#processes[place ?? 0]!.isPaused;
    return isMeanwhile ? this.#action(this.#script) : undefined;
  }

  #point(process: Process, index: number): Choice {
    const point = process.pending[index]!;
    return {
      kind: "switch",
      label: `${process.id} ${point.label}`,
      take: () => {
        this.#current = process.place;
        process.pending.splice(index, 1);
        point.apply(point.parts);
        point.reply();
      },
    };
  }

  #default(runnable: readonly Process[] = this.#runnable()): Choice | undefined {
    const [first] = runnable;
    if (first !== undefined) return this.#point(first, 0);
    return this.#actionMeanwhile() ?? this.#action(this.#urgent) ?? this.#resume() ?? this.#action(this.#script);
  }

  #choices(): Choice[] {
    const runnable = this.#runnable();
    const first = this.#default(runnable);
    if (first === undefined) return [];
    const [current, ...others] = runnable;
    const choices: Choice[] = [{ ...first, kind: "default" }];
    if (current === undefined) return choices;
    for (let i = 1; i < current.pending.length; i++) choices.push(this.#point(current, i));
    for (const other of others) choices.push(this.#point(other, 0));
    for (const choice of [this.#action(this.#urgent) ?? this.#action(this.#script), this.#resume()]) {
      if (choice !== undefined) choices.push(choice);
    }
    choices.push(...this.#faults(current));
    return choices;
  }

  #faults(process: Process): Choice[] {
    const point = process.pending[0]!;
    const { label, parts, apply, reply, fail } = point;
    const faults: Choice[] = [];
    const add = (what: string, take: () => void): void =>
      void faults.push({ kind: "fault", label: `${process.id} ${label}: ${what}`, take });
    if (fail === undefined) return faults;
    const isPartOf = (n: number): string =>
      n === 0 ? "not applied" : n === parts ? "applied" : `${n} of ${parts} applied`;
    for (let applied = 0; applied <= parts; applied++) {
      add(`fails, ${isPartOf(applied)}`, () => {
        process.pending.shift();
        apply(applied);
        fail();
      });
      // A crash after a read is one before the next write.
      if (parts === 0) continue;
      add(`crash, ${isPartOf(applied)}`, () => {
        apply(applied);
        this.#crash(process);
      });
    }
    if (this.#processes.length === 1) return faults;
    for (const ms of this.#options.pausesMs) {
      add(`pause of ${ms / 1000} s before`, () => this.#pause(process, ms));
      if (parts === 0) continue;
      add(`pause of ${ms / 1000} s after`, () => {
        apply(parts);
        process.pending[0] = { ...point, label: `reply of ${label}`, parts: 0, apply: () => {}, reply };
        this.#pause(process, ms);
      });
    }
    return faults;
  }
}

/** Resolves when nothing goes on by itself: callbacks of `nextTick` run after all callbacks of promises. */
function pendingWork(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}
