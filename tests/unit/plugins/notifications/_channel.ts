/** A notification, and channels whose requests a test answers. */
import { inspect } from "node:util";
import type { PluginHost } from "@b24/onappupdate";
import type { Channel, NotificationMessage } from "@b24/onappupdate/notifications";

export const NOW = 1_785_300_000_000;

/** Returns a notification. */
export function notification(more: Partial<NotificationMessage> = {}): NotificationMessage {
  return {
    kind: "portal_parked",
    status: "firing",
    severity: "warning",
    title: "3 portals are parked",
    lines: ["upgrade 2.0.0: the field is missing"],
    portals: { shown: [{ memberId: "a223", domain: "one.bitrix24.de" }, { memberId: "b334" }], total: 3 },
    ...more,
  };
}

/** A request as the receiver got it. */
export interface Received {
  readonly url: string;
  readonly headers: Headers;
  readonly body: string;
  readonly redirect: string | undefined;
}

/** Sets a channel up with a `fetch` that records requests and answers them. */
export function withAnswers(
  channel: Channel,
  answer: (received: Received) => Response | Promise<Response>,
  clock: () => number = () => NOW,
): Received[] {
  const received: Received[] = [];
  const send: typeof fetch = async (input, init) => {
    const { headers, body, redirect } = init!;
    received.push({ url: String(input), headers: new Headers(headers), body: String(body), redirect });
    return await answer(received.at(-1)!);
  };
  channel.setup!({ fetch: send, clock } as PluginHost);
  return received;
}

/** Sends a notification once. */
export async function send(channel: Channel, message: NotificationMessage = notification(), id = "n-1"): Promise<void> {
  await channel.send(message, { id, signal: new AbortController().signal });
}

/** Returns what `action` throws. */
export async function thrownBy(action: () => Promise<unknown>): Promise<Error> {
  try {
    await action();
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was thrown");
}

/** Returns all that an error can tell: its members, causes and stack. */
export function everythingOf(error: unknown): string {
  const { message, stack, cause } = error as Error;
  return inspect([error, message, stack, cause, Object.entries(error as object)], { depth: 10, showHidden: true });
}

/** Returns an error that contains a secret wherever an error can contain something. */
export function leaky(secret: string): Error {
  const cause = Object.assign(new Error(`connect ${secret}`), { code: secret, response: secret, host: secret });
  const error = Object.assign(new TypeError(`error sending request for url (${secret})`, { cause }), {
    code: secret,
    url: secret,
    responseCode: secret,
  });
  error.stack = `TypeError: ${secret}\n    at ${secret}`;
  return error;
}
