/** The pace of the workers under test. */

/** Between two signs of life of a worker, in milliseconds. */
export const BEAT_MS = 50;
