/** Warnings that an app logs when it starts. */
import type { LogFields } from "../logger.ts";
import { type RuntimeEnvironment, runtimeEnvironment } from "../net/runtime.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import type { Storage } from "../storage/storage.ts";

/** A line of the log. */
export interface StartupWarning {
  readonly message: string;
  readonly fields: LogFields;
}

/** An environment that may run several instances of a program. */
interface Host {
  readonly name: string;
  /** An environment variable that is set there and nowhere else. */
  readonly variable: string;
  /** Each instance has files of its own, which are deleted when it ends. */
  readonly losesFiles: boolean;
  /** It suspends a program that answers no request, so timers do not fire in time. */
  readonly suspendsIdle?: true;
  /** Milliseconds that an app may take to finish its work before it stops the program. */
  readonly closeMs?: number;
}

// In order: Cloud Run may run on Kubernetes.
const HOSTS: readonly Host[] = [
  { name: "Deno Deploy", variable: "DENO_DEPLOYMENT_ID", losesFiles: true, suspendsIdle: true, closeMs: 3000 },
  { name: "AWS Lambda", variable: "AWS_LAMBDA_FUNCTION_NAME", losesFiles: true, suspendsIdle: true },
  { name: "Cloud Run", variable: "K_SERVICE", losesFiles: true, suspendsIdle: true },
  { name: "Heroku", variable: "DYNO", losesFiles: true },
  { name: "Kubernetes", variable: "KUBERNETES_SERVICE_HOST", losesFiles: false },
];

/** @throws {TypeError} if an app cannot work in the environment */
export function assertEnvironment(environment: RuntimeEnvironment = runtimeEnvironment()): void {
  if (!environment.isCloudflareWorker) return;
  throw new TypeError(
    "cannot run on Cloudflare Workers: they end the work of a program soon after it has answered, so upgrades, retries and " +
      "checks would never run; wanted Node, Deno, Bun, Deno Deploy or a host with containers",
  );
}

/** Environment variables that are set on other hosts, and nowhere else. */
const OTHER_HOSTS: readonly (readonly [variable: string, name: string])[] = [
  ["VERCEL", "Vercel"],
  ["NETLIFY", "Netlify"],
  ["FLY_APP_NAME", "Fly.io"],
  ["RENDER", "Render"],
  ["RAILWAY_ENVIRONMENT_NAME", "Railway"],
  ["WEBSITE_INSTANCE_ID", "Azure App Service"],
  ["GAE_ENV", "Google App Engine"],
  ["ECS_CONTAINER_METADATA_URI_V4", "Amazon ECS"],
];

/** @throws {TypeError} if the environment is one in which no stand-in may take the place of Bitrix24 */
export function assertDevelopment({ variable }: RuntimeEnvironment = runtimeEnvironment()): void {
  const host = [...HOSTS.map(({ variable, name }) => [variable, name] as const), ...OTHER_HOSTS]
    .find(([name]) => variable(name))?.[1];
  const where = host === undefined && variable("NODE_ENV") === "production" ? "with NODE_ENV production" : host;
  if (where === undefined) return;
  throw new TypeError(
    `cannot create an app with the option dev ${
      host === undefined ? where : `on ${where}`
    }: a stand-in would decide which ` +
      "events are authentic; remove the option, or the environment variable that it is read from",
  );
}

/** The parts of an app that {@linkcode startupWarnings} looks at. */
export interface WarnedApp extends Pick<AppRuntime, "storage" | "canRefresh"> {
  /** Origins of the OAuth hosts that the app calls by the `fetch` of the environment; empty if it calls none. */
  readonly oauthHosts: readonly string[];
  /** Address of the stand-in for Bitrix24, if the app has one. */
  readonly dev: string | undefined;
}

/** Returns the warnings for an app in an environment; empty if there are none or the environment is not recognized. */
export function startupWarnings(
  { storage, canRefresh, oauthHosts, dev }: WarnedApp,
  environment: RuntimeEnvironment = runtimeEnvironment(),
): StartupWarning[] {
  const { durable, scope, encrypted } = storage.capabilities;
  const host = hostOf(environment);
  const warnings: StartupWarning[] = [];
  const warn = (message: string, fields: LogFields): number =>
    warnings.push({ message, fields: { storage: storage.name, ...fields } });
  if (dev !== undefined) {
    warn("the app uses a stand-in for Bitrix24", {
      ...{ event: "dev.enabled", standIn: dev },
      hint:
        "for development only: events of the stand-in count as authentic, and the tokens of all portals in the storage go " +
        "to it; remove the option dev in production",
    });
  }
  if (scope === "process" && host !== undefined) {
    warn("storage is not shared between processes", {
      event: "storage.not_shared",
      environment: host.name,
      hint: "several processes may run here, each with portals of its own: use a storage that they share",
    });
  }
  if (scope === "host" && host?.losesFiles === true) {
    warn("storage is lost when an instance ends", {
      event: "storage.not_persistent",
      environment: host.name,
      hint: "files belong to one instance here: use a storage that all instances share",
    });
  }
  if ((durable || scope !== "process") && encrypted !== true) {
    warn("storage is not encrypted", {
      event: "storage.not_encrypted",
      hint: "anyone who can read the storage can read OAuth tokens: wrap it in encrypted() of this package",
    });
  }
  if (!canRefresh) {
    const fields = {
      event: "client_secret.missing",
      hint:
        "an hour after a portal's last event with tokens, it can be neither called nor checked, an event that still " +
        "waits for its verification is lost, and a removal is believed: set clientId and clientSecret",
    };
    warnings.push({ message: "access tokens cannot be refreshed without clientSecret", fields });
  }
  const needed = oauthHosts.map(hostAndPort);
  const missing = needed.filter((host) => !environment.mayConnect(host));
  if (missing.length > 0) {
    const fields = {
      ...{ event: "permission.missing", needed, missing },
      hint:
        `no event of these hosts can be verified: run Deno with --allow-net=${needed.join()} and the hosts of the ` +
        "portals, or with --allow-net for all hosts",
    };
    warnings.push({ message: "no permission to connect to OAuth hosts", fields });
  }
  return warnings;
}

/** Returns the warning for an app that runs in several threads of its process. */
export function threadsWarning({ name }: Pick<Storage, "name">): StartupWarning {
  return {
    message: "storage is not shared between threads",
    fields: {
      ...{ event: "storage.not_shared", storage: name, environment: "one of several threads of this process" },
      hint:
        "each thread, as deno serve --parallel starts them, has portals of its own here: use a storage that they share",
    },
  };
}

/** Returns host and port of an origin, as permissions name them. */
export function hostAndPort(origin: string): string {
  const { hostname, port, protocol } = new URL(origin);
  return `${hostname}:${port || (protocol === "https:" ? "443" : "80")}`;
}

/** Returns whether timers of this process fire in time. */
export function isLongLived(environment: RuntimeEnvironment = runtimeEnvironment()): boolean {
  return hostOf(environment)?.suspendsIdle !== true;
}

/** Returns how long (ms) `close()` waits for work in progress by default. */
export function defaultCloseMs(environment: RuntimeEnvironment = runtimeEnvironment()): number {
  return hostOf(environment)?.closeMs ?? 5000;
}

function hostOf(
  { variable, isWorker }: Pick<RuntimeEnvironment, "variable" | "isWorker">,
): Omit<Host, "variable"> | undefined {
  const host = HOSTS.find((host) => variable(host.variable));
  if (host !== undefined) return host;
  // PM2 numbers its instances from 0, and the first may be the only one.
  const isOneOfMany = isWorker || (variable("NODE_APP_INSTANCE") || "0") !== "0";
  return isOneOfMany ? { name: "one of several processes on this host", losesFiles: false } : undefined;
}
