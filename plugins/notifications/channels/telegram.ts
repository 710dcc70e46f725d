/** Sends notifications to a chat of Telegram. */
import { checkOptions, option, type OptionRules, Secret } from "../../../mod.ts";
import type { Channel } from "../channel.ts";
import { escapeHtml, escapeTelegram } from "../escape.ts";
import { createHttpClient, type Explanation, type FailedAnswer } from "../http.ts";
import { NAME_RULE, secretOf, secretRule, URL_RULE } from "../options.ts";
import { renderText } from "../render.ts";

/** Options of {@linkcode telegramChannel}. */
export interface TelegramOptions {
  /** The token of the bot, as @BotFather shows it. */
  readonly botToken: string | Secret;
  /** The chat: its number, also as text, or `@name` of a public channel or group. The bot has to be a member of it. */
  readonly chatId: number | string;
  /**
   * The name of the channel.
   *
   * @default "telegram"
   */
  readonly name?: string;
  /**
   * The address of a Bot API server of your own.
   *
   * @default "https://api.telegram.org"
   */
  readonly apiUrl?: string | Secret;
}

const RULES: OptionRules<TelegramOptions> = {
  botToken: secretRule("the token of a bot, digits, a colon and letters", (token) => /^\d+:[\w-]+$/.test(token)),
  chatId: option.required(option.value("the number of a chat, or @name", (value) => {
    return Number.isSafeInteger(value) || (typeof value === "string" && /^(-?\d+|@\w+)$/.test(value));
  })),
  name: NAME_RULE,
  apiUrl: (value, path) => value === undefined ? undefined : URL_RULE(value, path),
};

/** Maximum length of a message, after its markup was parsed. What is sent is not longer than that with its markup. */
const MAX_LENGTH = 4096;

/**
 * Returns a channel that sends notifications to a chat of Telegram, by `sendMessage` with `parse_mode: "HTML"`. Telegram has
 * no key that would make a repeated message one: the id is in its last line. Nothing in a message mentions a user.
 *
 * | Telegram answers | reaction |
 * |---|---|
 * | 429 | `RetryAfterError` for `parameters.retry_after` of the answer, else for its header `Retry-After`, else for a minute |
 * | 400, 401, 403, 404: no such chat, a revoked token, a bot that was removed | `NonRetriableError` |
 * | 500 and above, nothing | `Error`, which is retried |
 *
 * No error contains the token. Source: Telegram Bot API, "Making requests", "ResponseParameters", "sendMessage" and "HTML
 * style" (https://core.telegram.org/bots/api).
 *
 * @throws {TypeError} if an option is missing, unknown or invalid
 *
 * @example
 * ```ts
 * import { telegramChannel } from "@b24/onappupdate/notifications";
 *
 * const channel = telegramChannel({ botToken: "123456:ABC-DEF1234ghIkl", chatId: -1001234567890 });
 * ```
 */
export function telegramChannel(options: TelegramOptions): Channel {
  checkOptions("cannot send to Telegram", options, RULES);
  const { botToken, chatId, name = "telegram", apiUrl = "https://api.telegram.org" } = options;
  const base = secretOf(apiUrl).reveal().replace(/\/+$/, "");
  const url = new Secret(`${base}/bot${secretOf(botToken).reveal()}/sendMessage`);
  const http = createHttpClient();
  return {
    name,
    maxLength: MAX_LENGTH,
    setup: http.setup,
    send: async (message, { signal, id }) => {
      const text = renderText(message, {
        maxLength: MAX_LENGTH,
        escape: escapeTelegram,
        link: escapeHtml,
        title: (escaped) => `<b>${escaped}</b>`,
        id,
      });
      const body = JSON.stringify({
        ...{ chat_id: chatId, text, parse_mode: "HTML" },
        link_preview_options: { is_disabled: true },
      });
      await http.post({ receiver: "Telegram", url, body, signal, explain });
    },
  };
}

/** Parts of Telegram's descriptions, as this channel names them. The description itself is not quoted. */
const REASONS = [
  "chat not found",
  "bot was blocked by the user",
  "bot was kicked",
  "bot is not a member",
  "user is deactivated",
  "not enough rights",
  "need administrator rights",
  "can't parse entities",
  "message is too long",
  "group chat was upgraded to a supergroup chat",
  "Unauthorized",
];

function explain({ json }: FailedAnswer): Explanation {
  const { description, parameters } = Object(json) as { readonly description?: unknown; readonly parameters?: unknown };
  const { retry_after: retryAfter, migrate_to_chat_id: newId } = Object(parameters) as Readonly<
    Record<string, unknown>
  >;
  const found = REASONS.find((reason) => String(description).includes(reason));
  return {
    reason: Number.isSafeInteger(newId) ? `${found ?? "the chat has moved"}; use chatId ${newId}` : found,
    retryAfterSeconds: typeof retryAfter === "number" && retryAfter >= 0 ? retryAfter : undefined,
  };
}
