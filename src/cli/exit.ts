/** Exit codes, and the errors that end a command with them. */

/**
 * `done`: the command did what it says. `bad`: it asked, and the answer is bad. `usage`: the command is invalid, and nothing
 * was done. `unreachable`: the app, the operator API or the storage does not answer.
 */
export const EXIT = { done: 0, bad: 1, usage: 2, unreachable: 3 } as const;

/** An exit code. */
export type ExitCode = typeof EXIT[keyof typeof EXIT];

/** Ends a command with an exit code. Its message is printed on standard error: it says what is wrong and what to do. */
export class ExitError extends Error {
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "ExitError";
    this.exitCode = exitCode;
  }
}

/** Returns the error of a command that is invalid: exit code 2. */
export function usageError(message: string, options?: ErrorOptions): ExitError {
  return new ExitError(EXIT.usage, message, options);
}

/** Returns the error of an answer that is bad: exit code 1. */
export function badAnswer(message: string, options?: ErrorOptions): ExitError {
  return new ExitError(EXIT.bad, message, options);
}

/** Returns the error of something that does not answer: exit code 3. */
export function unreachable(message: string, options?: ErrorOptions): ExitError {
  return new ExitError(EXIT.unreachable, message, options);
}
