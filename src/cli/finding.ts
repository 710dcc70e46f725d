/** A finding of `onappupdate doctor`. */
export interface Finding {
  /** `ok` needs nobody, `warning` somebody sometime, `problem` somebody now. */
  readonly level: "ok" | "warning" | "problem";
  /** The part that was looked at; of this machine, it says so. */
  readonly about: string;
  /** What was seen. */
  readonly message: string;
  /** What to do about it; absent if nothing is to be done. */
  readonly todo?: string;
}
