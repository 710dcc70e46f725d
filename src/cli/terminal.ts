/** The process as commands see it. `process_terminal.ts` is the real one; tests have one of their own. */

/** Standard output or standard error. */
export interface Output {
  /** Writes text as it is. */
  readonly write: (text: string) => void;
  /** A person reads it: not a pipe and not a file. */
  readonly isTerminal: boolean;
  /** It is a terminal, and `NO_COLOR` is not set. */
  readonly hasColor: boolean;
  /** Width in characters; 80 if it is not a terminal. */
  readonly columns: number;
}

/** A progress bar on standard error; on anything but a terminal it prints nothing. */
export interface ProgressBar {
  /** Sets the number of items done. `total` replaces the total. */
  readonly update: (done: number, total?: number) => void;
  readonly stop: () => void;
}

/** The input and output of the command line, and what else a command may use of its process. */
export interface Terminal {
  /** Data, and nothing else. */
  readonly stdout: Output;
  /** Everything else: errors, notes, questions, progress. */
  readonly stderr: Output;
  /** A person can answer questions: standard input and standard error are terminals. */
  readonly isInteractive: boolean;
  /** Returns the content of a file, or of standard input for `-`. */
  readonly read: (path: string) => Promise<string>;
  /** Prints a question on standard error and returns the line that the person types. */
  readonly ask: (question: string) => Promise<string>;
  /** Starts a progress bar. Without `total` the number of items is not known yet. */
  readonly progress: (label: string, total?: number) => ProgressBar;
  /** Returns an environment variable; `undefined` if it is not set or may not be read. Never prompts for a permission. */
  readonly variable: (name: string) => string | undefined;
  /** Returns the user name of the system; `undefined` if it may not be read. Never prompts for a permission. */
  readonly userName: () => string | undefined;
  /** Returns the default export of a module of the user. */
  readonly load: (path: string) => Promise<unknown>;
  readonly fetch: (url: string | URL, init?: RequestInit) => Promise<Response>;
  /** Returns the time in milliseconds since 1970. */
  readonly now: () => number;
  /** Resolves after this time, or once the signal is aborted. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Returns a signal that Ctrl+C aborts. Before the first call, Ctrl+C ends the process. */
  readonly interrupted: () => AbortSignal;
}
