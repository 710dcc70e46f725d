/** Explores schedules: all within a bound, or random ones. A failure names its schedule, and replays it. */
import { seeded } from "../support/seeded.ts";
import type { ChoiceKind, Chooser } from "./_scheduler.ts";

/** Something that has schedules. */
export interface Subject {
  readonly name: string;
  /** Runs the schedule that `choose` chooses. Rejects if it breaks a promise. */
  readonly run: (choose: Chooser, trace?: (line: string) => void) => Promise<void>;
}

/** A choice other than the default. */
export interface Deviation {
  readonly step: number;
  readonly choice: number;
}

/** The number of choices of a schedule that may differ from the default. */
export interface Bound {
  /** The number of both kinds together. */
  readonly deviations: number;
  readonly faults: number;
}

/** Thrown for a schedule that breaks a promise. The message has everything that is needed to repeat it. */
export class ScheduleError extends Error {
  /** Name of the subject and deviations, as {@linkcode parseSchedule} reads them. */
  readonly schedule: string;

  constructor({ name }: Subject, deviations: readonly Deviation[], cause: Error, trace: readonly string[]) {
    const schedule = `${name}|${deviations.map(({ step, choice }) => `${step}:${choice}`).join(",")}`;
    super(`${cause.message}\nin SCHEDULE="${schedule}", which repeats it:\n${trace.join("\n")}`, { cause });
    this.schedule = schedule;
  }
}

/** Runs one schedule. Returns what has happened. @throws {ScheduleError} */
export async function replay(subject: Subject, deviations: readonly Deviation[]): Promise<string[]> {
  const trace: string[] = [];
  try {
    await subject.run(chooserOf(deviations), (line) => trace.push(line));
  } catch (error) {
    throw new ScheduleError(subject, deviations, error as Error, trace);
  }
  return trace;
}

/** Returns the name of the subject, and the deviations, of a schedule as an error names it. */
export function parseSchedule(schedule: string): { readonly name: string; readonly deviations: readonly Deviation[] } {
  const [name = "", numbers = ""] = schedule.split("|");
  const deviations = numbers.split(",").filter((part) => part !== "").map((part) => {
    const [step, choice] = part.split(":").map(Number);
    return { step: step!, choice: choice! };
  });
  return { name, deviations };
}

/**
 * Runs all schedules of a subject within a bound. Resolves to their number.
 *
 * @throws {ScheduleError} for the first that breaks a promise
 */
export async function exploreAll(subject: Subject, bound: Bound): Promise<number> {
  const stack: { readonly deviations: readonly Deviation[]; readonly faults: number }[] = [{
    deviations: [],
    faults: 0,
  }];
  let schedules = 0;
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const { deviations, faults } = next;
    const steps: (readonly ChoiceKind[])[] = [];
    await explore(subject, deviations, chooserOf(deviations, steps));
    schedules++;
    if (deviations.length === bound.deviations) continue;
    for (let step = steps.length - 1; step > (deviations.at(-1)?.step ?? -1); step--) {
      for (const [choice, kind] of (steps[step] ?? []).entries()) {
        const used = faults + Number(kind === "fault");
        if (kind === "default" || used > bound.faults) continue;
        stack.push({ deviations: [...deviations, { step, choice }], faults: used });
      }
    }
  }
  return schedules;
}

/**
 * Runs the random schedule of a seed.
 *
 * @throws {ScheduleError} if it breaks a promise
 */
export async function exploreRandom(subject: Subject, seed: number): Promise<void> {
  const random = seeded(seed);
  const switches = pick([0.02, 0.1, 0.3], random);
  let faults = pick([0, 1, 2, 3], random);
  const deviations: Deviation[] = [];
  await explore(subject, deviations, (step, kinds) => {
    const kind = faults > 0 && random() < 0.05 ? "fault" : random() < switches ? "switch" : "default";
    const choice = pick([...kinds.keys()].filter((choice) => kinds[choice] === kind), random) ?? 0;
    if (choice === 0) return 0;
    if (kind === "fault") faults--;
    deviations.push({ step, choice });
    return choice;
  });
}

function pick<T>(items: readonly T[], random: () => number): T {
  return items[Math.floor(random() * items.length)]!;
}

/** Runs a schedule. `deviations` has those of `choose` once it has run. */
async function explore(subject: Subject, deviations: readonly Deviation[], choose: Chooser): Promise<void> {
  try {
    await subject.run(choose);
  } catch {
    await replay(subject, await shortened(subject, deviations));
    throw new Error(`a schedule of "${subject.name}" failed, and did not when it was repeated`);
  }
}

/** Returns a schedule that fails too, and has no deviation that it does not need. */
async function shortened(subject: Subject, deviations: readonly Deviation[]): Promise<readonly Deviation[]> {
  let needed = deviations;
  for (const deviation of deviations) {
    const others = needed.filter((other) => other !== deviation);
    const fails = await subject.run(chooserOf(others)).then(() => false, () => true);
    if (fails) needed = others;
  }
  return needed;
}

/** Returns the chooser of a schedule. `steps` receives the choices at each step that has several. */
function chooserOf(deviations: readonly Deviation[], steps?: (readonly ChoiceKind[])[]): Chooser {
  const choices = new Map(deviations.map(({ step, choice }) => [step, choice]));
  return (step, kinds) => {
    if (steps !== undefined) steps[step] = kinds;
    // While a schedule is shortened, its later choices may no longer exist.
    const choice = choices.get(step) ?? 0;
    return choice < kinds.length ? choice : 0;
  };
}
