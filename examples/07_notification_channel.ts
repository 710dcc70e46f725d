/**
 * A channel of your own: it sends notifications to a service that takes text. Run it with
 * `deno task example 7`.
 */
// deno-lint-ignore-file no-console
import { NonRetriableError, RetryAfterError } from "@b24/onappupdate";
import { type Channel, type NotificationMessage, renderText } from "@b24/onappupdate/notifications";

export function pagerChannel(url: string, post: typeof fetch = fetch): Channel {
  const send: Channel["send"] = async (message, { signal, id }) => {
    const body = renderText(message, { maxLength: 500, id });
    // The address is a secret, and what `fetch` throws may quote it.
    const answer = await post(url, { method: "POST", body, signal, redirect: "manual" }).catch(() => undefined);
    if (answer === undefined) throw new Error("the pager did not answer");
    await answer.body?.cancel();
    if (answer.status === 429) throw new RetryAfterError((Number(answer.headers.get("retry-after")) || 60) * 1000);
    if (answer.status === 404) throw new NonRetriableError("the pager has no such address");
    if (!answer.ok) throw new Error(`the pager answered ${answer.status}`);
  };
  return { name: "pager", maxLength: 500, send };
}

if (import.meta.main) {
  const message: NotificationMessage = {
    kind: "portal_parked",
    status: "firing",
    severity: "critical",
    title: "40 portals are parked",
    lines: ["upgrade 2.0.0: the field RATING is missing"],
    portals: { shown: Array.from({ length: 20 }, (_, i) => ({ memberId: `portal-${i}` })), total: 40 },
    link: "https://ops.example.com/parked",
  };
  const answers = [new Response("", { status: 429, headers: { "retry-after": "7" } }), new Response("ok")];
  const channel = pagerChannel("https://pager.example.com/x7Qp2", (_, init) => {
    const answer = answers.shift()!;
    console.log(`${answer.status} to\n${init!.body}\n`);
    return Promise.resolve(answer);
  });
  // A notifier does this: it waits as long as the service asks for, and sends the notification again with the same id.
  const options = { id: "portal_parked-7f3a", signal: AbortSignal.timeout(10_000) };
  await channel.send(message, options).catch((error) => {
    if (!(error instanceof RetryAfterError)) throw error;
    console.log(`again after ${error.afterMs} ms`);
  });
  await channel.send(message, options);
}
