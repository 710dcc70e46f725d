/** Records refusals of Bitrix24: drops a token pair, or marks the portal as blocked. */
import { B24Error } from "../bitrix24/b24_error.ts";
import type { NoCredentialsError } from "../errors.ts";
import { withBlock } from "../portal/block.ts";
import type { RecordAccess } from "../portal/record_access.ts";
import { storedText } from "../portal/stored_text.ts";
import type { StoredTokens } from "../portal/tokens.ts";
import type { CredentialsSettings } from "./settings.ts";
import { isCurrent, without } from "./store.ts";

/** Removes a token pair from the record of its portal. */
export async function dropTokens(
  { log }: CredentialsSettings,
  access: RecordAccess,
  tokens: StoredTokens,
  reason: string,
): Promise<void> {
  const { memberId } = access;
  const { owner, userId } = tokens;
  log.warn("token pair dropped", { event: "credentials.dropped", memberId, owner, userId, reason });
  await access.change((record) => ({ record: without(record, tokens) }));
}

/**
 * Records that a portal is blocked, if the error is about the portal as a whole: it was not paid for, or the app is not
 * installed. An answer about `tokens` counts only while the portal still has them.
 */
export async function recordRefusal(
  { clock }: CredentialsSettings,
  access: RecordAccess,
  error: B24Error | NoCredentialsError,
  tokens: Pick<StoredTokens, "accessToken">,
): Promise<void> {
  const { blockedOn } = error;
  if (blockedOn !== "payment" && blockedOn !== "installation") return;
  const now = clock();
  const message = storedText(
    error instanceof B24Error ? [error.b24Code, error.description].filter(Boolean).join(": ") : error.message,
  );
  await access.change((record) => {
    if (record.status === "uninstalled" || !isCurrent(record, tokens)) return { record };
    return { record: withBlock(record, blockedOn, message, now) };
  });
}
