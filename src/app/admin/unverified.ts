/** Lists of events that wait for their verification. */
import { listUnverified } from "../../portal/unverified.ts";
import type { Storage } from "../../storage/storage.ts";

/** A page of {@linkcode Admin.unverified}. */
export interface UnverifiedFilter {
  /** Only portals after this `member_id`; pass the last one of a page to get the next page. */
  readonly after?: string;
  /**
   * Maximum number of portals.
   *
   * @default 100
   */
  readonly limit?: number;
}

/** The events that wait for verification with one `member_id`. */
export interface UnverifiedEvents {
  /** As the events say: anybody can make one up. */
  readonly memberId: string;
  /** Whether a portal with this `member_id` was stored when the latest of the events came. */
  readonly isKnown: boolean;
  /** At least one. */
  readonly events: readonly UnverifiedEvent[];
}

/** An event that waits for its verification. */
export interface UnverifiedEvent {
  /** In milliseconds since 1970. The event is dropped 24 hours later. */
  readonly receivedAt: number;
  /** Length of its body in characters. */
  readonly size: number;
  /** Number of questions without an answer. */
  readonly attempts: number;
  /** When Bitrix24 is asked next, in milliseconds since 1970; in the past if the event waits for its turn. */
  readonly nextTryAt: number;
}

/** Returns the portals whose events wait, in the order of their `member_id`. */
export async function listUnverifiedEvents(
  storage: Storage,
  { after, limit = 100 }: UnverifiedFilter = {},
): Promise<UnverifiedEvents[]> {
  const portals: UnverifiedEvents[] = [];
  for await (const { memberId, isKnown, events } of listUnverified({ storage }, after)) {
    if (portals.length >= limit) break;
    const shown = events.map(({ receivedAt, size, attempts, nextAt }) => ({
      ...{ receivedAt, size, attempts },
      nextTryAt: nextAt,
    }));
    portals.push({ memberId, isKnown, events: shown });
  }
  return portals;
}
