/** The diagnosis of an app's process and machine, as operators see it. */

/** One finding, and what to do about it. */
export interface Finding {
  /** `"ok"`: as it should be. `"warning"`: it may be meant. `"problem"`: something does not work, or will not. */
  readonly level: "ok" | "warning" | "problem";
  /** Its subject, such as `clock` or `host oauth.bitrix24.tech`. */
  readonly about: string;
  /** The observation, without secrets. */
  readonly message: string;
  /** The remedy; absent if there is nothing to do. */
  readonly todo?: string;
}

/** The result of `app.admin.diagnose`. */
export interface Diagnosis {
  /** When the app looked, in milliseconds since 1970. */
  readonly at: number;
  /** In the order in which they are shown. */
  readonly findings: readonly Finding[];
}
