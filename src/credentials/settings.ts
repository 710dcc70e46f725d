/** Settings and helpers that the modules of this folder share. */
import type { Time } from "../async/time.ts";
import type { OAuthClient } from "../bitrix24/oauth_client.ts";
import type { ProfileReader } from "../bitrix24/profile.ts";
import { NoCredentialsError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Secret } from "../secret.ts";
import type { Storage } from "../storage/storage.ts";

/** Dependencies and settings of the credentials of an app. */
export interface CredentialsSettings {
  readonly storage: Storage;
  readonly clock: () => number;
  /** Timers and the monotonic clock. */
  readonly time: Time;
  readonly random: () => string;
  readonly log: Logger;
  readonly oauth: OAuthClient;
  /** Asks a portal, at an address that an OAuth host has confirmed, whether a user is an administrator. */
  readonly isAdministrator: ProfileReader;
  /** Maximum duration of a refresh in milliseconds: more than all OAuth hosts together may take. */
  readonly refreshMs: number;
  readonly clientId?: string;
  readonly clientSecret?: Secret;
  /** Hosts of portals besides those of the cloud. */
  readonly extraPortalHosts: readonly string[];
}

/** The keys of the app: what a refresh needs. */
export interface AppKeys {
  readonly clientId: string;
  readonly clientSecret: Secret;
}

/** Returns the keys of the app, or `undefined` if token pairs cannot be refreshed because one of them is missing. */
export function appKeys({ clientId, clientSecret }: CredentialsSettings): AppKeys | undefined {
  return clientId === undefined || clientSecret === undefined ? undefined : { clientId, clientSecret };
}

/** Returns the error for a portal without a token that can be used. */
export function noCredentials(settings: CredentialsSettings, memberId: string): NoCredentialsError {
  return appKeys(settings) !== undefined
    ? new NoCredentialsError(
      memberId,
      "authorization",
      "none of its tokens works; the next event that brings tokens ends this",
    )
    : new NoCredentialsError(
      memberId,
      "configuration",
      "its access token has expired, and without clientSecret it cannot be refreshed; pass clientSecret to createApp()",
    );
}
