/**
 * One process of the chaos: serves the app, tells the witness of all that its steps do, and prints its address and then,
 * many times a second, what time it is. Where a time is missing, it stood still. On its input it is told when its storage
 * is to fail, and when not to.
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
import type { WorkerSettings } from "./_crew.ts";
import { LEASE_MS, RETENTION_MS } from "./_plan.ts";
import { chanceFor } from "../support/seeded.ts";
import { openStorage } from "./_storages.ts";
import { SLEEPS_AFTER, STEPS } from "./_upgrades.ts";
import type { Begin, End, Handled } from "./_witness.ts";

const [, , settings] = process.argv;
const { storage, at, witness, beatMs, pace, patienceMs, name, skewMs, isFailing } = JSON.parse(
  settings!,
) as WorkerSettings;

setInterval(() => void writeSync(1, `${Date.now()}\n`), beatMs);

const faults: Faults = isFailing ? { unavailable: 1 } : {};
process.stdin.setEncoding("utf8").on("data", async (text: string) => {
  const isToFail = text.trim().split("\n").at(-1) === "fail";
  // A storage that goes down has done some of what it does not answer any more.
  faults.lostReply = isToFail ? 1 : 0;
  if (isToFail) await sleep(20);
  faults.unavailable = faults.lostReply;
});
// Who started it is gone.
process.stdin.on("end", () => process.exit());

/** Says no when the witness has heard of a later holder. */
async function tell(report: Begin | End | Handled, signal?: AbortSignal): Promise<boolean> {
  const response = await fetch(witness, {
    method: "POST",
    body: JSON.stringify(report),
    ...(signal === undefined ? {} : { signal }),
  });
  await response.body?.cancel();
  return response.ok;
}

let effects = 0;

/** Does what a step does outside; gives the name of having done it. */
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
    fence: fencingToken,
    attempt,
  } as const;
  const chance = chanceFor(id);
  signal.throwIfAborted();
  let isWhole = false;
  try {
    const isAccepted = await tell({ ...begin, ...part, at: Date.now() }, signal);
    if (!isAccepted) throw new Error("somebody with a higher fence was here");
    await sleep(chance < 0.02 ? pace * (LEASE_MS * 1.3) : chance * 30, undefined, { signal });
    isWhole = true;
  } finally {
    await tell({ kind: "end", id, isWhole, at: Date.now() });
  }
  // It was done, and looks as if it was not.
  if (chance > 0.95) throw new RetryAfterError(40);
  if (chance > 0.85) throw new Error("this step fails at times");
  return id;
}

/** Prints an error for the test, which accepts none, except that the storage is down. */
function complain(message: string, fields: LogFields = {}): void {
  // The logger gets errors as plain objects.
  const error = fields["err"] ?? fields["error"];
  if ((error as { readonly code?: unknown } | undefined)?.code === "storage") return;
  writeSync(2, `${message} ${JSON.stringify(fields)}\n`);
}

/** As whoever starts programs would: again and again while the storage is down. */
async function opened(): Promise<Storage> {
  while (true) {
    try {
      return await openStorage(storage, at, patienceMs);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      await sleep(50);
    }
  }
}

/** Knows what Bitrix24 would say: without its word, a removed app is not there again before ONAPPINSTALL comes. */
const trusting: Plugin = {
  name: "trusting",
  phase: "verify",
  around: ({ event }, next) =>
    next(
      event.name === "ONAPPUPDATE" || event.name === "ONAPPINSTALL" ? { installedVersion: event.data.version } : {},
    ),
};

/** Tells of calls that failed, or took so long that a lease may have ended meanwhile. */
function telling(storage: Storage): Storage {
  const tell = <A extends unknown[], R>(call: (...args: A) => Promise<R>) => async (...args: A): Promise<R> => {
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
    ...storage,
    get: tell(storage.get) as Storage["get"],
    put: tell(storage.put) as Storage["put"],
    delete: tell(storage.delete),
  };
}

const app = createApp({
  storage: telling(faultyStorage(await opened(), faults, 1)),
  clock: () => Date.now() + skewMs,
  limits: { leaseMs: LEASE_MS * pace, retentionMs: RETENTION_MS * pace },
  retry: { maxAttempts: 1000, initialDelayMs: 40, maxDelayMs: 300 },
  tickEveryMs: 250,
  logger: { debug: () => {}, info: () => {}, warn: () => {}, error: (...line) => complain(...line) },
}).use(trusting).on("ONCRMDEALADD", async ({ event }) => {
  const { data } = event as unknown as { readonly data: { readonly extra: { readonly ID: string } } };
  await tell({ kind: "handled", memberId: event.auth.memberId, deal: data.extra.ID });
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
