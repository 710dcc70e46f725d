/** The client of a portal's REST that the plugin needs. */
import { B24Error, type OnAppUpdateError } from "../../mod.ts";
import { isMap, text } from "./listed.ts";

/** The part of the context that {@linkcode registrations} needs. `rest()` adds it. */
export interface HasB24Batch {
  /** A client of the portal's REST. */
  readonly b24: {
    /**
     * Calls several methods, each with its own outcome. `repeatable`: repeats commands that may have been executed. A command
     * with `auth_connector` needs a request of its own: Bitrix24 ignores it in a command of a batch.
     */
    readonly batch: (
      commands: Readonly<Record<string, readonly [method: string, params?: object]>>,
      options?: { readonly repeatable?: boolean },
    ) => Promise<Readonly<Record<string, BatchOutcome>>>;
  };
}

/** The outcome of a command of a batch. */
export type BatchOutcome = { readonly ok: true; readonly value: unknown } | {
  readonly ok: false;
  readonly error: OnAppUpdateError;
};

/** Returns the error of a command, if there is one. */
export function errorOf(outcome: BatchOutcome, method: string): OnAppUpdateError | undefined {
  if (!outcome.ok) return outcome.error;
  // Methods of open channels return errors in the result.
  if (!isMap(outcome.value) || text(outcome.value.error) === "") return undefined;
  const { error, error_description: description } = outcome.value;
  const code = /^[\w.-]{1,80}$/.exec(text(error))?.[0] ?? "UNKNOWN_ERROR";
  return new B24Error({ code, description: text(description).slice(0, 500), status: 200, method });
}

/** Returns Bitrix24's code of an error; empty if the error is not an answer of Bitrix24. */
export function b24CodeOf(error: OnAppUpdateError): string {
  return error instanceof B24Error ? error.b24Code : "";
}
