/** What an operator should hear when an app starts on its storage, and before something is lost by it. */
import type { LogFields } from "../logger.ts";
import type { Storage } from "../storage/storage.ts";
import { type RuntimeEnvironment, runtimeEnvironment } from "../net/runtime.ts";

/** A line of the log. */
export interface StartWarning {
  readonly message: string;
  readonly fields: LogFields;
}

/** A place that may run several instances of a program. */
interface Place {
  readonly name: string;
  /** One that is set there and nowhere else. */
  readonly variable: string;
  /** Files are an instance's own, and end with it. */
  readonly losesFiles: boolean;
  /** It stops a program that has nothing to answer: a timer would not fire when it should. */
  readonly stopsIdle?: true;
}

// Cloud Run may be on Kubernetes, and says more.
const PLACES: readonly Place[] = [
  { name: "Deno Deploy", variable: "DENO_DEPLOYMENT_ID", losesFiles: true, stopsIdle: true },
  { name: "AWS Lambda", variable: "AWS_LAMBDA_FUNCTION_NAME", losesFiles: true, stopsIdle: true },
  { name: "Cloud Run", variable: "K_SERVICE", losesFiles: true, stopsIdle: true },
  { name: "Heroku", variable: "DYNO", losesFiles: true },
  { name: "Kubernetes", variable: "KUBERNETES_SERVICE_HOST", losesFiles: false },
];

/** Each at most once for a storage; empty when all is well, or when the place says nothing of itself. */
export function startWarnings(storage: Storage, around: RuntimeEnvironment = runtimeEnvironment()): StartWarning[] {
  const { durable, scope, encrypted } = storage.capabilities;
  const place = placeOf(around);
  const warnings: StartWarning[] = [];
  const warn = (message: string, fields: LogFields = {}): number =>
    warnings.push({ message, fields: { storage: storage.name, ...fields } });
  if (scope === "process" && place !== undefined) {
    warn(
      "this storage is in this process alone, and a program may run in several here, each of which would have portals " +
        "of its own; use one that they share",
      { place: place.name },
    );
  }
  if (scope === "host" && place?.losesFiles === true) {
    warn(
      "this storage is on this host alone, and what is written here is lost when an instance ends; use one that all " +
        "instances share",
      { place: place.name },
    );
  }
  if ((durable || scope !== "process") && encrypted !== true) {
    warn(
      "OAuth tokens of portals and events that wait can be read by whoever can read the storage; encrypted() of this " +
        "package encrypts what is stored",
    );
  }
  return warnings;
}

/** Whether a timer of this process can be counted on. */
export function isLongLived(around: RuntimeEnvironment = runtimeEnvironment()): boolean {
  return placeOf(around)?.stopsIdle !== true;
}

function placeOf({ variable, isWorker }: RuntimeEnvironment): Omit<Place, "variable"> | undefined {
  const place = PLACES.find((one) => variable(one.variable));
  if (place !== undefined) return place;
  // PM2 numbers its instances, and the first may be the only one.
  const isOneOfMany = isWorker || (variable("NODE_APP_INSTANCE") || "0") !== "0";
  return isOneOfMany ? { name: "one of several processes of this host", losesFiles: false } : undefined;
}
