/** Composes notifications from groups. Pure functions. */
import type { BlockedReason } from "../../mod.ts";
import type { Details, Group, GroupLabels } from "./group.ts";
import { KINDS } from "./kinds.ts";
import type { Level } from "./level.ts";
import type { NotificationKind, NotificationLanguage, NotificationMessage, NotifiedPortal } from "./message.ts";
import { SENTENCES, type Sentences } from "./sentences.ts";

/** The group of a notification, as the option `link` gets it. */
export interface LinkedGroup extends GroupLabels {
  /** The kind of its notifications. */
  readonly kind: NotificationKind;
}

/** Settings by which notifications are composed. */
export interface ComposeOptions {
  readonly language: NotificationLanguage;
  readonly link: (group: LinkedGroup) => string | undefined;
}

/** Maximum number of causes that a notification lists, and length of the message of an error. */
const MAX_FAILURES = 5;
const MAX_MESSAGE = 300;

/** Returns the notification that the problem of a group is there. */
export function composeFiring(
  { kind, labels, details }: Group,
  level: Level,
  options: ComposeOptions,
): NotificationMessage {
  const { titles, lines } = SENTENCES[options.language];
  const { count, isAtLeast, portals, failures = [], since } = level;
  const time = since === undefined ? undefined : timeText(since);
  const facts = {
    ...{ ...labels, count },
    ...(isAtLeast !== undefined && { isAtLeast }),
    ...(time !== undefined && { since: time }),
  };
  return {
    ...{ kind, status: "firing", severity: KINDS[kind].severity, title: titles[kind].firing(facts) },
    lines: [
      ...detailLines(details, lines),
      ...failures.slice(0, MAX_FAILURES).map(({ count, message }) => lines.failures(count, short(message))),
      ...(kind === "portal_parked" && labels.target !== undefined ? [lines.target(labels.target)] : []),
      ...(time !== undefined && kind !== "nothing_received" ? [lines.since(time)] : []),
    ],
    portals,
    ...rest(kind, labels, options),
  };
}

/** Returns the notification that the problem of a group is over. */
export function composeResolved(
  { kind, labels, told, ending }: Group,
  level: Level,
  options: ComposeOptions,
): NotificationMessage {
  const { titles, lines } = SENTENCES[options.language];
  const { reason } = level.ending ?? {};
  return {
    ...{ kind, status: "resolved", severity: KINDS[kind].severity },
    title: titles[kind].resolved({ ...labels, count: told?.count ?? 0 }),
    lines: [...detailLines(ending ?? {}, lines), ...(reason === undefined ? [] : [lines.ended(reason)])],
    portals: told?.portals ?? { shown: [], total: 0 },
    ...rest(kind, labels, options),
  };
}

function rest(
  kind: NotificationKind,
  labels: GroupLabels,
  { language, link }: ComposeOptions,
): Pick<NotificationMessage, "language" | "link" | "blockedOn"> {
  const address = link({ kind, ...labels });
  return {
    language,
    ...(labels.blockedOn !== undefined && { blockedOn: labels.blockedOn }),
    ...(address !== undefined && { link: address }),
  };
}

function detailLines({ error, by, reason }: Details, lines: Sentences["lines"]): readonly string[] {
  return [
    ...(by !== undefined ? [lines.operator(by, reason ?? "")] : []),
    ...(error !== undefined ? [lines.error(short(error))] : []),
  ];
}

/** Returns what the customer of a portal reads: the app was updated, or what it needs. */
export function composeForCustomer(
  portal: NotifiedPortal,
  blockedOn: BlockedReason | undefined,
  language: NotificationLanguage,
): NotificationMessage {
  const { customer } = SENTENCES[language];
  const kind = blockedOn === undefined ? "portal_upgraded" : "portal_blocked";
  return {
    ...{ kind, status: "firing", severity: KINDS[kind].severity, lines: [], language },
    title: blockedOn === undefined ? customer.upgraded() : customer.blocked(blockedOn),
    portals: { shown: [portal], total: 1 },
    ...(blockedOn !== undefined && { blockedOn }),
  };
}

/** Returns a link to the console: the portals of a group, or its overview. */
export function consoleLink(consoleUrl: string): ComposeOptions["link"] {
  const base = consoleUrl.replace(/\/+$/, "");
  return ({ kind, upgradeId, fingerprint, blockedOn }) => {
    if (kind !== "portal_parked" && kind !== "portal_blocked") return base;
    const query = new URLSearchParams({ status: kind === "portal_parked" ? "parked" : "blocked" });
    if (upgradeId !== undefined) query.set("upgradeId", upgradeId);
    if (fingerprint !== undefined) query.set("fingerprint", fingerprint);
    if (blockedOn !== undefined) query.set("blockedOn", blockedOn);
    return `${base}/portals?${query}`;
  };
}

function timeText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

/** Cuts a text, not inside of a character. */
function short(text: string): string {
  return text.length <= MAX_MESSAGE ? text : `${text.slice(0, MAX_MESSAGE).toWellFormed().replace(/\ufffd$/, "")}…`;
}
