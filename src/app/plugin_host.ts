/** The part of an app that a plugin uses. */
import { withFields } from "../logger.ts";
import type { Outbox } from "../outbox/outbox.ts";
import type { Admin } from "../plugin/admin.ts";
import type { PluginHost } from "../plugin/host.ts";
import { pluginStorage } from "../plugin/plugin_storage.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { pluginAdmin } from "./admin/plugin_admin.ts";
import type { Base } from "./base.ts";
import { refusingFetch } from "./rehearsal_guards.ts";

/** The parts of an app that plugins use. */
export interface PluginHostParts extends Pick<Base, "settings" | "calls">, Pick<PluginHost, "portal"> {
  readonly runtime: AppRuntime;
  readonly outbox: Outbox;
  readonly admin: Admin;
}

/** Returns the host of a plugin. */
export function createPluginHost(plugin: string, parts: PluginHostParts): PluginHost {
  const { settings, calls, runtime, outbox, admin, portal } = parts;
  const { keys, fetch, clock, random, digest } = settings;
  const { credentials: { provider: credentials }, oauth: { appInfo }, portalFetch, isAdministrator } = calls;
  return {
    ...{ ...keys, fetch: refusingFetch(fetch), portalFetch, clock, random, digest },
    ...{ credentials, appInfo, isAdministrator, portal },
    storage: pluginStorage(runtime.storage, plugin),
    outbox: outbox.of(plugin),
    admin: pluginAdmin(admin, plugin, runtime),
    log: withFields(runtime.log, { plugin }),
  };
}
