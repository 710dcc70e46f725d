/**
 * The deployment that uses a storage: two apps, or an app and a preview of it, must not work on the same portals. The first one
 * that starts stores its identity.
 */
import { defined } from "../defined.ts";
import { FormatError, OnAppUpdateError } from "../errors.ts";
import { type RuntimeEnvironment, runtimeEnvironment } from "../net/runtime.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { APP } from "../portal/keys.ts";
import { redactError } from "../redact.ts";
import type { Entry, Storage } from "../storage/storage.ts";

/** The identity of a deployment. */
export interface Deployment {
  readonly clientId?: string;
  /** Such as `production`. */
  readonly environment: string;
}

interface StoredDeployment extends Deployment {
  readonly format: typeof APP_FORMAT;
}

/** Raised if older code would misread an identity. */
const APP_FORMAT = 1;

/** The options of an app that decide about it. */
export interface DeploymentOptions {
  readonly clientId?: string;
  readonly environment?: string;
  readonly preview?: boolean;
  readonly allowOther?: boolean;
}

/** Environment of an app that says nothing else. */
const PRODUCTION = "production";

/** Variables by which hosts name the environment of a deployment, and those of its values that are not previews. */
const VARIABLES: readonly (readonly [name: string, isPreview: (value: string) => boolean])[] = [
  // Deno Deploy: `production`, `preview/<id>` or `git-branch/<name>`.
  ["DENO_TIMELINE", (value) => value !== PRODUCTION],
  ["VERCEL_ENV", (value) => value === "preview"],
];

/** Returns the environment of a preview, as the host names it; `undefined` if it is not one, or the host does not say. */
function previewOf({ variable }: Pick<RuntimeEnvironment, "variable">): string | undefined {
  for (const [name, isPreview] of VARIABLES) {
    const value = variable(name);
    if (value !== undefined && value !== "" && isPreview(value)) return value;
  }
  return undefined;
}

/**
 * Checks that an app may work on what is stored, and stores its identity if none is.
 *
 * @throws {OnAppUpdateError} with code `other_deployment`, if the storage belongs to another one, or the app is a preview and
 * does not say so
 */
export async function assertDeployment(
  { storage, log }: Pick<AppRuntime, "storage" | "log">,
  { clientId, environment, preview = false, allowOther = false }: DeploymentOptions,
  surroundings: Pick<RuntimeEnvironment, "variable"> = runtimeEnvironment(),
): Promise<void> {
  const seen = previewOf(surroundings);
  const isShared = storage.capabilities.scope !== "process";
  const refuse = (problem: string): OnAppUpdateError =>
    new OnAppUpdateError("other_deployment", `cannot start the app: ${problem}`);
  if (seen !== undefined && isShared && !preview && !allowOther && environment === undefined) {
    throw refuse(
      `it is a preview deployment (${seen}) on the storage ${storage.name}, which others may share; ` +
        "set preview: true, and give the storage a prefix or a database of its own",
    );
  }
  const own: Deployment = {
    environment: environment ?? (preview ? seen ?? "preview" : PRODUCTION),
    ...defined({ clientId }),
  };
  // It must not keep out the app to which the storage belongs, should that start later.
  if (allowOther) return;
  const entry = await identityOf(storage, own).catch((err) => {
    // An outage at the start must not end the app: it goes on by itself afterwards.
    log.warn("failed to check whose the storage is", { event: "deployment.check_failed", err: redactError(err, []) });
    return null;
  });
  if (entry === null) return;
  const { format, clientId: otherId, environment: other } = entry.value;
  if (format !== APP_FORMAT) throw new FormatError("the app of the storage", format, APP_FORMAT);
  const isOther = otherId !== undefined && clientId !== undefined && otherId !== clientId;
  if (!isOther && other === own.environment) return;
  const describe = (one: Deployment): string => `${one.environment}${one.clientId ? ` of ${one.clientId}` : ""}`;
  throw refuse(
    `it is ${describe(own)}, and the storage ${storage.name} belongs to ${describe(entry.value)}; ` +
      "give it a prefix or a database of its own, or set allowOther: true",
  );
}

/** Resolves to the stored identity, after storing this one if there was none. */
async function identityOf(storage: Storage, own: Deployment): Promise<Entry<StoredDeployment> | null> {
  const entry = await storage.get<StoredDeployment>(APP);
  if (entry !== null) return entry;
  await storage.put<StoredDeployment>(APP, { format: APP_FORMAT, ...own }, { ifVersion: null });
  // Another one may have been faster.
  return await storage.get<StoredDeployment>(APP);
}
