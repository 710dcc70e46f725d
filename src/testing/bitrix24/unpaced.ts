/** The rate at which portals of a fake Bitrix24 are called. */

/** Member of the `fetch` of an app in which `rest()` finds the rate of portals if its option `rate` is not set. */
const PORTAL_RATE = Symbol.for("@b24/onappupdate/portal-rate");

/** No pause between two requests. */
const UNPACED = { burst: 1, perSecond: Infinity };

/**
 * Adds to `fetch` that portals are called without pauses. `isLimited` returns whether a portal has a limit after all, so that
 * it is called like a real one.
 */
export function withoutPace<Fetch extends object>(
  fetch: Fetch,
  isLimited: (memberId: string) => boolean = () => false,
): Fetch {
  const rateOf = (memberId: string): typeof UNPACED | undefined => isLimited(memberId) ? undefined : UNPACED;
  return Object.assign(fetch, { [PORTAL_RATE]: rateOf });
}
