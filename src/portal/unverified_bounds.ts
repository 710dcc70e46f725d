/** Limits of the events of one portal that wait for verification, and which of them give way to another one. */
import { unitHash } from "../retry.ts";
import type { WaitingEvent } from "./unverified_head.ts";

/** The maximum number of events that wait for one portal, besides one that is being verified. */
export const MAX_EVENTS = 32;
/** The maximum size of these events together, in characters of their bodies. A character takes one to three bytes. */
export const MAX_SIZE = 256 * 1024;

/** Returns which events wait after another one has come. If `added` is too large, only that is gone. */
export function bounded(
  events: readonly WaitingEvent[],
  added: WaitingEvent,
): { readonly kept: readonly WaitingEvent[]; readonly gone: readonly WaitingEvent[] } {
  const kept = [...events];
  const gone: WaitingEvent[] = [];
  const remove = (index: number): void => void gone.push(...kept.splice(index, 1));
  const randomOf = (count: number): number => Math.floor(unitHash(`${added.slot} ${gone.length}`) * count);
  while (kept.length >= MAX_EVENTS) remove(randomOf(kept.length));
  while (added.size + sizeOf(kept) > MAX_SIZE) {
    const max = Math.max(0, ...kept.map(({ size }) => size));
    if (added.size > max) return { kept: events, gone: [added] };
    const largest = kept.filter(({ size }) => size === max);
    remove(kept.indexOf(largest[randomOf(largest.length)]!));
  }
  return { kept: [...kept, added], gone };
}

/** Returns the size of events together. */
export function sizeOf(events: readonly WaitingEvent[]): number {
  return events.reduce((sum, { size }) => sum + size, 0);
}
