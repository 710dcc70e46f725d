/** Records that a portal is blocked: its work cannot continue before the customer, Bitrix24 or the vendor acts. */
import type { BlockedReason } from "../errors.ts";
import { type AppRuntime, notify } from "../plugin/runtime.ts";
import type { PortalLease } from "../portal/lease.ts";
import { storedText } from "../portal/stored_text.ts";
import { BLOCKED_RETRY_MS } from "../retry.ts";

/** Records the block, or that it persists. Resolves to the time of the next try, in milliseconds since 1970. */
export async function recordBlock(
  runtime: AppRuntime,
  lease: Pick<PortalLease, "record" | "update">,
  on: BlockedReason,
  message: string,
): Promise<number> {
  const now = runtime.clock();
  const nextTryAt = now + BLOCKED_RETRY_MS;
  await lease.update((record) => {
    const since = record.blocked?.on === on ? record.blocked.since : now;
    return { ...record, blocked: { on, message: storedText(message), since, nextTryAt } };
  });
  const { memberId } = lease.record();
  runtime.log.warn("portal blocked", {
    event: "portal.blocked",
    ...{ memberId, blockedOn: on, detail: message, nextTryAt },
  });
  notify(runtime, "portalBlocked", { memberId, on, message, nextTryAt });
  return nextTryAt;
}
