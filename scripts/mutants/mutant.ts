/** Mutants: small mistakes in the source that a test must notice. */

/** A mistake in the source. */
export interface Mutant {
  /** Describes the behavior of the mistaken code. */
  readonly name: string;
  /** The changed file. */
  readonly file: string;
  /** A text that is in the file once, and what replaces it. */
  readonly from: string;
  readonly to: string;
  /** Files or folders with tests; one of the tests must fail. */
  readonly tests: readonly string[];
  /** Scenarios of `tests/simulation/`; a schedule must fail instead of a test. */
  readonly scenarios?: readonly string[];
  /** Why no test can notice it. */
  readonly reason?: string;
}

/** A mutant of a file: name, text, replacement, and what differs from the other mutants of the file. */
export type MutantRow = readonly [
  name: string,
  from: string,
  to: string,
  more?: Partial<Pick<Mutant, "tests" | "scenarios" | "reason">>,
];

/** Returns the mutants of a file. `tests`: see {@linkcode Mutant.tests}. */
export function mutantsOf(file: string, tests: readonly string[], rows: readonly MutantRow[]): readonly Mutant[] {
  return rows.map(([name, from, to, more]) => ({ name, file, from, to, tests, ...more }));
}

/**
 * Returns the source with the mistake.
 *
 * @throws {Error} if the text is not in the source, or more than once: the same mistake has to be made in the new code
 */
export function mutated(source: string, { name, file, from, to }: Mutant): string {
  const times = source.split(from).length - 1;
  if (times !== 1) {
    throw new Error(`cannot make the mutant "${name}": saw its text ${times} times in ${file}, wanted 1`);
  }
  return source.replace(from, () => to);
}
