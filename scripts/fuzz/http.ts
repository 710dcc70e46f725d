/**
 * Sends mutated fixtures to an app without verification. The app must answer each with a documented status and never reject,
 * no prototype may change, and no answer and no log line of a refusal may contain a token of the fixtures.
 *
 *     deno run -A scripts/fuzz/http.ts [count] [seed]
 *
 * Default: 200,000 requests, seed 1. The same seed makes the same requests.
 */
// deno-lint-ignore-file no-console
import assert from "node:assert/strict";
import process from "node:process";
import { type App, createApp, memoryStorage } from "@b24/onappupdate";
import { recordingLogger, trustAll } from "../../tests/support/app.ts";
import { seeded } from "../../tests/support/seeded.ts";
import { FIXTURES, mutatedRequest, type Sent, TOKENS } from "./_mutated_requests.ts";
import { prototypes } from "./_prototypes.ts";

/** Result of a run. */
export interface HttpFuzzReport {
  /** Number of answers, by status. */
  readonly statuses: Readonly<Record<number, number>>;
  /** Time (ms) of the slowest request. */
  readonly slowestMs: number;
}

/** Statuses of an app whose storage works and whose verification accepts everything. */
const DOCUMENTED = [200, 400, 405, 413, 415];
/** Maximum time (ms) of a request: far above the slowest, far below a hang. */
const SLOW_MS = 1000;
/** A new app after so many requests keeps the storage small. */
const REQUESTS_PER_APP = 1000;

/**
 * Sends `count` requests.
 *
 * @throws {AssertionError} with the request, at the first that breaks a requirement
 */
export async function fuzzHttp(seed: number, count: number): Promise<HttpFuzzReport> {
  const random = seeded(seed);
  const before = prototypes();
  const statuses: Record<number, number> = {};
  let slowestMs = 0;
  let target = makeApp();
  for (let i = 0; i < count; i++) {
    if (i % REQUESTS_PER_APP === REQUESTS_PER_APP - 1) {
      for (const { type, bytes } of FIXTURES) {
        const { status } = await target.app.fetch(requestOf({ method: "POST", type, bytes, pieces: 1 }));
        assert.equal(status, 200, `a fixture is refused after request ${i}`);
      }
      await target.app.close();
      target = makeApp();
    }
    const sent = mutatedRequest(random);
    const describe = (problem: string): string => `request ${i} of seed ${seed}, ${problem}: ${inspectSent(sent)}`;
    const start = performance.now();
    const response = await target.app.fetch(requestOf(sent)).catch((error) => {
      throw new Error(describe("rejected"), { cause: error });
    });
    const body = await response.text();
    const ms = performance.now() - start;
    slowestMs = Math.max(slowestMs, ms);
    const { status } = response;
    statuses[status] = (statuses[status] ?? 0) + 1;
    assert(ms < SLOW_MS, describe(`${ms} ms`));
    assert(DOCUMENTED.includes(status), describe(`${status} ${target.lines.join("\n")}`));
    if (status === 200) assert.equal(body, "", describe("a body"));
    else assert.equal(JSON.parse(body).status, status, describe(body));
    // A mutation may put a token in the place of the member_id, as which an accepted event is then logged.
    const lines = target.lines.splice(0).map((line) => line.replace(/"memberId":"\w+"/, ""));
    for (const text of status === 200 ? [body] : [body, ...lines]) {
      for (const token of TOKENS) assert(!text.includes(token), describe(`a token in ${text}`));
    }
    if (i % 256 === 0) assert.deepEqual(prototypes(), before, describe("a prototype changed"));
  }
  assert.deepEqual(prototypes(), before);
  await target.app.close();
  return { statuses, slowestMs };
}

function makeApp(): { readonly app: App; readonly lines: string[] } {
  const { logger, lines } = recordingLogger();
  const app = createApp({ storage: memoryStorage(), acknowledge: "handled", logger }).use(trustAll)
    .upgrade("2", () => {})
    .on(["ONAPPPAYMENT", "ONAPPTEST", "ONAPPMETHODCONFIRM"], ({ event, log }) => log.info("handling", { event }));
  return { app, lines };
}

function requestOf({ method, type, bytes, pieces }: Sent): Request {
  const init = { method, headers: { "content-type": type } };
  if (method === "GET" || method === "HEAD") return new Request("http://localhost/", init);
  if (pieces === 1) return new Request("http://localhost/", { ...init, body: bytes });
  const size = Math.ceil(bytes.byteLength / pieces);
  let start = 0;
  const body = new ReadableStream({
    pull: (controller) => {
      if (start >= bytes.byteLength) return controller.close();
      controller.enqueue(bytes.subarray(start, start += size));
    },
  });
  const streamed: RequestInit & { duplex: "half" } = { ...init, body, duplex: "half" };
  return new Request("http://localhost/", streamed);
}

function inspectSent({ bytes, ...sent }: Sent): string {
  return `${JSON.stringify(sent)} ${JSON.stringify(new TextDecoder("latin1").decode(bytes.subarray(0, 4000)))}`;
}

if (import.meta.main) {
  const [count = "200000", seed = "1"] = process.argv.slice(2);
  const { statuses, slowestMs } = await fuzzHttp(Number(seed), Number(count));
  console.log(`${count} requests, seed ${seed}: all requirements met; slowest ${slowestMs.toFixed(1)} ms`);
  for (const [status, times] of Object.entries(statuses)) console.log(`  ${status}: ${times}`);
}
