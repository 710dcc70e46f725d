/** Sends notifications by e-mail. */
import { checkOptions, NonRetriableError, option, type OptionRules } from "../../../mod.ts";
import { abortable } from "../abortable.ts";
import type { Channel } from "../channel.ts";
import { escapeHtml } from "../escape.ts";
import { NAME_RULE } from "../options.ts";
import { oneLine, renderText } from "../render.ts";

/** The message that a transport receives. Its fields are those of nodemailer. */
export interface EmailMessage {
  /** Address of the sender. */
  readonly from: string;
  /** Addresses of the recipients. */
  readonly to: string[];
  /** Subject, in one line. */
  readonly subject: string;
  /** The notification as plain text. */
  readonly text: string;
  /** The notification as HTML. */
  readonly html: string;
  /** The header `Message-ID`, the same each time that a notification is sent. */
  readonly messageId: string;
  /** Further headers. */
  readonly headers: Record<string, string>;
  /** No part is read from a file. */
  readonly disableFileAccess: true;
  /** No part is fetched. */
  readonly disableUrlAccess: true;
}

/** Sends e-mails. A transport of nodemailer is one. */
export interface EmailTransport {
  /**
   * Sends a message. Resolves once a server has accepted it, with the recipients that it has refused.
   *
   * Rejects with an error of nodemailer: `code` such as `EENVELOPE`, and the `responseCode` of SMTP.
   */
  readonly sendMail: (message: EmailMessage) => Promise<{ readonly rejected?: readonly unknown[] } | unknown>;
}

/** Options of {@linkcode emailChannel}. */
export interface EmailOptions {
  /** The transport that `createTransport()` of nodemailer returns. The channel does not close it. */
  readonly transport: EmailTransport;
  /** Address of the sender: `ops@example.com`, or `Name <ops@example.com>`. */
  readonly from: string;
  /** Addresses of the recipients. All of them get one message, and see each other. */
  readonly to: string | readonly string[];
  /**
   * The name of the channel.
   *
   * @default "email"
   */
  readonly name?: string;
}

/** An address, with a name or without. No line break can follow it, nor a second address. */
const ADDRESS = /^(?:[^\p{Cc}<>@,;:"]*<[^\s<>@,;:"]+@([A-Za-z0-9.-]+)>|[^\s<>@,;:"]+@([A-Za-z0-9.-]+))$/u;

const isAddress = (value: unknown): boolean => typeof value === "string" && ADDRESS.test(value);

const RULES: OptionRules<EmailOptions> = {
  transport: option.required(option.value("a transport of nodemailer", (value) => {
    return typeof (Object(value) as Partial<EmailTransport>).sendMail === "function";
  })),
  from: option.required(option.value("one e-mail address", isAddress)),
  to: option.required(option.value("one e-mail address, or a list of them", (value) => {
    return isAddress(value) || (Array.isArray(value) && value.length > 0 && value.every(isAddress));
  })),
  name: NAME_RULE,
};

/**
 * Returns a channel that sends notifications by e-mail, as text and as HTML, through a transport of nodemailer. `Message-ID` is
 * made of the id of the notification: servers and readers that know it show a repeated message once.
 *
 * | the transport | reaction |
 * |---|---|
 * | resolves, with refused recipients | `NonRetriableError`: the others have the message, so it is not sent again |
 * | rejects with a status 5xx to the login, the addresses or the message (`EAUTH`, `EENVELOPE`, `EMESSAGE`) | `NonRetriableError` |
 * | rejects otherwise: 4xx, no connection | `Error`, which is retried |
 *
 * nodemailer's errors may quote the login or the password of the server: the channel's have nothing but `code` and status.
 * A transport cannot be interrupted: if the signal is aborted, the channel stops waiting, and the message may still be sent.
 * Sources: nodemailer, "SMTP transport" and "Message configuration" (https://nodemailer.com); RFC 5321, 4.2.1; RFC 3834, 5.
 *
 * @throws {TypeError} if an option is missing, unknown or invalid, such as an address with a line break
 *
 * @example
 * ```ts
 * import { emailChannel } from "@b24/onappupdate/notifications";
 * import { createTransport } from "nodemailer";
 *
 * const transport = createTransport("smtps://user:password@smtp.example.com");
 * const channel = emailChannel({ transport, from: "App <app@example.com>", to: ["ops@example.com"] });
 * ```
 */
export function emailChannel(options: EmailOptions): Channel {
  checkOptions("cannot send e-mails", options, RULES);
  const { transport, from, to, name = "email" } = options;
  const recipients = [to].flat();
  const [, named, bare] = ADDRESS.exec(from)!;
  const domain = named ?? bare;
  return {
    name,
    send: async (message, { signal, id }) => {
      const text = renderText(message, { id });
      const html = renderText(message, { escape: escapeHtml, title: (line) => `<b>${line}</b>`, link: htmlLink, id });
      const mail: EmailMessage = {
        from,
        to: recipients,
        // The first line has no control characters.
        subject: text.split("\n", 1)[0]!,
        text: `${text}\n`,
        html: `<p>${html.replaceAll("\n", "<br>\n")}</p>\n`,
        messageId: `<${localPart(id)}@${domain}>`,
        // Keeps out-of-office answers away.
        headers: { "Auto-Submitted": "auto-generated" },
        disableFileAccess: true,
        disableUrlAccess: true,
      };
      const refused = await send(transport, mail, signal, name);
      if (refused > 0) {
        throw new NonRetriableError(`${name}: the server refused ${refused} of ${recipients.length} recipients`);
      }
    },
  };
}

/** Returns a link to an address of the web, and other addresses as text. */
function htmlLink(address: string): string {
  const escaped = escapeHtml(address);
  return /^https?:\/\//i.test(address) ? `<a href="${escaped}">${escaped}</a>` : escaped;
}

/** Returns an id as the left side of a `Message-ID`, where few characters may stand: all others are encoded. */
function localPart(id: string): string {
  const encode = (character: string): string => `=${character.codePointAt(0)!.toString(16)}=`;
  return oneLine(id).replaceAll(/[^A-Za-z0-9-]/gu, encode);
}

/** The codes of nodemailer that are named; after the first three, a status 5xx is final. Others may be anything. */
const FINAL_CODES: readonly unknown[] = ["EAUTH", "EENVELOPE", "EMESSAGE"];
const CODES: readonly unknown[] = [
  ...FINAL_CODES,
  ...[
    "ECONNECTION",
    "ETIMEDOUT",
    "ESOCKET",
    "EDNS",
    "ETLS",
    "EREQUIRETLS",
    "EPROTOCOL",
    "ESTREAM",
    "ENOAUTH",
    "EOAUTH2",
  ],
  ...["EMAXLIMIT", "EPROXY", "ECONFIG", "ECONNREFUSED", "ECONNRESET", "ENOTFOUND"],
];

/** Returns the number of recipients that were refused. The error of a failure is made anew. */
async function send(
  transport: EmailTransport,
  mail: EmailMessage,
  signal: AbortSignal,
  name: string,
): Promise<number> {
  try {
    const info = await abortable(signal, () => transport.sendMail(mail));
    const { rejected } = Object(info) as { readonly rejected?: unknown };
    return Array.isArray(rejected) ? rejected.length : 0;
  } catch (thrown) {
    signal.throwIfAborted();
    const { code, responseCode } = Object(thrown) as { readonly code?: unknown; readonly responseCode?: unknown };
    const status = Number.isInteger(responseCode) ? Number(responseCode) : undefined;
    const words = [
      CODES.includes(code) ? String(code) : undefined,
      status === undefined ? undefined : `SMTP ${status}`,
    ];
    const reason = words.filter((word) => word !== undefined).join(", ");
    const text = `${name}: the message was not sent${reason === "" ? "" : ` (${reason})`}`;
    const isFinal = status !== undefined && status >= 500 && status <= 599 && FINAL_CODES.includes(code);
    throw isFinal ? new NonRetriableError(text) : new Error(text);
  }
}
