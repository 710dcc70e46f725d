/** One message to the users of a portal, by the portal's REST API, which never marks the portal as blocked. */
import {
  B24Error,
  NonRetriableError,
  type PluginHost,
  type PortalCredentials,
  readAnswer,
  RetryAfterError,
} from "../../mod.ts";
import { AddressError, NoCredentialsError, UnknownPortalError } from "../../errors.ts";
import { abortable } from "./abortable.ts";

/** A message to users of a portal. */
export interface PortalNotice {
  readonly memberId: string;
  /** The id of the notification. */
  readonly id: string;
  /** In BB code. */
  readonly text: string;
  /** The name of the channel, for errors. */
  readonly channel: string;
  /** The users that get it; absent: all administrators whose tokens are stored. */
  readonly userIds?: readonly number[];
}

const METHOD = "im.notify.system.add";

/** Maximum size of an answer that is read, in bytes. */
const MAX_ANSWER_BYTES = 65_536;

/**
 * Sends a message to the users of a portal. No error contains a token.
 *
 * @throws {NonRetriableError} if the portal cannot get messages: it is not stored, or the app lacks the scope `im`
 * @throws {RetryAfterError} if the portal has a limit
 * @throws {Error} otherwise
 * @throws the reason of the signal
 */
export async function messageUser(host: PluginHost, notice: PortalNotice, signal: AbortSignal): Promise<void> {
  const { channel, memberId, userIds } = notice;
  try {
    if (userIds === undefined) return await messageAdministrators(host, notice, signal);
    await host.credentials.call(memberId, async (credentials) => {
      for (const userId of userIds) await notify(host, credentials, userId, notice, signal);
    }, { signal });
  } catch (thrown) {
    signal.throwIfAborted();
    throw failure(thrown, `${channel}: portal ${memberId}`);
  }
}

/** Sends to each administrator as themselves. `call` runs for one user after another as long as its callback asks for it. */
async function messageAdministrators(host: PluginHost, notice: PortalNotice, signal: AbortSignal): Promise<void> {
  const sentTo = new Set<number>();
  let unknown: unknown;
  const isNext = new B24Error({ code: "ACCESS_DENIED", description: "", status: 403, method: METHOD });
  try {
    await host.credentials.call(notice.memberId, async (credentials) => {
      const { userId, isSystemUser } = credentials;
      if (isSystemUser || userId === undefined || sentTo.has(userId)) throw isNext;
      const isAdmin = await isAdministrator(host, credentials, signal).catch((error) => {
        if (error instanceof B24Error) throw error;
        unknown = error;
      });
      if (isAdmin !== true) throw isNext;
      await notify(host, credentials, userId, notice, signal);
      sentTo.add(userId);
      throw isNext;
    }, { signal });
  } catch (error) {
    // Those who have the message must not get it again because of the tokens of others.
    const isAboutTokens = error instanceof B24Error || error instanceof NoCredentialsError;
    if (sentTo.size === 0 ? error !== isNext : !isAboutTokens) throw error;
  }
  if (sentTo.size > 0) return;
  throw unknown ?? new NonRetriableError(`${notice.channel}: portal ${notice.memberId} has no administrator's token`);
}

/** Returns whether a user is an administrator. Rejects as {@linkcode call} does. */
async function isAdministrator(
  host: PluginHost,
  credentials: PortalCredentials,
  signal: AbortSignal,
): Promise<boolean> {
  const { ADMIN } = Object(await call(host, credentials, "profile", {}, signal)) as { readonly ADMIN?: unknown };
  return ADMIN === true;
}

async function notify(
  host: PluginHost,
  credentials: PortalCredentials,
  userId: number,
  { id, text }: PortalNotice,
  signal: AbortSignal,
): Promise<void> {
  await call(host, credentials, METHOD, { USER_ID: userId, MESSAGE: text, TAG: `onappupdate:${id}` }, signal);
}

/**
 * Calls the portal once, and returns the result.
 *
 * @throws {B24Error} if it refuses the token: `credentials.call` refreshes it and repeats
 * @throws an error that `credentials.call` passes on as it is, and does not record
 */
async function call(
  { portalFetch }: PluginHost,
  { clientEndpoint, accessToken }: PortalCredentials,
  method: string,
  params: Readonly<Record<string, unknown>>,
  signal: AbortSignal,
): Promise<unknown> {
  const body = JSON.stringify({ ...params, auth: accessToken.reveal() });
  const answer = await abortable(signal, async () => {
    const headers = { "content-type": "application/json", accept: "application/json" };
    const init: RequestInit = { method: "POST", headers, body, redirect: "manual", signal };
    const response = await portalFetch(`${clientEndpoint}${method}`, init);
    const { json } = await readAnswer(response, { answerBytes: MAX_ANSWER_BYTES }, signal);
    return { status: response.status, json };
  });
  const { result, error } = Object(answer.json) as { readonly result?: unknown; readonly error?: unknown };
  if (error === undefined && result !== undefined && answer.status < 300) return result;
  // The code is a word; anything else may be anything, and is not quoted.
  const code = typeof error === "string" && /^\w{1,60}$/.test(error) ? error : undefined;
  if (code === undefined) throw new Refusal(`answered ${answer.status}`, undefined);
  const refusal = new B24Error({ code, description: "", status: answer.status, method });
  throw refusal.refusesToken ? refusal : new Refusal(`answered ${answer.status} ${code}`, refusal);
}

/** The answer of a portal, in a class that `credentials.call` does not know: it neither records nor repeats it. */
class Refusal extends Error {
  readonly answer: B24Error | undefined;

  constructor(message: string, answer: B24Error | undefined) {
    super(message);
    this.answer = answer;
  }
}

function failure(thrown: unknown, where: string): Error {
  if (thrown instanceof NonRetriableError) return thrown;
  if (thrown instanceof UnknownPortalError) return new NonRetriableError(`${where} is not stored`);
  if (thrown instanceof NoCredentialsError) {
    const text = `${where} cannot be called: it is blocked on ${thrown.blockedOn}`;
    return thrown.blockedOn === "installation" ? new NonRetriableError(text) : new Error(text);
  }
  if (thrown instanceof AddressError) return new Error(`${where} cannot be called: its address is not permitted`);
  if (thrown instanceof B24Error) return new Error(`${where} refuses the app's tokens`);
  if (!(thrown instanceof Refusal)) return new Error(`${where} did not answer`);
  const { answer, message } = thrown;
  const text = `${where} ${message}`;
  if (answer?.retryAfterMs !== undefined) return new RetryAfterError(answer.retryAfterMs, text);
  if (answer?.limit !== undefined) return new RetryAfterError(60_000, text);
  const isFinal = answer?.isFinal === true || answer?.blockedOn === "scope" || answer?.isNotInstalled === true ||
    answer?.needsOtherUser === true;
  return isFinal ? new NonRetriableError(text) : new Error(text);
}
