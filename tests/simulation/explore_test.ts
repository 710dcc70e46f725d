/** The scheduler and the explorer, on processes that are simpler than an app. */
import assert from "node:assert/strict";
import { describe, it } from "../support/test.ts";
import { exploreAll, exploreRandom, parseSchedule, replay, ScheduleError, type Subject } from "./_explore.ts";
import type { SimulatedProcess } from "./_process.ts";
import { type Action, Scheduler } from "./_scheduler.ts";
import { Entries, simulatedStorage, type Writes } from "./_storage.ts";

/** Processes that run `work`, one each; `check` runs at the end. */
function processes(
  places: number,
  work: (process: SimulatedProcess, entries: Entries) => Promise<unknown>,
  check: (entries: Entries) => void = () => {},
): Subject {
  return {
    name: "toy",
    run: async (choose, trace) => {
      const entries = new Entries();
      const script = Array.from({ length: places }, (_, place): Action => ({
        ...{ label: `start ${place}`, place },
        run: () => void work(scheduler.process(place), entries).catch(() => {}),
      }));
      const scheduler = new Scheduler({
        ...{ places, choose, script, pausesMs: [60_000], whilePaused: () => [] },
        ...trace && { trace },
      });
      await scheduler.run();
      check(entries);
    },
  };
}

/** Adds 1 to a number, in two operations. */
async function increment(process: SimulatedProcess, entries: Entries): Promise<void> {
  const storage = simulatedStorage(entries, "none", process);
  const entry = await storage.get<number>(["n"]);
  await storage.put(["n"], (entry?.value ?? 0) + 1);
}

function numberIn(entries: Entries): number {
  return JSON.parse(entries.get(["n"])?.json ?? "0");
}

const racing = processes(2, increment, (entries) => assert.equal(numberIn(entries), 2));

async function failureOf(run: Promise<unknown>): Promise<ScheduleError> {
  return await run.then(() => assert.fail("no schedule failed"), (error) => error);
}

describe("exploreAll()", () => {
  it("runs the schedule without deviations alone, if none is allowed", async () => {
    assert.equal(await exploreAll(racing, { deviations: 0, faults: 0 }), 1);
  });

  it("finds a lost update with one switch, and its error repeats it", async () => {
    const error = await failureOf(exploreAll(racing, { deviations: 1, faults: 0 }));
    assert(error instanceof ScheduleError);
    const { name, deviations } = parseSchedule(error.schedule);
    assert.equal(name, "toy");
    const repeated = await failureOf(replay(racing, deviations));
    assert.equal(repeated.message, error.message);
  });

  it("runs every order of operations", async () => {
    const orders = new Set<string>();
    let order: string[] = [];
    const two = async ({ id, operate }: SimulatedProcess): Promise<void> => {
      for (const n of [1, 2]) {
        const step = { parts: 1, apply: () => order.push(id + n), error: () => new Error() };
        await operate(String(n), step);
      }
    };
    const subject = processes(2, two, () => {
      orders.add(order.join(" "));
      order = [];
    });
    await exploreAll(subject, { deviations: 4, faults: 0 });
    // Two out of four.
    assert.equal(orders.size, 6);
  });

  it("crashes and fails before and after each write", async () => {
    const seen = new Set<string>();
    const write = async (process: SimulatedProcess, entries: Entries): Promise<void> => {
      let outcome = "crashed";
      entries.onWrite = () => {};
      const storage = simulatedStorage(entries, "none", process);
      results.push(() => `${outcome}, ${numberIn(entries)}`);
      await storage.put(["n"], 1).then(() => outcome = "put", () => outcome = "failed");
    };
    let results: (() => string)[] = [];
    const subject = processes(1, write, () => {
      for (const result of results) seen.add(result());
      results = [];
    });
    await exploreAll(subject, { deviations: 1, faults: 1 });
    assert.deepEqual([...seen].sort(), ["crashed, 0", "crashed, 1", "failed, 0", "failed, 1", "put, 1"]);
  });

  for (
    const [writes, left] of [["none", ["", "a", "a b"]], ["prefix", ["", "a", "a b"]], ["atomic", ["", "a b"]]] as const
  ) {
    it(`leaves ${left.length} states of two writes in order, with writes: ${writes}`, async () => {
      const seen = new Set<string>();
      const write = async (process: SimulatedProcess, entries: Entries): Promise<void> => {
        await writeBoth(process, entries, writes);
      };
      const subject = processes(1, write, (entries) => seen.add(entries.list().map(({ key }) => key[0]).join(" ")));
      await exploreAll(subject, { deviations: 1, faults: 1 });
      assert.deepEqual([...seen].sort(), left);
    });
  }

  it("lets other processes work while one is paused for longer than their timers", async () => {
    const order: string[] = [];
    const work = async ({ id, operate, setTimer }: SimulatedProcess): Promise<void> => {
      setTimer(() => order.push(`${id} timer`), 50_000);
      await operate("write", { parts: 1, apply: () => order.push(id), error: () => new Error() });
    };
    await exploreAll(processes(2, work, () => order.push("|")), { deviations: 1, faults: 1 });
    assert.match(order.join(" "), /\| A1 A1 timer B1 B1 timer \|/);
  });
});

async function writeBoth(process: SimulatedProcess, entries: Entries, writes: Writes): Promise<void> {
  const storage = simulatedStorage(entries, writes, process);
  if (storage.write !== undefined) {
    return void await storage.write([{ put: ["a"], value: 1 }, { put: ["b"], value: 2 }]);
  }
  await storage.put(["a"], 1);
  await storage.put(["b"], 2);
}

describe("exploreRandom()", () => {
  it("finds a lost update, and reports no choice that it does not need", async () => {
    const run = async (): Promise<void> => {
      for (let seed = 1; seed < 100; seed++) await exploreRandom(racing, seed);
    };
    const { schedule } = await failureOf(run());
    assert.equal(parseSchedule(schedule).deviations.length, 1);
  });

  it("does the same for the same seed", async () => {
    const traceOf = async (seed: number): Promise<string> => {
      const lines: string[] = [];
      const subject: Subject = {
        ...racing,
        run: async (choose) => await racing.run(choose, (line) => lines.push(line)),
      };
      await exploreRandom(subject, seed).catch(() => {});
      return lines.join("\n");
    };
    const traces = new Set<string>();
    for (let seed = 1; seed < 20; seed++) {
      const trace = await traceOf(seed);
      assert.equal(await traceOf(seed), trace);
      traces.add(trace);
    }
    assert(traces.size > 1);
  });
});
