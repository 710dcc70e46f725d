/** Errors that end a handler early, and are not failures. */

/** Ends an attempt at an upgrade: the run resumes later. */
export class Suspended extends Error {
  /** When the run resumes, in milliseconds since 1970. */
  readonly until: number;

  constructor(until: number) {
    super(`the run is suspended until ${new Date(until).toISOString()}`);
    this.name = "Suspended";
    this.until = until;
  }
}

/** Ends the replay of a handler, which runs no steps, at its first unfinished step. */
export class ReplayEnded extends Error {
  constructor() {
    super("the replay has reached an unfinished step");
    this.name = "ReplayEnded";
  }
}
