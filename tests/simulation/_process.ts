/** A simulated process: its operations and timers wait until a scheduler runs them. */

/** An operation of a process that waits until the scheduler runs it: a storage operation, a call, or a timer. */
export interface Point {
  readonly label: string;
  /** Number of parts that a fault can leave applied: 0 if the operation changes nothing, 1 if it is atomic. */
  readonly parts: number;
  /** Applies the first `parts` parts. */
  readonly apply: (parts: number) => void;
  /** Lets the process continue after the operation. */
  readonly reply: () => void;
  /** Lets the process continue with an error; absent for timers, which cannot fail. */
  readonly fail?: () => void;
}

interface Timer {
  readonly at: number;
  readonly run: () => void;
}

/** A process. It stops for good when it crashes. */
export interface SimulatedProcess {
  /** The place of the process, and how many processes were there before it: `A1`. */
  readonly id: string;
  readonly place: number;
  /** Runs `apply` at a time that the scheduler chooses. Never settles if the process crashes. */
  readonly operate: <T>(label: string, operation: Operation<T>) => Promise<T>;
  readonly setTimer: (run: () => void, ms: number) => () => void;
}

export interface Operation<T> {
  /** See {@linkcode Point.parts}. */
  readonly parts: number;
  /** Applies the first `parts` parts. The result counts if all are applied. */
  readonly apply: (parts: number) => T;
  /** Returns the error of an operation whose reply is lost, or which is refused. */
  readonly error: () => Error;
}

/** A process as the scheduler sees it. */
export class Process implements SimulatedProcess {
  readonly id: string;
  readonly place: number;
  /** In the order in which they began. */
  readonly pending: Point[] = [];
  timers: Timer[] = [];
  isPaused = false;
  readonly #now: () => number;

  constructor(place: number, number: number, now: () => number) {
    this.place = place;
    this.id = `${"ABC"[place]}${number}`;
    this.#now = now;
  }

  operate = <T>(label: string, { parts, apply, error }: Operation<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      let result: T;
      this.pending.push({
        ...{ label, parts },
        apply: (applied) => void (result = apply(applied)),
        reply: () => resolve(result),
        fail: () => reject(error()),
      });
    });

  setTimer = (run: () => void, ms: number): () => void => {
    const timer = { at: this.#now() + ms, run };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((other) => other !== timer);
      const fired = this.pending.findIndex(({ reply }) => reply === run);
      if (fired >= 0) this.pending.splice(fired, 1);
    };
  };

  /** Makes timers that are due points. */
  fireTimers(): void {
    if (this.timers.length === 0) return;
    const now = this.#now();
    const due = this.timers.filter(({ at }) => at <= now);
    if (due.length === 0) return;
    this.timers = this.timers.filter(({ at }) => at > now);
    due.sort((a, b) => a.at - b.at);
    for (const { run } of due) this.pending.push({ label: "timer", parts: 0, apply: () => {}, reply: run });
  }
}
