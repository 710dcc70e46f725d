/** What an app passes to the setup of its plugins. */
import type { AppInfo } from "../bitrix24/oauth_client.ts";
import type { PortalCredentialsProvider } from "../credentials/contract.ts";
import type { Logger } from "../logger.ts";
import type { Secret } from "../secret.ts";

/** What the app gives to a plugin's `setup`. */
export interface PluginHost {
  /** `client_id` of the app, if it was given. */
  readonly clientId?: string;
  /** `client_secret` of the app, if it was given. */
  readonly clientSecret?: Secret;
  /** For requests to hosts of the vendor's own choice: tests inject theirs. */
  readonly fetch: typeof fetch;
  /**
   * For requests to portals, and to any other host that was not the vendor's choice: https to public hosts only, and
   * redirects are handed back instead of followed.
   *
   * @throws {AddressError} out of the promise, when the host is refused
   */
  readonly portalFetch: typeof fetch;
  /** What it takes to call portals: their addresses and access tokens. */
  readonly credentials: PortalCredentialsProvider;
  /**
   * Asks the app's OAuth hosts whose an access token is; `server` is where an event says that it comes from, and is
   * asked first if it is one of them.
   *
   * @throws {B24Error} out of the promise, when a host refuses the token
   * @throws {UnreachableError} out of the promise, when that cannot be found out now
   */
  readonly appInfo: (accessToken: Secret, server?: string) => Promise<AppInfo>;
  /** Milliseconds since 1970: tests inject theirs. */
  readonly clock: () => number;
  /** A fresh, unguessable text: tests inject theirs. */
  readonly random: () => string;
  /** Adds the plugin's name to each line. */
  readonly log: Logger;
}
