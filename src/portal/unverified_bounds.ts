/** Limits of the events that wait for verification, and which of one portal's events give way to another one. */
import { unitHash } from "../retry.ts";
import type { WaitingEvent } from "./unverified_head.ts";

/** Limits of the events that wait for verification. Sizes are in characters of bodies; a character takes one to three bytes. */
export interface UnverifiedBounds {
  /**
   * Maximum number of events that wait for one portal, besides one that is being verified: a further one replaces another.
   * Minimum: 1.
   *
   * @default 32
   */
  readonly maxEvents: number;
  /**
   * Maximum size of these events together. A larger event is answered 503. Minimum: 1024.
   *
   * @default 262144 (256 Ki)
   */
  readonly maxCharacters: number;
  /**
   * Maximum size of the events of all portals that are not stored, since anybody can make up a `member_id`: above it, they
   * are answered 503. Each process counts what it has received. Minimum: 1024.
   *
   * @default 67108864 (64 Mi)
   */
  readonly maxUnknownCharacters: number;
}

export const DEFAULT_BOUNDS: UnverifiedBounds = {
  maxEvents: 32,
  maxCharacters: 256 * 1024,
  maxUnknownCharacters: 64 * 1024 * 1024,
};

/**
 * Returns which events wait after another one has come. Those of trusted addresses give way to each other only. If there is
 * no room for `added`, only that is gone.
 */
export function bounded(
  events: readonly WaitingEvent[],
  added: WaitingEvent,
  { maxEvents, maxCharacters }: UnverifiedBounds,
): { readonly kept: readonly WaitingEvent[]; readonly gone: readonly WaitingEvent[] } {
  const kept = [...events];
  const gone: WaitingEvent[] = [];
  const randomOf = (from: readonly WaitingEvent[]): WaitingEvent =>
    from[Math.floor(unitHash(`${added.slot} ${gone.length}`) * from.length)]!;
  const remove = (event: WaitingEvent): void => void gone.push(...kept.splice(kept.indexOf(event), 1));
  /** Events that may give way to `added`. */
  const weaker = (): WaitingEvent[] => {
    const untrusted = kept.filter(({ isTrusted }) => isTrusted !== true);
    return untrusted.length > 0 || added.isTrusted !== true ? untrusted : kept;
  };
  while (kept.length >= maxEvents) {
    const from = weaker();
    if (from.length === 0) return { kept: events, gone: [added] };
    remove(randomOf(from));
  }
  while (added.size + sizeOf(kept) > maxCharacters) {
    const from = weaker();
    const max = Math.max(0, ...from.map(({ size }) => size));
    const isStronger = from.some(({ isTrusted }) => isTrusted !== added.isTrusted);
    if (from.length === 0 || (added.size > max && !isStronger)) return { kept: events, gone: [added] };
    remove(randomOf(from.filter(({ size }) => size === max)));
  }
  return { kept: [...kept, added], gone };
}

/** Returns the size of events together. */
export function sizeOf(events: readonly WaitingEvent[]): number {
  return events.reduce((sum, { size }) => sum + size, 0);
}
