/** Lists of events that wait for their verification. */
import { checkOptions, type OptionRules } from "../../check_options.ts";
import { defined } from "../../defined.ts";
import type { UnverifiedEvents, UnverifiedFilter, UnverifiedPage } from "../../plugin/admin_pages.ts";
import { listUnverified } from "../../portal/unverified.ts";
import type { Storage } from "../../storage/storage.ts";
import { PAGE_RULES } from "./portals.ts";

const FILTER_RULES: OptionRules<UnverifiedFilter> = PAGE_RULES;

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
