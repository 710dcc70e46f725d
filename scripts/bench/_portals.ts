/** Portals and events of the benchmarks, the same in every process. */
import type { App } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { type FakeBitrix24, fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";

export const CLIENT_ID = "app.5f3a";

/** Returns a fake Bitrix24 whose tokens outlive a benchmark. */
export function bench24(): FakeBitrix24 {
  return fakeBitrix24({ clientId: CLIENT_ID, accessTokenSeconds: 86_400 });
}

/** Returns portal `n`. The first digits of its member_id vary most, as in real ones, which are digests. */
export function benchPortal(bitrix24: FakeBitrix24, n: number, kind = "b"): FakePortal {
  return bitrix24.portal({ memberId: Array.from(n.toString(16).padStart(31, "0")).reverse().join("") + kind });
}

/** Calls `work` for each number below `count`, at most `concurrency` at a time. */
export async function forEach(
  count: number,
  concurrency: number,
  work: (n: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  await Promise.all(Array.from({ length: concurrency }, async () => {
    while (next < count) await work(next++);
  }));
}

/** Verifies as by default, but all portals may be installed in one minute. */
export const verification = (): ReturnType<typeof applicationToken> =>
  applicationToken({ budget: { perMinute: 1_000_000, perPortal: 1000 } });

/** @throws {Error} if one of the first `count` portals is not on `version` */
export async function assertVersion(app: Pick<App, "portal">, count: number, version: string): Promise<void> {
  const bitrix24 = bench24();
  await forEach(count, 32, async (n) => {
    const portal = await app.portal(benchPortal(bitrix24, n).memberId);
    if (portal?.version !== version) throw new Error(`portal ${n} is on ${portal?.version}, wanted ${version}`);
  });
}

/** Number of portals of {@linkcode emptyEvents}. */
export const INSTALLED = 1000;

/**
 * Returns a function that makes events with nothing to do, each a different one: INSTALLED portals announce by
 * turns the version that they have.
 */
export function emptyEvents(): () => string {
  const bitrix24 = bench24();
  const bodies = Array.from({ length: INSTALLED }, (_, n) => {
    const portal = benchPortal(bitrix24, n);
    portal.install(2);
    return portal.update(2);
  });
  let sent = 0;
  return () => {
    const n = sent++;
    return bodies[n % INSTALLED]!.replace(/&ts=\d+/, `&ts=${1_785_303_600 + n}`);
  };
}
