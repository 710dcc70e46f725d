/**
 * Notifications for operators and customers: messages, the channels that send them, and the contract for channels of your own.
 *
 * @module
 */
export type { Channel, SendOptions } from "./notifications/channel.ts";
export { consoleChannel, type ConsoleChannelOptions } from "./notifications/channels/console.ts";
export {
  emailChannel,
  type EmailMessage,
  type EmailOptions,
  type EmailTransport,
} from "./notifications/channels/email.ts";
export {
  type CustomerPortalOptions,
  type OwnPortalOptions,
  portalMessageChannel,
} from "./notifications/channels/portal_message.ts";
export { slackChannel, type SlackOptions } from "./notifications/channels/slack.ts";
export { telegramChannel, type TelegramOptions } from "./notifications/channels/telegram.ts";
export { webhookChannel, type WebhookOptions } from "./notifications/channels/webhook.ts";
export type {
  NotificationKind,
  NotificationLanguage,
  NotificationMessage,
  NotifiedPortal,
} from "./notifications/message.ts";
export { type RenderOptions, renderText } from "./notifications/render.ts";
