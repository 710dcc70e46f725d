/** Sends notifications as messages in Bitrix24: to the vendor's own portal, or to the portals of customers. */
import {
  checkOptions,
  NonRetriableError,
  option,
  type OptionRules,
  type PluginHost,
  RetryAfterError,
} from "../../../mod.ts";
import type { Channel } from "../channel.ts";
import { escapeBbCode } from "../escape.ts";
import { CUSTOMER_BLOCKS } from "../kinds.ts";
import type { NotificationMessage } from "../message.ts";
import { NAME_RULE } from "../options.ts";
import { messageUser, type PortalNotice } from "../portal_notice.ts";
import { oneLine, renderText } from "../render.ts";
import { SENTENCES } from "../sentences.ts";

/** Options of {@linkcode portalMessageChannel} for the vendor's own portal, on which the app is installed, too. */
export interface OwnPortalOptions {
  /** The `member_id` of the vendor's own portal. */
  readonly memberId: string;
  /**
   * Ids of the users that get a message.
   *
   * @default the administrators whose tokens are stored
   */
  readonly userIds?: readonly number[];
  /**
   * The name of the channel.
   *
   * @default "portal"
   */
  readonly name?: string;
}

/** Options of {@linkcode portalMessageChannel} for the portals of customers. */
export interface CustomerPortalOptions {
  /** Sends to the portals that a notification shows, to the administrators whose tokens are stored. */
  readonly ofCustomer: true;
  /** The name of the app, as customers know it. */
  readonly appName: string;
  /**
   * The name of the channel.
   *
   * @default "customer"
   */
  readonly name?: string;
}

const OWN_RULES: OptionRules<OwnPortalOptions> = {
  memberId: option.required(option.text("the member_id of a portal")),
  userIds: option.value("a list of the ids of users, at least one", (value) => {
    return Array.isArray(value) && value.length > 0 && value.every((id) => Number.isSafeInteger(id) && id > 0);
  }),
  name: NAME_RULE,
};

const CUSTOMER_RULES: OptionRules<CustomerPortalOptions> = {
  ofCustomer: option.required(option.oneOf(true)),
  appName: option.required(option.text("the name of the app")),
  name: NAME_RULE,
};

/** Maximum length of a text. Bitrix24 documents none: it is a message that pops up, so it is to be short. */
const MAX_LENGTH = 2000;

/** Milliseconds between two messages to a portal. */
const INTERVAL_MS = 60 * 60 * 1000;

/** Milliseconds until another attempt, if two processes send to a portal at the same time. */
const CONFLICT_MS = 60_000;

/** The last message to a portal, under `plugin/<name>/portal/<member>/message`. */
interface LastMessage {
  readonly id: string;
  /** In milliseconds since 1970. */
  readonly at: number;
  readonly isSent?: true;
}

/**
 * Returns a channel that sends notifications in Bitrix24 by `im.notify.system.add`, with the app's own tokens and the scope
 * `im`. The id is passed as `TAG`: a repeated message replaces the first one.
 *
 * - With `memberId`, all notifications go to the vendor's own portal.
 * - With `ofCustomer`, each portal that a notification shows gets a message of its own, and only of two kinds: the app was
 *   updated (`portal_upgraded`), and the portal blocks its update, by a payment, a scope, an administrator or a confirmation
 *   (`portal_blocked` with `blockedOn`). The texts are fixed: nothing of the notification's title and lines, which are meant
 *   for the vendor, gets to a customer. All other notifications are taken and not sent.
 *
 * A customer whose portal was removed or erased meanwhile gets none, and none about a block that is over and whose update is
 * done. A portal gets at most one message an hour; a further one is a `RetryAfterError`. A refused token pair is refreshed, as
 * by any call. But no answer marks the portal as blocked, and no redirect is followed: that is left to the work of the portal,
 * so that a notification about a portal never causes the next one. Source: Bitrix24, `im.notify.system.add` and "Text
 * Formatting (BB Codes)" (https://apidocs.bitrix24.com/api-reference/chats/notifications/im-notify-system-add.html).
 *
 * @throws {TypeError} if an option is missing, unknown or invalid
 *
 * @example
 * ```ts
 * import { portalMessageChannel } from "@b24/onappupdate/notifications";
 *
 * const own = portalMessageChannel({ memberId: "a223c6b3710f85df22e9377d6c4f7553", userIds: [1, 7] });
 * const customers = portalMessageChannel({ ofCustomer: true, appName: "Deals Plus" });
 * ```
 */
export function portalMessageChannel(options: OwnPortalOptions | CustomerPortalOptions): Channel {
  const target = targetOf(options);
  let host: PluginHost | undefined;
  return {
    name: target.name,
    maxLength: MAX_LENGTH,
    setup: (given) => void (host = given),
    send: async (message, { signal, id }) => {
      signal.throwIfAborted();
      if (host === undefined) throw new TypeError(`${target.name}: pass the channel to notifications()`);
      const failures: unknown[] = [];
      for (const notice of target.noticesOf(message, id)) {
        await sendOnce(host, notice, target.isForCustomer ? message.kind : undefined, signal).catch((error) => {
          signal.throwIfAborted();
          failures.push(error);
        });
      }
      if (failures.length > 0) throw worst(failures);
    },
  };
}

/** The name of a channel, and what it sends. */
interface Target {
  readonly name: string;
  readonly isForCustomer: boolean;
  readonly noticesOf: (message: NotificationMessage, id: string) => readonly PortalNotice[];
}

function targetOf(options: OwnPortalOptions | CustomerPortalOptions): Target {
  if (options !== null && typeof options === "object" && "ofCustomer" in options) {
    checkOptions("cannot send messages to customers", options, CUSTOMER_RULES);
    const { appName, name = "customer" } = options;
    return {
      name,
      isForCustomer: true,
      noticesOf: (message, id) => {
        const text = customerText(message, oneLine(appName));
        return text === undefined
          ? []
          : message.portals.shown.map(({ memberId }) => ({ memberId, id, text: escapeBbCode(text), channel: name }));
      },
    };
  }
  checkOptions("cannot send messages to a portal", options, OWN_RULES);
  const { memberId, userIds, name = "portal" } = options;
  return {
    name,
    isForCustomer: false,
    noticesOf: (message, id) => {
      const text = renderText(message, { maxLength: MAX_LENGTH, escape: escapeBbCode, link: (address) => address });
      return [{ memberId, id, text, channel: name, ...(userIds === undefined ? {} : { userIds }) }];
    },
  };
}

/** Returns the text for a customer; `undefined` if the notification is not for customers. */
function customerText(message: NotificationMessage, appName: string): string | undefined {
  const { kind, status, blockedOn, language = "en" } = message;
  const { customer } = SENTENCES[language];
  if (status === "resolved") return undefined;
  if (kind === "portal_upgraded") return customer.upgraded(appName);
  const isTheirs = kind === "portal_blocked" && blockedOn !== undefined && CUSTOMER_BLOCKS.has(blockedOn);
  return isTheirs ? customer.blocked(blockedOn, appName) : undefined;
}

/**
 * Sends a message to a portal, unless it was sent before, or another one within the hour. `customerKind`: the kind of one to a
 * customer.
 */
async function sendOnce(
  host: PluginHost,
  notice: PortalNotice,
  customerKind: NotificationMessage["kind"] | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { storage, clock } = host;
  const { memberId, id, channel } = notice;
  // Nothing is to be stored of a portal that was erased meanwhile, and its customer has nothing left to learn.
  const portal = await host.portal(memberId);
  if (portal === undefined || portal.state === "uninstalled") {
    if (customerKind !== undefined) return;
    throw new NonRetriableError(
      `${channel}: portal ${memberId} is not ${portal === undefined ? "stored" : "installed"}`,
    );
  }
  // The message has waited, and the customer has done what it asks for.
  const isOver = portal.state === "current" && portal.blocked === undefined;
  if (customerKind === "portal_blocked" && isOver) return;
  const key = ["portal", memberId, "message"] as const;
  const last = await storage.get<LastMessage>(key, { signal });
  const isSame = last?.value.id === id;
  if (isSame && last?.value.isSent) return;
  // The clock may have been put back since.
  const waitMs = last === null || isSame ? 0 : INTERVAL_MS - Math.abs(clock() - last.value.at);
  const limit = `${channel}: portal ${memberId} gets at most one message an hour`;
  if (waitMs > 0) throw new RetryAfterError(waitMs, limit);
  const value: LastMessage = { id, at: clock() };
  const taken = await storage.put(key, value, { ifVersion: last?.version ?? null, ttlMs: 24 * INTERVAL_MS });
  if (!taken.ok) throw new RetryAfterError(CONFLICT_MS, limit);
  await messageUser(host, notice, signal);
  await storage.put(key, { ...value, isSent: true }, { ifVersion: taken.version, ttlMs: 24 * INTERVAL_MS });
}

/** Returns the error that leads to the next attempt; one that is final only if all are. */
function worst(failures: readonly unknown[]): unknown {
  const isFinal = (error: unknown): boolean => error instanceof NonRetriableError;
  return failures.find((error) => !isFinal(error) && !(error instanceof RetryAfterError)) ??
    failures.find((error) => !isFinal(error)) ?? failures[0];
}
