/** Events that Bitrix24 has not sent: what somebody can post who knows a portal, and perhaps its `application_token`. */
import { type PendingEvent, USER, type World } from "./_world.ts";

/** Seconds by which the `ts` of some events is in the future. */
const FAR = 10 * 365 * 24 * 60 * 60;

/** Returns a forged event. */
export function forgedEvent(world: World): PendingEvent {
  const { pick, random, time } = world;
  const [name, data] = pick<readonly [string, Readonly<Record<string, string>>]>([
    ["ONAPPUPDATE", { VERSION: "900", PREVIOUS_VERSION: "1" }],
    ["ONAPPUPDATE", { VERSION: "900.1.0", PREVIOUS_VERSION: "1" }],
    ["ONAPPINSTALL", { VERSION: "901", ACTIVE: "Y", INSTALLED: "Y" }],
    ["ONAPPUNINSTALL", { CLEAN: "1" }],
    ["ONAPPPAYMENT", { CODE: "app", VERSION: "1", STATUS: "S", PAYMENT_EXPIRED: pick(["Y", "N"]), DAYS: "0" }],
    ["ONAPPUSERREADY", systemUser(world)],
    ["ONCRMDEALADD", { ID: "forged" }],
  ]);
  const knowsToken = random() < 0.5;
  const [whose, tokens] = tokensOf(world);
  const isFuture = random() < 0.2;
  const body = world.portal.forge(name, data, {
    ...(knowsToken ? {} : { applicationToken: "f".repeat(32) }),
    ...(tokens === undefined ? {} : { tokens }),
    ...(isFuture ? { ts: Math.floor(time.now() / 1000) + FAR } : {}),
    ...(random() < 0.2
      ? { auth: { domain: "attacker.example", client_endpoint: "https://attacker.example/rest/" } }
      : {}),
  });
  const described =
    `forged ${name} with ${knowsToken ? "the" : "another"} application_token, ${data["VERSION"] ?? "no"} version, ` +
    `${whose} access token${isFuture ? ", far in the future" : ""}`;
  return { body, name: described, isForged: true };
}

/** Returns one of many events of a kind by which a user claims something, each with another `ts` and token pair. */
export function claimingEvent({ portal, time }: World, name: string, number: number): PendingEvent {
  const payment = { CODE: "app", STATUS: "S", PAYMENT_EXPIRED: "Y", DAYS: "0" };
  const data = { VERSION: String(900 + number), CLEAN: "1", ...(name === "ONAPPPAYMENT" ? payment : {}) };
  const body = portal.forge(name, data, {
    ts: Math.floor(time.now() / 1000) - number,
    tokens: { accessToken: `made-up-${number}-${"0123456789abcdef".repeat(2)}` },
  });
  return { body, name: `forged ${name} with the application_token, number ${number}`, isForged: true };
}

/** Returns a copy of an event that waits for its delivery, posted first by somebody who has no access token of the portal. */
export function stolenEvent({ pick, pending }: World): PendingEvent | undefined {
  const events = pending.filter(({ isForged }) => !isForged);
  if (events.length === 0) return undefined;
  const { body, name } = pick(events);
  const form = new URLSearchParams(body);
  const token = pick([undefined, "copied-0123456789abcdef0123456789abcdef"]);
  for (const field of ["access_token", "refresh_token"]) {
    if (!form.has(`auth[${field}]`)) continue;
    if (token === undefined) form.delete(`auth[${field}]`);
    else form.set(`auth[${field}]`, token);
  }
  // Nobody but Bitrix24 and the users of the portal knows the application_token.
  if (pick([true, false])) form.set("auth[application_token]", "f".repeat(32));
  return { body: form.toString(), name: `copy of ${name}`, isForged: true };
}

type Tokens = { readonly accessToken: string; readonly refreshToken?: string };

function tokensOf({ pick, portal, attacker, truth }: World): readonly [string, Tokens | undefined] {
  return pick<() => readonly [string, Tokens | undefined]>([
    () => ["no", undefined],
    () => ["a made-up", { accessToken: "made-up-0123456789abcdef0123456789", refreshToken: "made-up-too-0123456789" }],
    () => ["the attacker's", attacker.tokens()],
    () => truth.isInstalled ? ["a user's", portal.tokens(USER)] : ["no", undefined],
  ])();
}

function systemUser({ attacker, portal, pick, truth }: World): Readonly<Record<string, string>> {
  const isUser = truth.isInstalled && pick([true, false]);
  const { accessToken, refreshToken } = isUser ? portal.tokens(USER) : attacker.tokens();
  return {
    access_token: accessToken,
    refresh_token: refreshToken,
    expires_in: "3600",
    user_id: isUser ? String(USER) : "1",
    scope: "crm",
  };
}
