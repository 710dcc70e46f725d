/** Reports the work of an app to the plugin that traces it. Without one, it does nothing. */
import type { LogFields, Logger } from "../logger.ts";
import { redactError } from "../redact.ts";
import type { Plugin } from "./plugin.ts";
import type { StorageReport, TracedWork, Tracing, WorkEnd, WorkSpan } from "./tracing.ts";

/** Notes how a piece of work ends, for the report of it. Not called: it has thrown something, or there is nothing to say. */
export type NoteEnd = (end: () => WorkEnd) => void;

/** Reports the work of an app. Whatever the plugin does, the work is done, and its result is that of the work alone. */
export interface Tracer {
  /** Does a piece of work. */
  readonly trace: <T>(work: TracedWork, run: (note: NoteEnd) => Promise<T>) => Promise<T>;
  /** Returns what is stored with an event that is received now. */
  readonly context: () => string | undefined;
  /** Calls `work` outside of any piece of work. */
  readonly detach: <T>(work: () => T) => T;
  /** Returns the fields to add to a log line. */
  readonly logFields: () => LogFields | undefined;
  /** Returns the function that is notified of operations of the storage; `undefined` if nobody is. */
  readonly storageCalled: () => ((report: StorageReport) => void) | undefined;
}

/** Maximum length of a context: it is stored with each event. */
const MAX_CONTEXT_LENGTH = 256;

const IGNORE: NoteEnd = () => {};

/** Returns the tracer of an app. Its plugins may be added later. */
export function createTracer(plugins: readonly Plugin[], log: Pick<Logger, "warn">): Tracer {
  let hasFailed = false;

  const tracing = (): Tracing | undefined => plugins.find(({ tracing }) => tracing !== undefined)?.tracing;

  /** Once: it may happen with every piece of work. */
  function failed(err: unknown): void {
    if (!hasFailed) log.warn("tracing failed", { event: "tracing.failed", err });
    hasFailed = true;
  }

  /** Returns what `call` returns; `undefined` if it throws. */
  function guarded<T>(call: () => T): T | undefined {
    try {
      const result = call();
      // An `async` function of the plugin: nobody else would take note of its error.
      if (result instanceof Promise) result.catch(failed);
      return result;
    } catch (err) {
      failed(err);
      return undefined;
    }
  }

  /** Calls `work` by a function of the plugin, or directly if that does not call it at once. Never twice. */
  function callBy<T>(caller: (work: () => void) => unknown, work: () => T): T {
    let result: { readonly value: T } | { readonly error: unknown } | undefined;
    const once = (): void => {
      if (result !== undefined) return;
      try {
        result = { value: work() };
      } catch (error) {
        result = { error };
      }
    };
    guarded(() => caller(once));
    once();
    if ("error" in result!) throw result.error;
    return result!.value;
  }

  async function runIn<T>(span: WorkSpan, run: (note: NoteEnd) => Promise<T>): Promise<T> {
    let end: (() => WorkEnd) | undefined;
    try {
      // An `async` function never throws at once.
      return await callBy((work) => span.run(work), async () => await run((noted) => end = noted));
    } catch (error) {
      end ??= () => ({ outcome: "failed", error: redactError(error, []) });
      throw error;
    } finally {
      guarded(() => span.end(end?.() ?? {}));
    }
  }

  return {
    trace: (work, run) => {
      const begin = tracing()?.begin;
      const span = begin && guarded(() => begin(work));
      return span === undefined ? run(IGNORE) : runIn(span, run);
    },
    context: () => {
      const context = tracing()?.context;
      const stored = context && guarded(context);
      return typeof stored === "string" && stored.length <= MAX_CONTEXT_LENGTH ? stored : undefined;
    },
    detach: (work) => {
      const detach = tracing()?.detach;
      return detach === undefined ? work() : callBy(detach, work);
    },
    logFields: () => {
      const logFields = tracing()?.logFields;
      return logFields && guarded(logFields);
    },
    storageCalled: () => {
      const storageCalled = tracing()?.storageCalled;
      return storageCalled && ((report) => void guarded(() => storageCalled(report)));
    },
  };
}
