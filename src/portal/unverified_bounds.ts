/** How many events of one portal wait for verification, and which give way to another one. */
import { unitHash } from "../retry.ts";

/** The maximum number of events that wait for one portal. */
export const MAX_EVENTS = 32;
/** The maximum size of the events that wait for one portal, in characters of their bodies. */
export const MAX_SIZE = 256 * 1024;

/** An event that waits, as the head of its portal lists it. */
export interface WaitingEvent {
  /** Key of its body. */
  readonly slot: string;
  /** Digest of the event and its access token: a copy waits once. */
  readonly digest: string;
  readonly size: number;
  /** In milliseconds since 1970. */
  readonly receivedAt: number;
  /** How many times Bitrix24 was asked in vain. */
  readonly attempts: number;
  /** When Bitrix24 is asked next, in milliseconds since 1970. */
  readonly nextAt: number;
}

/** Returns which events wait after another one has come. If `added` is too large, only that is gone. */
export function bounded(
  events: readonly WaitingEvent[],
  added: WaitingEvent,
): { readonly kept: readonly WaitingEvent[]; readonly gone: readonly WaitingEvent[] } {
  const kept = [...events];
  const gone: WaitingEvent[] = [];
  const remove = (index: number): void => void gone.push(...kept.splice(index, 1));
  const randomOf = (count: number): number => Math.floor(unitHash(`${added.slot} ${gone.length}`) * count);
  if (kept.length >= MAX_EVENTS) remove(randomOf(kept.length));
  while (added.size + kept.reduce((sum, { size }) => sum + size, 0) > MAX_SIZE) {
    const max = Math.max(0, ...kept.map(({ size }) => size));
    if (added.size > max) return { kept: events, gone: [added] };
    const largest = kept.filter(({ size }) => size === max);
    remove(kept.indexOf(largest[randomOf(largest.length)]!));
  }
  return { kept: [...kept, added], gone };
}
