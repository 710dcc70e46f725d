/** The options of an app. */
import type { Time } from "../async/time.ts";
import type { UpdateEvent } from "../bitrix24/events.ts";
import type { RequestLimits } from "../intake/http.ts";
import type { Logger } from "../logger.ts";
import type { RolloutOptions } from "../plugin/rollout.ts";
import type { RetryPolicy } from "../retry.ts";
import type { Secret } from "../secret.ts";
import type { Storage } from "../storage/storage.ts";
import type { VersionScheme } from "../version.ts";
import type { CheckPolicy } from "../worker/checks.ts";

/** Options of {@linkcode createApp}. */
export interface AppOptions {
  /** The storage of portals and of events whose work is not done. `app.close()` closes it. */
  readonly storage: Storage;
  /**
   * `client_id` of the app, as the vendor's cabinet or the portal shows it. `applicationToken()` needs it. Without it, the app
   * cannot ask Bitrix24 about portals, so updates without an event are not found.
   */
  readonly clientId?: string;
  /**
   * `client_secret` of the app. Without it, access tokens cannot be refreshed: an hour after its last event with tokens, a portal
   * can be neither called nor checked, and a removal is believed without confirmation. The app then logs a warning at its start.
   */
  readonly clientSecret?: string | Secret;
  /**
   * When an event is answered 200: `stored`, once it is durable, before its handlers run; `handled`, after its handlers
   * have run, for hosts that stop a program once it has answered.
   *
   * An event whose handler fails is answered 200 too: it is stored and tried again, and Bitrix24 would not send it again.
   *
   * @default "stored"
   */
  readonly acknowledge?: "stored" | "handled";
  /**
   * Turns VERSION into a semantic version: `coerced()`, `mapped()`, `deployed()`, or a scheme of your own.
   *
   * @default coerced()
   */
  readonly versions?: VersionScheme;
  /**
   * Version of the data of portals that had the app before this library: those whose first contact is not an installation and
   * does not name a version. A version, as `coerced()` reads it, or a function that returns one.
   *
   * `event` is an ONAPPUPDATE to the portal's target, without tokens, whatever the first contact was; `memberId` and `domain`
   * are in `event.auth`. A version above the target counts as the target.
   *
   * Without the option, or if the function returns `undefined` or throws, such a portal is blocked on `version`, and the
   * function is called again at each retry. Not used if the event names the version, as ONAPPINSTALL does, and
   * PREVIOUS_VERSION of ONAPPUPDATE unless `versions` is `deployed()`.
   */
  readonly initialVersion?: string | ((event: UpdateEvent) => string | undefined);
  /** Limits of size and time. A limit that is left out has its default. */
  readonly limits?: Partial<Limits>;
  /**
   * Retries of failed upgrades and handlers, except those with a policy of their own. A member that is left out has its default.
   *
   * @default { maxAttempts: 10, initialDelayMs: 30000, maxDelayMs: 3600000 }
   */
  readonly retry?: RetryPolicy;
  /**
   * Maximum number of portals that this process works on at a time. Others wait, in the storage. Portals that are new to the
   * queue come before those whose upgrades have had 30 seconds: these are suspended at their next step or page. A whole
   * number. Minimum: 1.
   *
   * @default 64
   */
  readonly concurrency?: number;
  /**
   * Rollout control: new versions reach portals in stages, and a rollout whose upgrades fail pauses by itself. Without it, all
   * portals are upgraded at once. `docs/rollout.md` leads through one release.
   */
  readonly rollout?: RolloutOptions;
  /**
   * Name of the environment that the app is deployed to. The first app that starts on a storage stores it, with its `clientId`;
   * another environment or another `clientId` is refused at its start, with an `OnAppUpdateError` of code `other_deployment`.
   *
   * @default "production"; with `preview`, what the host says, such as `git-branch/main`, otherwise "preview"
   */
  readonly environment?: string;
  /**
   * The app is a preview deployment, on a storage with a prefix or a database of its own. Without it, the app does not start
   * where Deno Deploy or Vercel says that it is a preview, unless `environment` says something else or its storage is one in
   * memory.
   *
   * @default false
   */
  readonly preview?: boolean;
  /**
   * Starts also on a storage that belongs to another `clientId` or environment: both would work on the same portals.
   *
   * @default false
   */
  readonly allowOther?: boolean;
  /**
   * Milliseconds between two ticks that the app makes by itself while it runs, the first one at its start, or `false` for
   * none. Minimum: 1.
   *
   * The default is `false` on hosts that suspend a program that answers no request (Deno Deploy, AWS Lambda, Cloud Run):
   * call `app.tick()` there from `Deno.cron`, a timer of the host, or a route.
   *
   * @default 30000
   */
  readonly tickEveryMs?: number | false;
  /**
   * Questions to Bitrix24 about portals, to find updates whose event was lost. `false`: only `app.check` asks.
   * Needs `clientId`; silent portals also need `clientSecret`.
   *
   * @default { afterContactMs: 900000, silentPortalMs: 604800000 }
   */
  readonly checks?: Partial<CheckPolicy> | false;
  /**
   * Origins of the OAuth hosts that may verify tokens. No event can add one. At least one.
   *
   * @default ["https://oauth.bitrix24.tech", "https://oauth.bitrix.info"]
   */
  readonly oauthHosts?: readonly string[];
  /**
   * Milliseconds that one OAuth host may take to answer. Minimum: 1. Maximum: 60000.
   *
   * @default 5000
   */
  readonly oauthTimeoutMs?: number;
  /**
   * Hosts of on-premise portals that the app may call, such as `"crm.example.com"` or `"crm.example.com:8443"`, even if
   * they are in a private network. Any other host outside of Bitrix24's cloud is called only if it is public and an OAuth
   * host has confirmed that it belongs to a portal.
   *
   * @default []
   */
  readonly extraPortalHosts?: readonly string[];
  /**
   * Returns the IP address of the client of a request, for `trustedAddresses` of `applicationToken()`. `platform` is what the
   * server passes to `app.fetch` besides the request. Behind a proxy, return the address that the proxy reports, in a header
   * that it overwrites: any client can send headers.
   *
   * @default the address of the connection, as `Deno.serve`, `serve()` and Hono pass it
   */
  readonly clientAddress?: (request: Request, platform: readonly unknown[]) => string | undefined;
  /**
   * Path at which `app.fetch` answers GET and HEAD without a body with 200 while the app is running, for load balancers, and
   * with 503 if it cannot start and once it closes. At every other path these methods are answered 405. `health()` of `./health`
   * also asks the storage.
   *
   * @default "/health"
   */
  readonly healthPath?: string;
  /**
   * Receives the log lines of the app. An error that it throws is ignored.
   *
   * @default consoleLogger()
   */
  readonly logger?: Logger;
  /**
   * Returns the time in milliseconds since 1970.
   *
   * @default Date.now
   */
  readonly clock?: () => number;
  /**
   * Used for all requests of the app and its plugins.
   *
   * @default globalThis.fetch
   */
  readonly fetch?: typeof fetch;
  /**
   * Address of the stand-in for Bitrix24 that `onappupdate dev` serves on this machine, such as `"http://127.0.0.1:4024"`, for
   * development. All requests for OAuth hosts and portals go there instead of to Bitrix24, and it says which events are
   * authentic. Must be http on `127.0.0.1`, `localhost` or `[::1]`. Not together with `fetch`.
   *
   * Refused on known hosts (Deno Deploy, AWS Lambda, Kubernetes and others) and if `NODE_ENV` is `production`, as far as the
   * environment can be read. The app logs a warning at every start. `undefined`: the real Bitrix24.
   *
   * @default undefined
   */
  readonly dev?: string | undefined;
  /**
   * Resolves to the IP addresses of a host, before a portal outside of the cloud is called, or to `undefined` if lookups
   * are not possible. Should reject if the host is unknown.
   *
   * @default a function that asks the resolver of the runtime
   */
  readonly lookup?: (host: string) => Promise<readonly string[] | undefined>;
  /**
   * Returns a fresh, unguessable string.
   *
   * @default crypto.randomUUID
   */
  readonly random?: () => string;
}

/** Limits of requests, and of the time that the app waits and keeps data. */
export interface Limits extends RequestLimits {
  /**
   * Milliseconds that an answer waits for the handlers with `acknowledge: "handled"`; their work continues after it, and a
   * warning is logged. Minimum: 1.
   *
   * @default 20000
   */
  readonly acknowledgeMs: number;
  /**
   * Milliseconds that `close()` waits for work in progress before it aborts it. Minimum: 1.
   *
   * @default 5000, and 3000 on Deno Deploy, which stops a program soon after it has told it to end
   */
  readonly closeMs: number;
  /**
   * Milliseconds after which another process takes over the portals of a process that has stopped. A process that works
   * on a portal renews its lease every third of this time. Minimum: 1.
   *
   * @default 30000
   */
  readonly leaseMs: number;
  /**
   * Milliseconds that the runs and step results of a portal are kept after the app is removed from it. Minimum: 1.
   *
   * @default 2592000000 (30 days)
   */
  readonly retentionMs: number;
}

/** Options that a simulation passes to `createApp` besides its options, so that it takes no real time. Not public. */
export interface Simulation {
  readonly time?: Time;
}
