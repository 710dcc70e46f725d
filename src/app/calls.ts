/** The calls of an app to Bitrix24: its OAuth hosts, and the portals with their credentials. */
import { portalEndpoint } from "../bitrix24/hosts.ts";
import { createOAuthClient, type OAuthClient } from "../bitrix24/oauth_client.ts";
import { createProfileCall, createProfileReader, type ProfileCall, type ProfileReader } from "../bitrix24/profile.ts";
import type { KnownCredentials } from "../credentials/known.ts";
import { type AppCredentials, createCredentials } from "../credentials/provider.ts";
import { AddressError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { guardedFetch } from "../net/guarded_fetch.ts";
import { outsideRehearsal } from "../plugin/rehearsal.ts";
import { rehearsedCredentials, rehearsedFetch } from "./rehearsal_guards.ts";
import { tracedFetch } from "../plugin/traced.ts";
import type { Tracer } from "../plugin/tracer.ts";
import type { Settings } from "./settings.ts";

/** Functions that call Bitrix24. */
export interface Calls {
  readonly oauth: OAuthClient;
  /** Refuses private addresses. For plugins: a rehearsal answers it. */
  readonly portalFetch: typeof fetch;
  readonly profile: ProfileCall;
  readonly isAdministrator: ProfileReader;
  readonly credentials: AppCredentials;
}

/** Returns the calls of an app with these settings, whose storage `known` watches. */
export function createCalls(settings: Settings, known: KnownCredentials, tracer: Tracer): Calls {
  const {
    storage,
    clock,
    random,
    time,
    log,
    bitrix24Fetch: fetch,
    keys,
    oauthHosts,
    oauthTimeoutMs,
    extraPortalHosts,
  } = settings;
  const oauth = tracedRefresh(
    createOAuthClient({
      ...{ clock, time, hosts: oauthHosts, timeoutMs: oauthTimeoutMs },
      fetch: tracedFetch(fetch, "oauth", tracer),
      endpointOf: endpointReader(extraPortalHosts, log),
    }),
    tracer,
  );
  const guarded = guardedFetch({ fetch, hosts: extraPortalHosts, lookup: settings.lookup, clock: time.monotonic });
  const portalFetch = tracedFetch(guarded, "portal", tracer);
  const profileOptions = { fetch: portalFetch, time, timeoutMs: oauthTimeoutMs };
  const isAdministrator = createProfileReader({ ...profileOptions, log });
  const credentials = createCredentials(
    {
      ...{ storage, clock, time, random, log, oauth, isAdministrator, extraPortalHosts, ...keys },
      // More than all hosts together may take.
      refreshMs: oauthTimeoutMs * (oauthHosts.length + 1) + 10_000,
    },
    known,
    outsideRehearsal,
  );
  const provider = rehearsedCredentials(credentials.provider);
  return {
    ...{ oauth, portalFetch: rehearsedFetch(portalFetch), profile: createProfileCall(profileOptions), isAdministrator },
    credentials: { ...credentials, provider },
  };
}

/** Returns a client whose refreshes are traced. */
function tracedRefresh({ appInfo, refresh }: OAuthClient, { trace }: Tracer): OAuthClient {
  return {
    appInfo,
    refresh: (...args) =>
      trace({ kind: "refresh" }, async (note) => {
        const pair = await refresh(...args);
        note(() => ({ outcome: "finished" }));
        return pair;
      }),
  };
}

/** Returns a function that reads a portal's address in an answer of an OAuth host. */
function endpointReader(hosts: readonly string[], log: Logger): (address: string) => string | AddressError {
  return (address) => {
    try {
      return portalEndpoint(address, { hosts });
    } catch (err) {
      if (!(err instanceof AddressError)) throw err;
      log.warn("portal address refused", { event: "oauth.address_refused", err });
      return err;
    }
  };
}
