/** `deno test -A tests/scenarios/flood_test.ts` prints the figures. */
import assert from "node:assert/strict";
import { it } from "../support/test.ts";
import { type FloodFigures, LIMIT_SECONDS, runFlood } from "./_flood.ts";

const OPTIONS = { perSecond: 200, known: 50, unknown: 1000, installations: 100 };

it("200 forged events a second for a minute keep no authentic event out, and cost a bounded amount", async () => {
  const figures = await runFlood(OPTIONS);
  print(figures);
  assert.deepEqual(figures.forgedInEffect, []);
  assert.deepEqual(figures.authentic, { 200: 200 });
  assert.equal(figures.updatesAfter.length, 100, "updates in effect");
  assert.equal(figures.installationsAfter.length, 100, "installations in effect");
  // The budget, and a check after each authentic contact.
  for (const requests of figures.requestsPerMinute) assert(requests <= 600 + 200, `${requests} requests in a minute`);
  const { before, peak, after } = figures.stored;
  // At most 32 events for each member_id, with a head and an entry of the schedule, and what is stored anyway.
  assert(peak.entries < before.entries + 12_000 * 1.2, `${peak.entries} entries`);
  assert(peak.characters < 32 * 2 ** 20, `${peak.characters} characters`);
  assert.equal(figures.waiting, 0, "entries of waiting events");
  // All that stays belongs to portals.
  assert(after.entries < 150 * 12, `${after.entries} entries are left`);
});

function print(
  { forged, authentic, requestsPerMinute, updatesAfter, installationsAfter, stored, heapMiB }: FloodFigures,
): void {
  const size = ({ entries, characters }: FloodFigures["stored"]["peak"]): string =>
    `${entries} entries, ${(characters / 2 ** 20).toFixed(1)} MiB`;
  const lines = [
    `answers: forged ${JSON.stringify(forged)}, authentic ${JSON.stringify(authentic)}`,
    `in effect within ${LIMIT_SECONDS} s: ${updatesAfter.length} updates, the last after ${updatesAfter.at(-1)} s; ` +
    `${installationsAfter.length} installations, the last after ${installationsAfter.at(-1)} s`,
    `requests to the OAuth hosts, by minute: ${requestsPerMinute.join(", ")}`,
    `stored: ${size(stored.before)} before; ${size(stored.peak)} at the peak; ${size(stored.after)} a day later`,
    `heap: ${heapMiB.toFixed(0)} MiB more at the peak, with the fake Bitrix24`,
  ];
  // deno-lint-ignore no-console
  console.log(lines.join("\n"));
}
