/** Figures about the work of an app, for operators and their monitoring. */

/**
 * Figures about an app at one time. Numbers are exact up to 1,000: more count as 1,000. Ages are 0 if there is nothing.
 */
export interface AppHealth {
  /** Whether this process has started the app and does not close it. */
  readonly isRunning: boolean;
  /** When the last tick of this process ended, in milliseconds since 1970; absent before the first. A tick that fails does not count. */
  readonly tickedAt?: number;
  /** Work on portals that is due. */
  readonly due: {
    /** Number of entries of the schedule that are due. After a crash, a portal may have two for an hour. */
    readonly entries: number;
    /** Milliseconds by which the earliest of them is late. It grows if no process works, whichever process you ask. */
    readonly lagMs: number;
  };
  /** Events that wait for their verification; `admin.unverified` lists them. */
  readonly unverified: {
    /** Number of events. */
    readonly events: number;
    /** Number of portals that they came for. */
    readonly portals: number;
    /** Age of the oldest event in milliseconds. After 24 hours it is dropped. */
    readonly oldestMs: number;
  };
  /** Messages of plugins; `admin.outbox.list` lists them. */
  readonly outbox: {
    /** Number of messages that wait for their delivery. */
    readonly waiting: number;
    /** Number of dead letters. */
    readonly dead: number;
  };
}
