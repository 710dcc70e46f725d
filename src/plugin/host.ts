/** The part of an app that plugins use. */
import type { AppInfo } from "../bitrix24/oauth_client.ts";
import type { PortalCredentialsProvider } from "../credentials/contract.ts";
import type { Logger } from "../logger.ts";
import type { Secret } from "../secret.ts";
import type { Storage } from "../storage/storage.ts";
import type { Portal } from "../portal/portal.ts";
import type { Admin } from "./admin.ts";
import type { PluginOutbox } from "./outbox.ts";

/** Passed to the `setup` function of each plugin. Its members may be kept. */
export interface PluginHost {
  /** `client_id` of the app, if it is set. */
  readonly clientId?: string;
  /** `client_secret` of the app, if it is set. */
  readonly clientSecret?: Secret;
  /** Sends requests to hosts that the vendor has chosen. Use it instead of the global `fetch`, so that tests can replace it. */
  readonly fetch: typeof fetch;
  /**
   * Sends requests to portals, and to any other host that the vendor has not chosen: only by https and to public hosts.
   * Redirects are returned instead of followed.
   *
   * Rejects with an `AddressError` if the host is refused.
   */
  readonly portalFetch: typeof fetch;
  /**
   * The app's storage, restricted to this plugin: a key `["a"]` is stored as `["plugin", <name of the plugin>, "a"]`, and no
   * other key can be read or written. `close` is left out.
   *
   * Put the data of a portal under `["portal", memberId, …]`: `admin.forget()` deletes it there, and the purge of a removed
   * portal does not.
   */
  readonly storage: Storage;
  /** Messages that are delivered at least once, whatever crashes; see {@linkcode Plugin.outbox}. */
  readonly outbox: PluginOutbox;
  /**
   * Operators' functions of the app. In the audit log, what the plugin does is done by `plugin:<name of the plugin>`, whatever
   * `by` it passes. `retry` of a portal that has failed again for the same reason, within an hour of the plugin's last retry,
   * rejects with code `retry_loop`: an observer of `portalParked` that retries must not go on for ever.
   */
  readonly admin: Admin;
  /**
   * Returns a stored portal, as `app.portal` does; `undefined` if it is not stored.
   *
   * Rejects with a `StorageError` if the storage fails.
   */
  readonly portal: (memberId: string) => Promise<Portal | undefined>;
  /** Access tokens and addresses of portals. */
  readonly credentials: PortalCredentialsProvider;
  /**
   * Asks the app's OAuth hosts to whom an access token belongs. `serverEndpoint` is that of the event: the host that it
   * names is asked first if it is one of the app's.
   *
   * Rejects with a `B24Error` if a host refuses the token, and with an `UnreachableError` if no host answers.
   */
  readonly appInfo: (accessToken: Secret, serverEndpoint?: string) => Promise<AppInfo>;
  /**
   * Returns whether the user of an access token is an administrator of its portal, as `profile` says; `undefined` if the
   * portal does not answer. `clientEndpoint` must come from an OAuth host.
   */
  readonly isAdministrator: (clientEndpoint: string, accessToken: Secret) => Promise<boolean | undefined>;
  /** Returns the time in milliseconds since 1970. Use it instead of `Date.now`, so that tests can replace it. */
  readonly clock: () => number;
  /** Returns a fresh, unguessable string. */
  readonly random: () => string;
  /** Returns the SHA-256 of a string in hexadecimal. */
  readonly digest: (text: string) => Promise<string>;
  /** Adds the plugin's name to each line. */
  readonly log: Logger;
}
