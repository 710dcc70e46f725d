/** Records that a portal is blocked: its work cannot continue before the customer, Bitrix24 or the vendor acts. */
import type { BlockedReason } from "../errors.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { withBlock } from "../portal/block.ts";
import type { PortalLease } from "../portal/lease.ts";

/** Records the block, or that it persists. Resolves to the time of the next try, in milliseconds since 1970. */
export async function recordBlock(
  runtime: AppRuntime,
  lease: Pick<PortalLease, "record" | "update">,
  on: BlockedReason,
  message: string,
): Promise<number> {
  const now = runtime.clock();
  await lease.update((record) => withBlock(record, on, message, now));
  const { memberId, blocked } = lease.record();
  const { nextTryAt } = blocked!;
  runtime.log.warn("portal blocked", {
    event: "portal.blocked",
    ...{ memberId, blockedOn: on, detail: message, nextTryAt },
  });
  return nextTryAt;
}
