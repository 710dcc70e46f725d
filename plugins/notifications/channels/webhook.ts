/** Sends notifications to an HTTP endpoint of your own, signed. */
import { Webhook } from "standardwebhooks";
import { checkOptions, type OptionRules, type Secret } from "../../../mod.ts";
import type { Channel } from "../channel.ts";
import { createHttpClient } from "../http.ts";
import { NAME_RULE, secretOf, secretRule, URL_RULE } from "../options.ts";

/** Options of {@linkcode webhookChannel}. */
export interface WebhookOptions {
  /** The address of the endpoint. */
  readonly url: string | Secret;
  /** The key of the signature: `whsec_` and 24 to 64 bytes in Base64, as `openssl rand -base64 32` prints them. */
  readonly secret: string | Secret;
  /**
   * The name of the channel.
   *
   * @default "webhook"
   */
  readonly name?: string;
}

const RULES: OptionRules<WebhookOptions> = {
  url: URL_RULE,
  secret: secretRule("whsec_ and 24 to 64 bytes in Base64", isSigningSecret),
  name: NAME_RULE,
};

function isSigningSecret(text: string): boolean {
  const encoded = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(text)?.[1];
  if (encoded === undefined || encoded.length % 4 !== 0) return false;
  const bytes = atob(encoded).length;
  return bytes >= 24 && bytes <= 64;
}

/**
 * Returns a channel that posts notifications as JSON, `{ type, data }`, signed as Standard Webhooks specifies it. `type` is
 * `notification.` and the kind; `data` is the {@linkcode NotificationMessage}. The header `webhook-id` is the id of the
 * notification, the same each time: the receiver drops what it has seen. `webhook-timestamp` and `webhook-signature` are those
 * of the attempt.
 *
 * | the endpoint answers | reaction |
 * |---|---|
 * | 2xx | delivered |
 * | 429 | `RetryAfterError` for the header `Retry-After`, in seconds or as a date, else for a minute |
 * | 404, 408, 409, 423, 425, 500 and above, nothing | `Error`, which is retried: an endpoint that is deployed may be missing |
 * | 410, and any other status from 400 on | `NonRetriableError` |
 * | a redirect | `NonRetriableError`: redirects are not followed |
 *
 * No error contains the address or the secret. Source: Standard Webhooks, "Webhook headers" and "Delivery success and failure"
 * (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
 *
 * @throws {TypeError} if an option is missing, unknown or invalid
 *
 * @example
 * ```ts
 * import { webhookChannel } from "@b24/onappupdate/notifications";
 *
 * const channel = webhookChannel({
 *   url: "https://ops.example.com/b24",
 *   secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
 * });
 * ```
 */
export function webhookChannel(options: WebhookOptions): Channel {
  checkOptions("cannot send to a webhook", options, RULES);
  const { name = "webhook" } = options;
  const url = secretOf(options.url);
  const webhook = new Webhook(secretOf(options.secret).reveal());
  const http = createHttpClient();
  return {
    name,
    setup: http.setup,
    send: async (message, { signal, id }) => {
      const body = JSON.stringify({ type: `notification.${message.kind}`, data: message });
      const sentAt = new Date(http.now());
      const webhookId = headerValue(id);
      const headers = {
        "webhook-id": webhookId,
        "webhook-timestamp": String(Math.floor(sentAt.getTime() / 1000)),
        "webhook-signature": webhook.sign(webhookId, sentAt, body),
      };
      await http.post({ receiver: name, url, headers, body, signal, passing: [404] });
    },
  };
}

/** Returns an id as a header can have it: other characters, such as those of the name of a channel, are percent-encoded. */
function headerValue(id: string): string {
  return id.toWellFormed().replaceAll(/[^\w.:~-]/gu, encodeURIComponent);
}
