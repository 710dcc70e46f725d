/**
 * A worker process of the chaos: serves the app, reports the effects of its steps to the effects log, and prints its URL,
 * then heartbeats. Lines on stdin make its storage fail or work.
 */
import {
  createApp,
  type LogFields,
  type Plugin,
  RetryAfterError,
  type StepScope,
  type Storage,
  type UpgradeContext,
} from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { serve } from "@b24/onappupdate/node-server";
import { type Faults, faultyStorage } from "@b24/onappupdate/testing";
import { writeSync } from "node:fs";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import type { WorkerSettings } from "./_workers.ts";
import { LEASE_MS, RETENTION_MS } from "./_plan.ts";
import { quietLogger } from "../support/app.ts";
import { seededBy } from "../support/seeded.ts";
import { openStorage } from "./_storages.ts";
import { SLEEPS_AFTER, STEPS } from "./_upgrades.ts";
import type { Begin, End, Handled } from "./_effects_log.ts";
import { withoutWrite } from "../support/without_write.ts";

const [, , settings] = process.argv;
const { storage, at, logUrl, beatMs, pace, patienceMs, name, skewMs, isFailing } = JSON.parse(
  settings!,
) as WorkerSettings;

setInterval(() => void writeSync(1, `${Date.now()}\n`), beatMs);

const faults: Faults = isFailing ? { unavailable: 1 } : {};
process.stdin.setEncoding("utf8").on("data", async (text: string) => {
  const fails = text.trim().split("\n").at(-1) === "fail";
  // A storage that goes down has executed some of the calls that it does not answer.
  faults.lostReply = fails ? 1 : 0;
  if (fails) await sleep(20);
  faults.unavailable = faults.lostReply;
});
// The test process has ended.
process.stdin.on("end", () => process.exit());

/** Sends a report to the effects log. Resolves to false if a later holder has reported an effect. */
async function send(report: Begin | End | Handled, signal?: AbortSignal): Promise<boolean> {
  const response = await fetch(logUrl, {
    method: "POST",
    body: JSON.stringify(report),
    ...(signal === undefined ? {} : { signal }),
  });
  await response.body?.cancel();
  return response.ok;
}

let effects = 0;

/** Executes the effect of a step, and returns its id. */
async function effect(
  ctx: UpgradeContext,
  upgradeId: string,
  step: string,
  scope: StepScope,
  page?: number,
): Promise<string> {
  const { memberId, portal: { generation } } = ctx;
  const { idempotencyKey, fencingToken, attempt, signal } = scope;
  const id = `${name}.${effects++}`;
  const part = { upgradeId, step, ...(page === undefined ? {} : { page }) };
  const begin = {
    kind: "begin",
    id,
    process: name,
    memberId,
    generation,
    idempotencyKey,
    fencingToken: fencingToken,
    attempt,
  } as const;
  const chance = seededBy(id);
  signal.throwIfAborted();
  let isComplete = false;
  try {
    const isAccepted = await send({ ...begin, ...part, at: Date.now() }, signal);
    if (!isAccepted) throw new Error("refused: another process has a higher fencing token");
    await sleep(chance < 0.02 ? pace * (LEASE_MS * 1.3) : chance * 30, undefined, { signal });
    isComplete = true;
  } finally {
    await send({ kind: "end", id, isComplete, at: Date.now() });
  }
  // The effect is complete, but looks as if it were not.
  if (chance > 0.95) throw new RetryAfterError(40);
  if (chance > 0.85) throw new Error("this step fails sometimes");
  return id;
}

/** Prints an error for the test, which accepts none, except that the storage is down. */
function printError(message: string, fields: LogFields = {}): void {
  // The logger gets errors as plain objects.
  const error = fields["err"] ?? fields["error"];
  if ((error as { readonly code?: unknown } | undefined)?.code === "storage") return;
  writeSync(2, `${message} ${JSON.stringify(fields)}\n`);
}

/** Opens the storage, and retries while it is down, as a process supervisor does. */
async function untilOpened(): Promise<Storage> {
  while (true) {
    try {
      return await openStorage(storage, at, patienceMs);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      await sleep(50);
    }
  }
}

/** Reports the version of the event as verified. Without that, only ONAPPINSTALL ends a removal. */
const trustVersion: Plugin = {
  name: "trustVersion",
  phase: "verify",
  around: ({ event }, next) =>
    next(
      event.name === "ONAPPUPDATE" || event.name === "ONAPPINSTALL" ? { installedVersion: event.data.version } : {},
    ),
};

/** Prints calls that failed, or took so long that a lease may have expired meanwhile. */
function reportCutOffs(storage: Storage): Storage {
  const timed = <A extends unknown[], R>(call: (...args: A) => Promise<R>) => async (...args: A): Promise<R> => {
    const from = Date.now();
    const cutOff = (): void => void writeSync(1, `cut-off ${from} ${Date.now()}\n`);
    try {
      const result = await call(...args);
      if (Date.now() - from > LEASE_MS * pace / 3) cutOff();
      return result;
    } catch (error) {
      cutOff();
      throw error;
    }
  };
  return {
    ...withoutWrite(storage),
    get: timed(storage.get) as Storage["get"],
    put: timed(storage.put) as Storage["put"],
    delete: timed(storage.delete),
  };
}

const app = createApp({
  storage: reportCutOffs(faultyStorage(await untilOpened(), faults, 1)),
  clock: () => Date.now() + skewMs,
  limits: { leaseMs: LEASE_MS * pace, retentionMs: RETENTION_MS * pace },
  retry: { maxAttempts: 1000, initialDelayMs: 40, maxDelayMs: 300 },
  tickEveryMs: 250,
  logger: { ...quietLogger, error: printError },
}).use(trustVersion).on("ONCRMDEALADD", async ({ event }) => {
  const { data } = event as unknown as { readonly data: { readonly extra: { readonly ID: string } } };
  const { memberId } = event.auth;
  await send({ kind: "handled", process: name, memberId, deal: data.extra.ID, at: Date.now() });
});

for (const [upgradeId, steps] of Object.entries(STEPS)) {
  app.upgrade(upgradeId, async (ctx) => {
    for (const [step, kind] of Object.entries(steps)) {
      if (typeof kind === "number") {
        await ctx.pages(step, 0, async (page, scope) => {
          await effect(ctx, upgradeId, step, scope, page);
          return { next: page + 1 < kind ? page + 1 : null, done: 1, total: kind };
        });
      } else {
        await ctx.step(step, async (scope) => {
          const id = await effect(ctx, upgradeId, step, scope);
          return kind === "large" ? { id, fill: "x".repeat(10_000) } : { id };
        });
      }
      if (step === SLEEPS_AFTER) await ctx.sleep("a while", 200);
    }
  });
}

await app.start();
await serve(app, { port: 0, onListen: ({ url }) => void writeSync(1, `${url}\n`) });
