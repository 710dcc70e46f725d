/**
 * One process of the chaos: serves the app, tells the witness of all that its steps do, and prints its address and then,
 * many times a second, what time it is. Where a time is missing, it stood still.
 */
import { createApp, type LogFields, RetryAfter, type StepScope, type UpgradeContext } from "@b24/onappupdate";
import { serve } from "@b24/onappupdate/node-server";
import { writeSync } from "node:fs";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { trusting } from "../_app.ts";
import { chanceFor } from "./_seeded.ts";
import { openStorage, type StorageName } from "./_storages.ts";
import { SLEEPS_AFTER, STEPS } from "./_upgrades.ts";
import type { Begin, End, Handled } from "./_witness.ts";

const [, , settings] = process.argv;
const { storage, at, witness, leaseMs, beatMs, name } = JSON.parse(settings!) as {
  readonly storage: StorageName;
  readonly at: string;
  readonly witness: string;
  readonly leaseMs: number;
  readonly beatMs: number;
  /** Of this process, unlike that of every other one. */
  readonly name: string;
};

setInterval(() => void writeSync(1, `${Date.now()}\n`), beatMs);

async function tell(report: Begin | End | Handled, signal?: AbortSignal): Promise<void> {
  const response = await fetch(witness, {
    method: "POST",
    body: JSON.stringify(report),
    ...(signal === undefined ? {} : { signal }),
  });
  await response.body?.cancel();
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
  const { idempotencyKey, fence, attempt, signal } = scope;
  const id = `${name}.${effects++}`;
  const part = { upgradeId, step, ...(page === undefined ? {} : { page }) };
  const begin = { kind: "begin", id, process: name, memberId, generation, idempotencyKey, fence, attempt } as const;
  const chance = chanceFor(id);
  signal.throwIfAborted();
  let isWhole = false;
  try {
    await tell({ ...begin, ...part, at: Date.now() }, signal);
    await sleep(chance < 0.02 ? leaseMs * 1.3 : chance * 30, undefined, { signal });
    isWhole = true;
  } finally {
    await tell({ kind: "end", id, isWhole, at: Date.now() });
  }
  // It was done, and looks as if it was not.
  if (chance > 0.95) throw new RetryAfter(40);
  if (chance > 0.85) throw new Error("this step fails at times");
  return id;
}

/** Where it is looked for: nothing of this is to happen. */
function complain(message: string, fields: LogFields = {}): void {
  const { error } = fields;
  const { stack } = error instanceof Error ? error : {};
  writeSync(2, `${message} ${JSON.stringify(fields)} ${stack}\n`);
}

const app = createApp({
  storage: await openStorage(storage, at),
  limits: { leaseMs },
  retry: { attempts: 1000, firstMs: 40, mostMs: 300 },
  tickEveryMs: 150,
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
