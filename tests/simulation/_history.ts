/** The history of a schedule, and its violations: checked at each write, and at each start of a step or handler. */
import { compareVersions } from "../../src/version.ts";
import { MEMBER_ID } from "../support/app.ts";
import {
  doneEvents,
  holdsSteps,
  isRecord,
  portalOf,
  recordedSteps,
  type StoredPortal,
  storedPortal,
} from "./_layout.ts";
import type { AppliedWrite, Entries } from "./_storage.ts";

/** A schedule has broken what the package promises. */
export class Violation extends Error {}

/** The steps and pages of all upgrades in order, as `upgrade/step`. */
const STEPS = ["to 2/one", "to 2/pause", "to 2/two", "to 3/three", "to 3/three#1", "to 3/three#2", "to 3/three#3"];

export class History {
  /** The events that were answered with 200, by name. */
  readonly acknowledged = new Set<string>();
  /** Number of times that the handlers of an event have started, by its name. */
  readonly started = new Map<string, number>();
  /** The events whose handlers have succeeded. */
  readonly handled = new Set<string>();
  /** JSON of each step and page that has been recorded, by the id of its run, upgrade and name. */
  readonly #results = new Map<string, string>();
  /** The installations of runs by their ids. */
  readonly #generations = new Map<string, number>();
  /** The events that a holder of the lease has recorded as done. */
  readonly #done = new Set<string>();
  readonly #entries: Entries;
  readonly #clocks: ReadonlyMap<string, () => number>;

  /** `clocks`: of the processes by place. */
  constructor(entries: Entries, clocks: ReadonlyMap<string, () => number>) {
    this.#entries = entries;
    this.#clocks = clocks;
    entries.onWrite = (write) => this.#checkWrite(write);
  }

  /** Called when the handlers of an event start. `version`: the version in the event, if it is an update. */
  startHandlers(process: string, event: string, version?: string): void {
    this.started.set(event, (this.started.get(event) ?? 0) + 1);
    const portal = this.#portal();
    // All events are handled at least once if the lease was lost.
    if (portal === undefined || !holds(process, portal)) return;
    // Other events than updates are handled at least once.
    if (event !== "deal" && this.#done.has(event)) {
      throw new Violation(`${process} handles ${event}, which is recorded as done`);
    }
    if (version !== undefined && compareVersions(portal.version ?? "0.0.0", `${parseInt(version)}.0.0`) < 0) {
      throw new Violation(`${process} handles ${event}, and the portal is stored on ${portal.version}`);
    }
  }

  /** Called when the work of a step or page starts. `runId`: of the run that it is in. */
  startStep(process: string, runId: string, step: string): void {
    const generation = this.#generations.get(runId);
    const recorded = [...recordedSteps(this.#entries, MEMBER_ID).keys()].filter((key) =>
      this.#generations.get(key.split("/")[0]!) === generation
    ).map((key) => key.slice(key.indexOf("/") + 1));
    for (const later of STEPS.slice(STEPS.indexOf(step))) {
      if (recorded.includes(later)) throw new Violation(`${process} runs step ${step} after ${later} was recorded`);
    }
  }

  /** Called with what a handler receives of a recorded step, or of the page before. `result`: as it is recorded. */
  receiveResult(process: string, runId: string, step: string, result: readonly unknown[]): void {
    const [received, recorded] = [JSON.stringify(result), this.#results.get(`${runId}/${step}`)];
    if (received !== recorded) {
      throw new Violation(`${process} received ${received} of ${step}, recorded is ${recorded}`);
    }
  }

  #checkWrite({ writer, before, after }: AppliedWrite): void {
    const entry = after ?? before!;
    if (isRecord(entry)) this.#checkRecord({ writer, before, after });
    if (holdsSteps(entry)) this.#checkResults(writer);
  }

  #portal(): StoredPortal | undefined {
    return storedPortal(this.#entries, MEMBER_ID);
  }

  #checkRecord({ writer, before, after }: AppliedWrite): void {
    if (after === undefined) throw new Violation(`${writer} deleted the record`);
    const is = portalOf(after);
    if (is.runId !== undefined) this.#addRun(is.runId, is.generation);
    for (const event of doneEvents(this.#entries, MEMBER_ID)) this.#done.add(event);
    if (before === undefined) return;
    const was = portalOf(before);
    if (new Set(is.applied).size < is.applied.length) {
      throw new Violation(`${writer} recorded an upgrade twice: ${is.applied.join(", ")}`);
    }
    const isHolder = holds(writer, was);
    if (is.generation === was.generation) {
      if (was.version !== undefined && (is.version === undefined || compareVersions(is.version, was.version) < 0)) {
        throw new Violation(`${writer} moved the version from ${was.version} back to ${is.version}`);
      }
      if (is.guarded !== was.guarded && !isHolder) {
        throw new Violation(`${writer} changed ${was.guarded} to ${is.guarded} under the lease of ${was.lease?.owner}`);
      }
    }
    if (was.lease === undefined || isHolder || was.lease.owner === is.lease?.owner) return;
    // Its own clock is all that a process has.
    if (was.lease.until > this.#clocks.get(writer[0]!)!()) {
      throw new Violation(`${writer} replaced the lease of ${was.lease.owner} before it expired`);
    }
  }

  #addRun(runId: string, generation: number): void {
    const known = this.#generations.get(runId) ?? generation;
    if (known !== generation) throw new Violation(`run ${runId} is of two installations`);
    this.#generations.set(runId, generation);
  }

  #checkResults(writer: string): void {
    const recorded = recordedSteps(this.#entries, MEMBER_ID);
    for (const [step, result] of this.#results) {
      const now = recorded.get(step);
      // The next page has replaced it.
      if (now === undefined && step.includes("#")) continue;
      if (now !== result) throw new Violation(`${writer} replaced the result ${result} of ${step} by ${now}`);
    }
    for (const [step, result] of recorded) this.#results.set(step, result);
  }
}

/** Returns whether a process holds the lease: owners are random strings, which begin with the id of their process. */
function holds(process: string, portal: StoredPortal): boolean {
  return portal.lease?.owner.startsWith(`${process}-`) ?? false;
}
