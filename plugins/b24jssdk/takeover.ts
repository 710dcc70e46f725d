/** Replaces how an SDK sends its requests, and translates the errors of its calls. */
import { B24Error, OnAppUpdateError } from "../../mod.ts";
import { type Sdk, TIMEOUT_MS, WANTED } from "./sdk.ts";

/**
 * Makes `sdk` send all its requests by `fetch`. Its calls reject once `signal` is aborted, and with errors that the app
 * understands.
 *
 * @throws {TypeError} if the SDK does not send its requests by axios
 */
export function takeOver(sdk: Sdk, fetch: typeof globalThis.fetch, signal: AbortSignal): void {
  for (const version of sdk.getTargetOriginWithPath().keys()) {
    const http = sdk.getHttpClient(version as never);
    const defaults = http.ajaxClient?.defaults as { env?: object } | undefined;
    if (defaults === undefined || typeof http.call !== "function") {
      throw new TypeError(`cannot use this SDK: its requests do not go through axios, ${WANTED}`);
    }
    Object.assign(defaults, { adapter: "fetch", env: { ...defaults.env, fetch }, timeout: TIMEOUT_MS });
    const call = http.call.bind(http);
    http.call = async (...args) => {
      try {
        return await abortable(signal, () => call(...args));
      } catch (error) {
        signal.throwIfAborted();
        throw translated(error, String(args[0]));
      }
    };
  }
  // `fetch` never answers that a token has expired, so another host has refused the placeholder of a token.
  sdk.setCustomRefreshAuth(() =>
    Promise.reject(new TypeError(`cannot use this SDK: its requests do not go through axios' fetch, ${WANTED}`))
  );
}

/** Runs `work`, and rejects with the signal's reason once it is aborted: the SDK takes no signal, and may wait for long. */
async function abortable<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  signal.throwIfAborted();
  let abort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort);
  });
  try {
    return await Promise.race([work(), aborted]);
  } finally {
    signal.removeEventListener("abort", abort!);
  }
}

/** Returns the error of this package that an SDK's error was made of, or the SDK's error with a `B24Error` as its cause. */
function translated(thrown: unknown, method: string): unknown {
  for (let error = thrown, depth = 0; error instanceof Error && depth < 5; depth++) {
    if (error instanceof OnAppUpdateError) return error;
    error = (error as { readonly originalError?: unknown }).originalError ?? error.cause;
  }
  const { code, status } = Object(thrown) as { readonly code?: unknown; readonly status?: unknown };
  if (thrown instanceof Error && typeof code === "string" && typeof status === "number") {
    const cause = new B24Error({ code, description: thrown.message, status, method });
    // The app reads from it what the portal is blocked on.
    if (cause.blockedOn !== undefined || cause.isFinal) Object.defineProperty(thrown, "cause", { value: cause });
  }
  return thrown;
}
