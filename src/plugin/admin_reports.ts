/** Values that operators receive about work on portals: a pause, registered upgrades, and rollbacks. */

/** A pause of all work on portals. */
export interface Pause {
  /** The operator who paused the app. */
  readonly by: string;
  /** The reason. */
  readonly reason: string;
  /** Since when the app is paused, in milliseconds since 1970. */
  readonly since: number;
}

/** An upgrade, and the numbers of portals that need it. */
export interface RegisteredUpgrade {
  /** Id of the upgrade. */
  readonly id: string;
  /** Range of the upgrade, as registered; absent if the code does not register it. */
  readonly range?: string;
  /** Number of portals that need it and have not applied it, those of the other counts included. */
  readonly due: number;
  /** Number of these whose current run has begun it, and is neither blocked nor parked. */
  readonly running: number;
  /** Number of these that are blocked and whose current run has begun it. */
  readonly blocked: number;
  /** Number of these that are parked, and whose last failure was in it. */
  readonly parked: number;
}

/** The result of `app.admin.rollback`. */
export interface RollbackReport {
  /** Steps whose `undo` ran, in this order. */
  readonly undone: readonly RolledBackStep[];
  /**
   * Finished steps that have no `undo`, and all finished steps of upgrades that the code no longer has. Without `sleep`s, which
   * have nothing to undo.
   */
  readonly without: readonly RolledBackStep[];
}

/** A step in a rollback report. */
export interface RolledBackStep {
  /** Id of the upgrade. */
  readonly upgradeId: string;
  /** Name of the step. */
  readonly step: string;
}
