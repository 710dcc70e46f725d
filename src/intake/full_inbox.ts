/** The log of full inboxes. */
import { createThrottle } from "../async/throttle.ts";
import { type B24Event, wireName } from "../bitrix24/events.ts";
import type { InboxFullError } from "../errors.ts";
import { type AppRuntime, safeError } from "../plugin/runtime.ts";

/** Time (ms) between two log lines about the full inbox of a portal: it may send many events. */
const FULL_INBOX_LOG_MS = 60_000;

/** Logs that the inbox of an event's portal is full, at most once a minute for each portal. */
export type LogFullInbox = (error: InboxFullError, event: B24Event) => void;

/** Returns the function that logs full inboxes. */
export function createFullInboxLog(runtime: AppRuntime): LogFullInbox {
  const { clock, log } = runtime;
  const logged = createThrottle(clock);
  return (error, event) => {
    const { memberId } = event.auth;
    if (logged.isHeld(memberId)) return;
    logged.hold(memberId, clock() + FULL_INBOX_LOG_MS);
    const err = safeError(runtime, error, event);
    log.error("inbox full", { event: "inbox.full", memberId, eventName: wireName(event), err });
  };
}
