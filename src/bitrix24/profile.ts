/** The REST method `profile`, which needs no scope: who the user of an access token is, and whether the portal answers. */
import type { Time } from "../async/time.ts";
import { withTimeout } from "../async/with_timeout.ts";
import type { Logger } from "../logger.ts";
import type { Secret } from "../secret.ts";
import { OnAppUpdateError, PortalMovedError, UnreachableError } from "../errors.ts";
import { readAnswer } from "./answer.ts";
import { B24Error } from "./b24_error.ts";

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

/** Returns a function that calls `profile`. */
export function createProfileReader({ log, ...options }: ProfileReaderOptions): ProfileReader {
  return async (clientEndpoint, accessToken) => {
    try {
      const { result } = await callProfile(options, clientEndpoint, accessToken) as { result?: { ADMIN?: unknown } };
      return typeof result?.ADMIN === "boolean" ? result.ADMIN : undefined;
    } catch {
      // The error may quote the answer.
      log.info("profile not readable", { event: "profile.unreadable" });
      return undefined;
    }
  };
}

/**
 * Calls `profile` of a portal, and resolves if the portal answers it.
 *
 * Rejects with a `B24Error` if the portal answers with an error, with a `PortalMovedError` if it redirects, and with an
 * `UnreachableError` if it does not answer, or not with JSON.
 */
export type ProfileCall = (clientEndpoint: string, accessToken: Secret) => Promise<void>;

/** Returns a function that calls `profile`. */
export function createProfileCall(options: Omit<ProfileReaderOptions, "log">): ProfileCall {
  return async (clientEndpoint, accessToken) => {
    const { error: code, error_description: description } = await callProfile(options, clientEndpoint, accessToken)
      .catch((error): never => {
        if (error instanceof OnAppUpdateError) throw error;
        // The cause may quote the answer.
        throw new UnreachableError("the portal does not answer profile");
      });
    if (typeof code !== "string") return;
    throw new B24Error({ code, description: textOf(description), status: 200, method: "profile" });
  };
}

/** Calls `profile`. Its answer is read up to 64 KiB. */
async function callProfile(
  { fetch, time, timeoutMs }: Omit<ProfileReaderOptions, "log">,
  clientEndpoint: string,
  accessToken: Secret,
): Promise<Readonly<Record<string, unknown>>> {
  return await withTimeout(time, new AbortController().signal, timeoutMs, async (signal) => {
    const body = new URLSearchParams({ auth: accessToken.reveal() });
    const response = await fetch(`${clientEndpoint}profile`, { method: "POST", body, signal });
    const location = response.headers.get("location");
    if (location !== null) throw new PortalMovedError(location);
    const { json } = await readAnswer(response, { answerBytes: 65_536, answerContainers: 1000 }, signal);
    if (typeof json !== "object" || json === null) throw new UnreachableError("the answer of profile is not JSON");
    return json as Readonly<Record<string, unknown>>;
  });
}

function textOf(description: unknown): string {
  return typeof description === "string" ? description : "";
}
