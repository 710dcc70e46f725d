/** Heartbeats of workers. */

/** Interval of heartbeats in milliseconds. */
export const BEAT_MS = 50;
