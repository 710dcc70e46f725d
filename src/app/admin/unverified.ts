/** Lists of events that wait for their verification. */
import { checkOptions, type OptionRules } from "../../check_options.ts";
import { defined } from "../../defined.ts";
import { listUnverified } from "../../portal/unverified.ts";
import type { Storage } from "../../storage/storage.ts";
import { PAGE_RULES } from "./portals.ts";

/** Selects portals for {@linkcode Admin.unverified}. */
export interface UnverifiedFilter {
  /** Only portals after this `member_id`; pass `next` of a page to get the next page. */
  readonly after?: string;
  /**
   * Maximum number of portals, 1 to 1000.
   *
   * @default 100
   */
  readonly limit?: number;
}

const FILTER_RULES: OptionRules<UnverifiedFilter> = PAGE_RULES;

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
  /** Its name as the event says, cut after 200 characters. */
  readonly name: string;
  /** In milliseconds since 1970. The event is dropped 24 hours later. */
  readonly receivedAt: number;
  /** Length of its body in characters. */
  readonly size: number;
  /** It came from one of `trustedAddresses`. */
  readonly isTrusted: boolean;
  /** Number of questions without an answer. */
  readonly attempts: number;
  /** Message of the last error, without tokens, cut after 200 characters; absent before the first attempt has failed. */
  readonly error?: string;
  /** When Bitrix24 is asked next, in milliseconds since 1970; in the past if the event waits for its turn. */
  readonly nextTryAt: number;
}

/** A page of {@linkcode Admin.unverified}. */
export interface UnverifiedPage {
  /** The portals, in the order of their `member_id`. */
  readonly items: readonly UnverifiedEvents[];
  /** Pass it as `after` to get the next page; absent after the last one. */
  readonly next?: string;
}

/** Returns a page of the portals whose events wait. */
export async function listUnverifiedEvents(
  storage: Storage,
  filter: UnverifiedFilter = {},
): Promise<UnverifiedPage> {
  checkOptions("cannot list unverified events", filter, FILTER_RULES);
  const { after, limit = 100 } = filter;
  const items: UnverifiedEvents[] = [];
  for await (const { memberId, isKnown, events } of listUnverified({ storage }, after)) {
    if (items.length === limit) return { items, next: items.at(-1)!.memberId };
    const shown = events.map(({ name, receivedAt, size, isTrusted = false, attempts, nextAt, error }) => ({
      ...{ name, receivedAt, size, isTrusted, attempts },
      nextTryAt: nextAt,
      ...defined({ error }),
    }));
    items.push({ memberId, isKnown, events: shown });
  }
  return { items };
}
