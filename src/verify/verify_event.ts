/** Runs the plugins of phase `verify` on an event. */
import type { B24Event } from "../bitrix24/events.ts";
import { defined } from "../defined.ts";
import { CannotVerifyError, NotAuthenticError, OnAppUpdateError } from "../errors.ts";
import type { VerificationStage } from "../plugin/context.ts";
import { runPipeline } from "../plugin/pipeline.ts";
import type { Verification } from "../plugin/plugin.ts";
import { type AppRuntime, makeContext } from "../plugin/runtime.ts";
import type { StoredVerification } from "../portal/event_facts.ts";
import type { PortalRecord } from "../portal/record.ts";
import type { Secret } from "../secret.ts";

/**
 * Returns what the plugins verified.
 *
 * @throws {NotAuthenticError} if a plugin refuses the event
 * @throws {CannotVerifyError} if a plugin cannot decide at this stage
 */
export async function verifyEvent(
  runtime: AppRuntime,
  event: B24Event,
  { receivedAt, record, stage, clientAddress }: {
    readonly receivedAt: number;
    readonly clientAddress?: string | undefined;
    readonly record: PortalRecord | undefined;
    readonly stage: VerificationStage;
  },
): Promise<StoredVerification> {
  const plugins = runtime.plugins.filter(({ phase }) => phase === "verify");
  const context = { ...makeContext(runtime, event, { record, receivedAt }), stage, ...defined({ clientAddress }) };
  let verified: Verification | undefined;
  try {
    verified = await runPipeline(plugins, context, async () => {});
  } catch (error) {
    // An unexpected error neither verifies the event nor refuses it.
    throw error instanceof OnAppUpdateError ? error : new CannotVerifyError("a plugin failed", { cause: error });
  }
  if (verified === undefined) throw new NotAuthenticError("a plugin returned without calling next()");
  const { applicationToken, ...facts } = verified;
  const digestOf = async (token: Secret | undefined): Promise<string | undefined> =>
    token && await runtime.digest(token.reveal());
  // Whose access token it is is known, but not whether the user is an administrator: that is asked again later.
  const isPending = facts.tokens !== undefined && facts.tokens.isAdmin === undefined && applicationToken === undefined;
  const isRemovalClaim = facts.claims !== undefined && event.name === "ONAPPUNINSTALL";
  return defined({
    ...facts,
    applicationTokenDigest: await digestOf(applicationToken),
    pendingTokenDigest: isPending ? await digestOf(event.auth.applicationToken) : undefined,
    claimTokenDigest: isRemovalClaim ? await digestOf(event.auth.applicationToken) : undefined,
  });
}
