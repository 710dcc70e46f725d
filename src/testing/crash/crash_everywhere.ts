/**
 * Crashes the process of an app before and after each of its operations, alone and in pairs, restarts it, and compares the
 * result with a run without crashes.
 */
import { checkOptions } from "../../check_options.ts";
import { execute, type Execution } from "./execution.ts";
import { type CrashEverywhereOptions, OPTION_RULES } from "./options.ts";
import { describeOutcome, differenceOf } from "./outcome.ts";
import type { CrashPoint } from "./process.ts";
import { compareCalls, type CrashReport, makeReport } from "./report.ts";

/**
 * Runs the app once without a crash (the baseline run), then once for each crash point, then for pairs of crash points. A
 * crash point is before or after an operation: a read or write of the storage, or a call. After each execution, every
 * portal must have the version, target, status and applied upgrades of the baseline run. The report lists the calls that
 * crashes repeated, and those that the receiver cannot recognize as repeats.
 *
 * Handlers see a crash as an error of the storage or of `fetch`. Effects that use neither are not crash points. Portals
 * are processed one after the other.
 *
 * @throws {Error} if the result of an execution differs from that of the baseline run, or `check` throws; the message
 * names the crash point
 * @throws {TypeError} if an option is unknown or invalid, or `app` returns an app that was started
 *
 * @example
 * ```ts
 * import { createApp } from "@b24/onappupdate";
 * import { applicationToken } from "@b24/onappupdate/application-token";
 * import { crashEverywhere, fakeBitrix24 } from "@b24/onappupdate/testing";
 * import assert from "node:assert/strict";
 *
 * const bitrix24 = fakeBitrix24({ clientId: "app.5f3a" });
 * const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });
 * const report = await crashEverywhere({
 *   events: [portal.install(2), portal.update(3)],
 *   fetch: (request) => request.url.includes("/rest/") ? bitrix24.fetch(request) : new Response(),
 *   pairs: 20,
 *   app: (environment) =>
 *     createApp({ ...environment, clientId: "app.5f3a" }).use(applicationToken())
 *       .upgrade("3", async ({ step }) => {
 *         await step("create the pipeline", async ({ idempotencyKey }) => {
 *           const headers = { "idempotency-key": idempotencyKey };
 *           await environment.fetch("https://crm.example/pipelines", { method: "POST", headers });
 *         });
 *         await environment.fetch("https://crm.example/mails", { method: "POST" }); // a mistake: outside steps
 *       }),
 * });
 * assert.deepEqual(report.unsafe.map(({ call }) => call), ["POST https://crm.example/mails"]);
 * ```
 */
export async function crashEverywhere(options: CrashEverywhereOptions): Promise<CrashReport> {
  checkOptions("cannot crash an app", options, OPTION_RULES);
  const baseline = await execute(options, [], []);
  if (baseline.outcome.size === 0) throw new Error("the app stored no portal in the storage of the environment");
  const calls = compareCalls(baseline.calls);
  let executions = 0;

  async function executeWith(crashPoints: readonly CrashPoint[]): Promise<Execution> {
    const crashes: string[] = [];
    const describe = (): string =>
      crashes.map((operation, i) => `${crashPoints[i]!.when} ${operation}`).join(", then ");
    const numbers = crashPoints.map(({ at, when }) => `${when} operation ${at}`).join(", then ");
    let execution: Execution;
    try {
      execution = await execute(options, crashPoints, crashes);
    } catch (error) {
      const message = error instanceof Error ? error.message : error;
      throw new Error(`a crash ${describe()} (${numbers}): ${message}`, { cause: error });
    }
    const difference = differenceOf(execution.outcome, baseline.outcome);
    if (difference !== undefined) throw new Error(`a crash ${describe()} (${numbers}) results in ${difference}`);
    calls.add(execution.calls, describe());
    executions++;
    return execution;
  }

  const pairs: (readonly [CrashPoint, CrashPoint])[] = [];
  for (const first of crashPointsOf(baseline.operations)) {
    const { operations } = await executeWith([first]);
    for (const second of crashPointsOf(operations)) pairs.push([first, second]);
  }
  const maxPairs = options.pairs ?? 1000;
  const stride = Math.max(1, pairs.length / maxPairs);
  for (let i = 0; i < pairs.length && maxPairs > 0; i += stride) await executeWith(pairs[Math.floor(i)]!);
  return makeReport(
    { executions, operations: baseline.operations, repeated: calls.repeated() },
    describeOutcome(baseline.outcome),
  );
}

/** Returns all crash points of a process with so many operations. */
function crashPointsOf(operations: number): CrashPoint[] {
  return Array.from({ length: operations }, (_, i) => i + 1)
    .flatMap((at) => [{ at, when: "before" }, { at, when: "after" }] as const);
}
