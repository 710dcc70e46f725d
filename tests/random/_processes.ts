/** The processes of the app in a random life: they fail, are killed at any write, and are replaced. */
import {
  type App,
  createApp,
  deployed,
  mapped,
  NonRetriableError,
  RetryAfterError,
  type Storage,
  type UpgradeContext,
} from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { type Faults, faultyStorage } from "@b24/onappupdate/testing";
import { StorageError } from "@b24/onappupdate/errors";
import { CLIENT_ID } from "../support/app.ts";
import { simulated } from "../support/time.ts";
import { watchedLogger } from "./_logger.ts";
import { MAX_VALUE_BYTES } from "./_storage.ts";
import { CLIENT_SECRET, DAY, HOUR, LATEST, SECOND, type World } from "./_world.ts";

/** A process of the app. */
export interface AppProcess {
  readonly app: App;
  readonly faults: Faults;
  /** Nothing of a killed process reaches the storage or a host. */
  readonly kill: () => void;
  readonly isKilled: () => boolean;
  /** Puts the clock of the process forward by so many milliseconds, or back. */
  readonly moveClock: (ms: number) => void;
  /** Kills the process at the write with this number from now on. */
  readonly killAtWrite: (number: number) => void;
}

export interface Processes {
  readonly all: AppProcess[];
  readonly any: () => AppProcess;
  /** Replaces a process by one with newer code; `null` closes it in an orderly way first. */
  readonly replace: (index: number, how: "kill" | "close") => Promise<void>;
  /** Leaves one process with the latest code and without failures. */
  readonly settleDown: () => Promise<void>;
}

/** Starts one or two processes. */
export function startProcesses(world: World, seed: number): Processes {
  const { pick, time, log } = world;
  let code = { versions: 3, upgrades: 3 };
  let started = 0;
  const start = (): AppProcess => startProcess(world, code, ++started, seed);
  const all = Array.from({ length: pick([1, 2]) }, start);
  const close = async ({ app }: AppProcess): Promise<void> => {
    const closed = app.close();
    await time.elapse(12 * SECOND);
    await closed;
  };
  return {
    all,
    any: () => pick(all),
    replace: async (index, how) => {
      const old = all[index]!;
      if (how === "kill") old.kill();
      code = { versions: code.versions + pick([0, 1]), upgrades: code.upgrades + pick([0, 1]) };
      log.push(`${how} process ${index}; the next one has ${JSON.stringify(code)}`);
      all[index] = start();
      await close(old);
    },
    settleDown: async () => {
      for (const process of all) await close(process);
      code = { versions: LATEST, upgrades: LATEST };
      all.splice(0, all.length, start());
    },
  };
}

function startProcess(
  world: World,
  code: { readonly versions: number; readonly upgrades: number },
  id: number,
  seed: number,
): AppProcess {
  const { character, time, bitrix24, seen, truth, violations, log } = world;
  const rate = world.hasFailures ? character.storageFails : 0;
  if (rate > 0) world.outbox.mayRepeat();
  const faults: Faults = { unavailable: rate, lostReply: rate };
  let isKilled = false;
  let writes = 0;
  let killedAt = Infinity;
  const assertAlive = (): void => {
    if (isKilled) throw new StorageError("cannot reach the storage: the process was killed");
  };
  const inner = faultyStorage(world.storage, faults, seed + id);
  const write = async <T>(run: () => Promise<T>): Promise<T> => {
    assertAlive();
    if (++writes >= killedAt) {
      isKilled = true;
      world.outbox.mayRepeat();
    }
    assertAlive();
    return await run();
  };
  const storage: Storage = {
    ...inner,
    get: async (...args) => (assertAlive(), await inner.get(...args)),
    put: (...args) => write(() => inner.put(...args)),
    delete: (...args) => write(() => inner.delete(...args)),
    ...(inner.write === undefined ? {} : { write: (...args) => write(() => inner.write!(...args)) }),
    close: () => Promise.resolve(),
  };
  // In whole seconds.
  let clockError = Math.floor((world.random() * 2 - 1) * (character.clockErrorMs / SECOND + 1)) * SECOND;
  if (character.clockErrorMs > 0) log.push(`  clock of process ${id}: ${clockError / SECOND} s`);
  const clock = (): number => time.now() + clockError;
  const version = Math.min(code.upgrades, LATEST);
  if (character.isDeployed) truth.versions.add(String(version));
  const names = Array.from({ length: code.versions }, (_, i) => [`${i + 1}`, `${i + 1}.0.0`]);
  let strings = 0;
  const options = {
    ...{ storage, clientId: CLIENT_ID, logger: watchedLogger(violations) },
    ...(character.hasSecret ? { clientSecret: CLIENT_SECRET } : {}),
    ...simulated({ ...time, now: clock }),
    random: () => `${id}-${++strings}`,
    acknowledge: world.pick(["stored", "handled"] as const),
    fetch: async (input: Request | URL | string, init?: RequestInit) => {
      if (isKilled) return await new Promise<never>(() => {});
      return await bitrix24.fetch(input, init);
    },
    ...{ lookup: () => Promise.resolve(undefined), tickEveryMs: false as const },
    ...(character.rollout === undefined ? {} : { rollout: character.rollout }),
    ...(character.isDeployed ? { versions: deployed(`${version}.0.0`) } : {}),
    ...(character.isMapped && !character.isDeployed ? { versions: mapped(Object.fromEntries(names)) } : {}),
  };
  const app = createApp(options).use(applicationToken()).use(world.told.plugin(() => !isKilled))
    .use(world.outbox.plugin(() => !isKilled, () => {
      if (world.hasFailures && world.random() < character.throws) throw new Error("a random failure");
    }));
  for (let to = 2; to <= code.upgrades; to++) {
    app.upgrade(`${to}.0.0`, upgradeOf(world, to, () => !isKilled), { id: `to ${to}`, rehearsal: true });
  }
  app.upgrade("900.0.0", () => void violations.push("an upgrade to a forged version ran"), { id: "forged" });
  app.on("ONCRMDEALADD", ({ event }) => {
    mayFail(world, "deal");
    seen.add(String(event.data.extra["ID"]));
  }).on(["ONAPPINSTALL", "ONAPPUPDATE"], ({ event: { name, data } }) => {
    // With deployed(), the version in events is not used, and nobody is asked about it.
    if (!character.isDeployed && !truth.versions.has(data.version.split(".")[0]!)) {
      violations.push(`a handler saw version ${data.version}`);
    }
    mayFail(world, name);
  }).on(
    "ONAPPUNINSTALL",
    ({ confirmed }) => {
      if (truth.removals === 0 && (confirmed || truth.believedRemovals === 0)) {
        violations.push(
          "a handler of ONAPPUNINSTALL ran without a removal",
        );
      }
    },
  );
  return {
    ...{ app, faults },
    kill: () => {
      isKilled = true;
      world.outbox.mayRepeat();
    },
    isKilled: () => isKilled,
    moveClock: (ms) => void (clockError += ms),
    killAtWrite: (number) => void (killedAt = writes + number),
  };
}

function upgradeOf(world: World, to: number, isAlive: () => boolean): (ctx: UpgradeContext) => Promise<void> {
  const { stepResults, violations } = world;
  const note = (problem: string | undefined): void => void (problem !== undefined && violations.push(problem));
  let started = 0;
  return async ({ mode, step, pages, sleep }) => {
    const name = `step one of ${to}`;
    const isRun = (): boolean => mode === "run" && isAlive();
    mayFail(world, `upgrade ${to}`);
    const result = await step("one", () => {
      if (isRun()) note(stepResults.started(name));
      mayFail(world, `step of ${to}`);
      const result = `${++started} at ${world.time.now()}`;
      return result.padEnd(sizeOfResult(world), "_");
    }, { undo: () => mayFail(world, `undo of ${to}`) });
    if (isRun()) note(stepResults.received(name, result));
    if (world.character.sleeps) await sleep("a minute", 60 * SECOND);
    await pages("pages", 0, (page) => {
      mayFail(world, `page ${page} of ${to}`);
      return Promise.resolve({ next: page < 2 ? page + 1 : null, done: 1 });
    });
  };
}

/** Returns the size of the result of a step. The storage cannot take the largest ones. */
function sizeOfResult({ character, hasFailures, pick }: World): number {
  if (!character.hasLarge) return 0;
  return pick([0, 300, 20_000, ...hasFailures ? [2 * MAX_VALUE_BYTES] : []]);
}

function mayFail({ hasFailures, random, pick, character, log }: World, where: string): void {
  if (!hasFailures || random() >= character.throws) return;
  const error = pick([
    () => new Error("a random failure"),
    () => new NonRetriableError("a random permanent failure"),
    () => new RetryAfterError(pick([0, HOUR, 10 * DAY])),
  ])();
  log.push(`    ${where}: ${error.message}`);
  throw error;
}
