/** What plugins and handlers are given about one event. */
import type { Logger } from "../logger.ts";
import type { Portal } from "../portal/record.ts";
import type { B24Event } from "../bitrix24/events.ts";

/** One event on its way through the app. Plugins add to it. */
export interface Context<Event extends B24Event = B24Event> {
  /** Typed by its `name`. */
  readonly event: Event;
  /** The portal as it was when this phase began; absent in phase `verify` before the portal is known. */
  readonly portal?: Portal;
  /** When the request came, in milliseconds since 1970. */
  readonly receivedAt: number;
  /** Adds event and portal to each line. */
  readonly log: Logger;
  /** Aborted when the app closes and has waited long enough. */
  readonly signal: AbortSignal;
}

/** What a handler of `app.on` is given: the portal is known by then. */
export interface HandlerContext<Event extends B24Event = B24Event> extends Context<Event> {
  /** The portal after the event was taken into its record, and after the upgrades that it caused. */
  readonly portal: Portal;
}
