/** What an SDK sends, and what becomes of it. */
import { B24Error, OnAppUpdateError } from "../../mod.ts";
import { type Sdk, TIMEOUT_MS, WANTED } from "./sdk.ts";

/** Has all that `sdk` sends go through `fetch`, and what becomes of it understood by the app. */
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
        return await unlessAborted(signal, () => call(...args));
      } catch (error) {
        signal.throwIfAborted();
        throw understood(error, String(args[0]));
      }
    };
  }
  // `fetch` renews tokens, and never answers that one has ended: this is another host's answer to the word.
  sdk.setCustomRefreshAuth(() =>
    Promise.reject(new TypeError(`cannot use this SDK: its requests do not go through axios' fetch, ${WANTED}`))
  );
}

/** The SDK has no signal of its own, and may wait for long before it calls again. */
async function unlessAborted<T>(signal: AbortSignal, run: () => Promise<T>): Promise<T> {
  signal.throwIfAborted();
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop);
  });
  try {
    return await Promise.race([run(), aborted]);
  } finally {
    signal.removeEventListener("abort", stop!);
  }
}

/** What an SDK's call threw, or what made it throw that. */
function understood(thrown: unknown, method: string): unknown {
  for (let at = thrown, depth = 0; at instanceof Error && depth < 5; depth++) {
    if (at instanceof OnAppUpdateError) return at;
    at = (at as { readonly originalError?: unknown }).originalError ?? at.cause;
  }
  const { code, status } = Object(thrown) as { readonly code?: unknown; readonly status?: unknown };
  if (thrown instanceof Error && typeof code === "string" && typeof status === "number") {
    const said = new B24Error({ code, description: thrown.message, status, method });
    // By this, the app knows what the portal has to wait for.
    if (said.blockedOn !== undefined || said.isFinal) Object.defineProperty(thrown, "cause", { value: said });
  }
  return thrown;
}
