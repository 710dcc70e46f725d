/** The rate at which portals of a fake Bitrix24 are called. */

/** Where `rest()` looks for the rate of portals if its option `rate` is not set. It is a member of the `fetch` of an app. */
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
