/** Asks a portal who the user of an access token is. */
import type { Time } from "../async/time.ts";
import { withTimeout } from "../async/with_timeout.ts";
import type { Logger } from "../logger.ts";
import type { Secret } from "../secret.ts";
import { readAnswer } from "./answer.ts";

/** Options of {@linkcode createProfileReader}. */
export interface ProfileReaderOptions {
  /** Must refuse private addresses: an OAuth host reports a portal's address, and the vendor has not chosen it. */
  readonly fetch: typeof fetch;
  readonly time: Pick<Time, "setTimer">;
  readonly log: Logger;
  readonly timeoutMs: number;
}

/** Returns whether the user of an access token is an administrator; `undefined` if the portal does not answer. */
export type ProfileReader = (clientEndpoint: string, accessToken: Secret) => Promise<boolean | undefined>;

/** Returns a function that calls the REST method `profile`, which needs no scope. Its answer is read up to 64 KiB. */
export function createProfileReader({ fetch, time, log, timeoutMs }: ProfileReaderOptions): ProfileReader {
  return async (clientEndpoint, accessToken) => {
    try {
      return await withTimeout(time, new AbortController().signal, timeoutMs, async (signal) => {
        const body = new URLSearchParams({ auth: accessToken.reveal() });
        const response = await fetch(`${clientEndpoint}profile`, { method: "POST", body, signal });
        const { json } = await readAnswer(response, { answerBytes: 65_536, answerContainers: 1000 }, signal);
        const { result } = json as { result?: { ADMIN?: unknown } };
        return typeof result?.ADMIN === "boolean" ? result.ADMIN : undefined;
      });
    } catch {
      // The error may quote the answer.
      log.info("profile not readable", { event: "profile.unreadable" });
      return undefined;
    }
  };
}
