/** Sends notifications to an incoming webhook of Slack, or of a server that is compatible with it. */
import { checkOptions, option, type OptionRules, type Secret } from "../../../mod.ts";
import type { Channel } from "../channel.ts";
import { escapeMarkdown, escapeSlack } from "../escape.ts";
import { createHttpClient, type Explanation, type FailedAnswer } from "../http.ts";
import { NAME_RULE, secretOf, URL_RULE } from "../options.ts";
import { renderText } from "../render.ts";

/** Options of {@linkcode slackChannel}. */
export interface SlackOptions {
  /** The whole address of the incoming webhook. It is a secret: all who have it can write to the channel. */
  readonly url: string | Secret;
  /**
   * The markup of the server: `"mrkdwn"` for Slack, `"markdown"` for Mattermost and Rocket.Chat.
   *
   * @default "mrkdwn"
   */
  readonly markup?: "mrkdwn" | "markdown";
  /**
   * Maximum length of a message in UTF-16 units. Slack recommends at most 4,000 characters and cuts after 40,000; Mattermost
   * splits after 16,383; Rocket.Chat refuses more than its `Message_MaxAllowedSize`, 5,000 unless it was changed. Minimum: 100.
   *
   * @default 4000
   */
  readonly maxLength?: number;
  /**
   * The name of the channel.
   *
   * @default "slack"
   */
  readonly name?: string;
}

const RULES: OptionRules<SlackOptions> = {
  url: URL_RULE,
  markup: option.oneOf("mrkdwn", "markdown"),
  maxLength: option.number({ min: 100, isWhole: true }),
  name: NAME_RULE,
};

/**
 * Returns a channel that sends notifications to an incoming webhook of Slack, Mattermost or Rocket.Chat. Webhooks have no key
 * that would make a repeated message one: the id is in its last line. Nothing in a message mentions a user or a channel.
 *
 * | the server answers | reaction |
 * |---|---|
 * | 429 | `RetryAfterError` for the header `Retry-After`, in seconds or as a date, else for a minute |
 * | 400, 403, 404, 410: `invalid_payload`, `action_prohibited`, `no_service`, `channel_is_archived` | `NonRetriableError` |
 * | a redirect | `NonRetriableError`: redirects are not followed |
 * | 500 and above, nothing | `Error`, which is retried |
 *
 * No error contains the address. Sources: Slack, "Formatting message text" (escape `&`, `<` and `>`, and nothing else), "Improving
 * error conditions for Incoming Webhooks" and "Rate limits" (https://docs.slack.dev); Mattermost, "Slack compatibility"
 * (`mrkdwn` and `link_names` are not supported: Markdown and mentions are always converted).
 *
 * @throws {TypeError} if an option is missing, unknown or invalid
 *
 * @example
 * ```ts
 * import { slackChannel } from "@b24/onappupdate/notifications";
 *
 * const channel = slackChannel({ url: "https://hooks.slack.com/services/T000/B000/XXXX" });
 * ```
 */
export function slackChannel(options: SlackOptions): Channel {
  checkOptions("cannot send to a webhook of Slack", options, RULES);
  const { markup = "mrkdwn", maxLength = 4000, name = "slack" } = options;
  const url = secretOf(options.url);
  const isMarkdown = markup === "markdown";
  const escape = isMarkdown ? escapeMarkdown : escapeSlack;
  const http = createHttpClient();
  return {
    name,
    maxLength,
    setup: http.setup,
    send: async (message, { signal, id }) => {
      const link = (address: string): string => isMarkdown ? markdownLink(address) : slackLink(address);
      const text = renderText(message, { maxLength, escape, link, id });
      const body = JSON.stringify(
        isMarkdown ? { text } : { text, mrkdwn: false, unfurl_links: false, unfurl_media: false },
      );
      await http.post({ receiver: name, url, body, signal, explain });
    },
  };
}

/** Returns an address for Slack. An `@` is encoded, because what separates one from a mention would become a part of the address. */
function slackLink(address: string): string {
  return escapeSlack(address.replaceAll("@", "%40"));
}

/** Returns an address such that a server makes a link of it: backslashes would become a part of it. */
function markdownLink(address: string): string {
  return URL.canParse(address) ? new URL(address).href : escapeMarkdown(address);
}

/** Slack's words for what is wrong. Others may be anything, and are not quoted. */
const REASONS: ReadonlySet<string> = new Set([
  ...[
    "invalid_payload",
    "user_not_found",
    "action_prohibited",
    "channel_not_found",
    "channel_is_archived",
    "no_service",
  ],
  ...[
    "no_text",
    "no_team",
    "team_disabled",
    "invalid_token",
    "no_active_hooks",
    "rollup_error",
    "too_many_attachments",
  ],
  ...["posting_to_general_channel_denied", "rate_limited"],
]);

function explain({ text }: FailedAnswer): Explanation {
  const word = text.trim();
  return REASONS.has(word) ? { reason: word } : {};
}
