/** The context of an event, as plugins and handlers receive it. */
import type { B24Event } from "../bitrix24/events.ts";
import type { Logger } from "../logger.ts";
import type { Portal } from "../portal/portal.ts";

/**
 * When plugins of phase `verify` run: `"received"` while the request is answered, and they must not call other hosts then;
 * `"later"` when the app verifies an event that could not be decided at once.
 */
export type VerificationStage = "received" | "later";

/** The context of one event. Plugins add members to it. */
export interface Context<Event extends B24Event = B24Event> {
  /** The event; its `name` determines its type. */
  readonly event: Event;
  /** The portal at the start of this phase; absent in phase `verify` if the portal is not known yet. */
  readonly portal?: Portal;
  /** Only in phase `verify`. */
  readonly stage?: VerificationStage;
  /**
   * IP address of the client that sent the event, as `clientAddress` of `createApp` returns it. Only in phase `verify` while
   * `stage` is `"received"`; absent if the server does not tell it. It proves nothing about the event.
   */
  readonly clientAddress?: string;
  /** When the request arrived, in milliseconds since 1970. */
  readonly receivedAt: number;
  /** Adds `memberId` and `eventName` to each line. */
  readonly log: Logger;
  /**
   * Aborted when the app closes and the work has not finished within `limits.closeMs`, and when another process has taken
   * the portal over. Pass it to whatever can be aborted, such as `fetch`.
   */
  readonly signal: AbortSignal;
}

/** The context of a handler of `app.on`. */
export interface HandlerContext<Event extends B24Event = B24Event> extends Context<Event> {
  /** The portal after the event was applied to it, and after the upgrades that the event caused. */
  readonly portal: Portal;
  /**
   * False if the removal or the version in the event was believed because Bitrix24 could not be asked. Keep what you cannot
   * restore then: a removal that was believed is undone by the next contact that Bitrix24 confirms. Also false if a removal
   * with `clean` may have been made up, though the app is removed: another event of the removal wants the data kept, or
   * Bitrix24 still knew the app as installed after the event had come.
   *
   * With `versions: deployed(…)`, an app does not use the versions in events, so it does not ask about them either, and this
   * says nothing about them: use `portal.version`.
   */
  readonly confirmed: boolean;
}
