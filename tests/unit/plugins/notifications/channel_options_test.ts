import { Secret } from "@b24/onappupdate";
import {
  consoleChannel,
  emailChannel,
  type EmailOptions,
  type OwnPortalOptions,
  portalMessageChannel,
  slackChannel,
  type SlackOptions,
  telegramChannel,
  type TelegramOptions,
  webhookChannel,
  type WebhookOptions,
} from "@b24/onappupdate/notifications";
import assert from "node:assert/strict";
import { none, refuses } from "../../../support/refusals.ts";
import { describe, it } from "../../../support/test.ts";

const URL_WANTED = "an address that starts with https://, or with http:// and a loopback host, without a user name";
const SECRET_WANTED = "whsec_ and 24 to 64 bytes in Base64";
const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

describe("channels", () => {
  const telegram = (options: object): unknown => telegramChannel(options as TelegramOptions);
  const slack = (options: object): unknown => slackChannel(options as SlackOptions);
  const webhook = (options: object): unknown => webhookChannel(options as WebhookOptions);
  const email = (options: object): unknown =>
    emailChannel({ transport: { sendMail: none }, from: "a@x.example", to: "b@x.example", ...options } as EmailOptions);
  const portal = (options: object): unknown => portalMessageChannel(options as OwnPortalOptions);
  const TOKEN = "the token of a bot, digits, a colon and letters";
  const url = "https://hooks.example.com/x";

  refuses([
    [`cannot send to Telegram with botToken undefined, wanted ${TOKEN}`, () => telegram({ chatId: 1 })],
    [
      `cannot send to Telegram with botToken a string, wanted ${TOKEN}`,
      () => telegram({ botToken: "1:a/b", chatId: 1 }),
    ],
    [
      "cannot send to Telegram with chatId undefined, wanted the number of a chat, or @name",
      () => telegram({ botToken: "1:a" }),
    ],
    [
      'cannot send to Telegram with chatId "ops", wanted the number of a chat, or @name',
      () => telegram({ botToken: "1:a", chatId: "ops" }),
    ],
    [
      `cannot send to Telegram with apiUrl a string, wanted ${URL_WANTED}`,
      () => telegram({ botToken: "1:a", chatId: 1, apiUrl: "http://api.example.com" }),
    ],
    [
      "cannot send to Telegram with the option chatID that does not exist, wanted chatId",
      () => telegram({ botToken: "1:a", chatId: 1, chatID: 1 }),
    ],
    ...[
      "http://hooks.example.com",
      "ftp://x",
      "hooks",
      "https://user:pass@x.example",
      "http://127.0.0.1.example.com",
      "",
    ]
      .map((url) =>
        [
          `cannot send to a webhook of Slack with url ${
            url === "" ? "an empty string" : "a string"
          }, wanted ${URL_WANTED}`,
          () => slack({ url }),
        ] as const
      ),
    [
      `cannot send to a webhook of Slack with url an object, wanted ${URL_WANTED}`,
      () => slack({ url: new Secret("http://x.example") }),
    ],
    [
      'cannot send to a webhook of Slack with markup "html", wanted "mrkdwn" or "markdown"',
      () => slack({ url, markup: "html" }),
    ],
    [
      "cannot send to a webhook of Slack with maxLength 5, wanted a whole number from 100",
      () => slack({ url, maxLength: 5 }),
    ],
    ...["whsec_short", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_****************************************"].map((
      secret,
    ) =>
      [
        `cannot send to a webhook with secret a string, wanted ${SECRET_WANTED}`,
        () => webhook({ url, secret }),
      ] as const
    ),
    ["cannot send e-mails with transport an object, wanted a transport of nodemailer", () => email({ transport: {} })],
    ...["ops", "a@x.example\r\nBcc: b@x.example", "a@x.example, b@x.example", "A\n<a@x.example>", "<a@x.example> b"]
      .map((from) =>
        [
          `cannot send e-mails with from ${JSON.stringify(from)}, wanted one e-mail address`,
          () => email({ from }),
        ] as const
      ),
    ["cannot send e-mails with to a list, wanted one e-mail address, or a list of them", () => email({ to: [] })],
    [
      "cannot send e-mails with to a list, wanted one e-mail address, or a list of them",
      () => email({ to: ["a@x.example", "b"] }),
    ],
    ["cannot send messages to a portal with memberId undefined, wanted the member_id of a portal", () => portal({})],
    [
      "cannot send messages to a portal with userIds a list, wanted a list of the ids of users, at least one",
      () => portal({ memberId: "a", userIds: [] }),
    ],
    [
      "cannot send messages to customers with appName undefined, wanted the name of the app",
      () => portal({ ofCustomer: true }),
    ],
    [
      "cannot send messages to customers with the option memberId that does not exist, wanted ofCustomer or appName or name",
      () => portal({ ofCustomer: true, appName: "a", memberId: "b" }),
    ],
    [
      'cannot write notifications to the console with name "", wanted the name of the channel',
      () => consoleChannel({ name: "" }),
    ],
  ]);

  it("accept loopback by http, secrets in wrappers, and names", () => {
    const urls = [
      "http://localhost:8065/hooks/x",
      "http://127.0.0.1:1/",
      "http://[::1]:1/",
      new Secret("https://x.example"),
    ];
    for (const url of urls) assert.equal(slackChannel({ url, name: "ops" }).name, "ops");
    assert.equal(telegramChannel({ botToken: new Secret("1:a"), chatId: "-100123" }).maxLength, 4096);
    assert.equal(webhookChannel({ url: "https://x.example", secret: new Secret(SECRET) }).name, "webhook");
    assert.equal(
      emailChannel({ transport: { sendMail: none }, from: "Ä <a@x.example>", to: ["b@x.example"] }).name,
      "email",
    );
  });
});
