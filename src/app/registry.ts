/** The registry of an app, filled before it starts: plugins, event handlers and upgrades. */
import { EVENTS } from "../bitrix24/schemas.ts";
import { checkOptions, misspelled, option, type OptionProblem, type OptionRules } from "../check_options.ts";
import type { AnyHandler, EventHandler } from "../plugin/runtime.ts";
import { checkPlugin } from "../plugin/check_plugin.ts";
import type { Plugin } from "../plugin/plugin.ts";
import { defineUpgrade, type Upgrade } from "../upgrade/definition.ts";

/** Options of `app.on`. */
export interface HandlerOptions {
  /**
   * Milliseconds after which an attempt fails and its `signal` is aborted. Minimum: 1. Maximum: 2147483647.
   *
   * @default 300000 (5 minutes)
   */
  readonly timeoutMs?: number;
}

const HANDLER_TIMEOUT_MS = 5 * 60 * 1000;

const HANDLER_RULES: OptionRules<HandlerOptions> = { timeoutMs: option.duration() };

function eventsRule(events: unknown, path: string): OptionProblem | undefined {
  const wanted = "names of events in upper case";
  if (typeof events === "function") {
    return { path, seen: "a function", wanted: `${wanted}: app.on(events, handler, options)` };
  }
  if (typeof events === "string") return undefined;
  if (Array.isArray(events) && events.length === 0) return { path, seen: "[]", wanted };
  return option.list(wanted, option.value(wanted, (name) => typeof name === "string"))(events, path);
}

/**
 * Portals have hundreds of events; only those of the app itself are known.
 *
 * @throws {TypeError} if no event has this name, so that its handler would never run
 */
function assertEventName(name: string): void {
  const refuse = (wanted: string): TypeError =>
    new TypeError(`cannot add a handler of "${name}": no event has this name, wanted ${wanted}`);
  if (name.trim() === "") throw refuse("an event name in upper case");
  const known = Object.keys(EVENTS);
  if (known.includes(name)) return;
  const upper = name.toUpperCase();
  const meant = known.find((one) => [upper, `ON${upper}`, `ONAPP${upper}`].includes(one)) ?? misspelled(upper, known);
  const spelling = name === upper ? "" : ", in upper case";
  if (meant !== undefined) throw refuse(`"${meant}"${spelling}`);
  if (upper.startsWith("ONAPP")) throw refuse(`one of ${known.join(", ")}`);
  if (name !== upper) throw refuse(`"${upper}"${spelling}`);
}

/** The registrations of one app. Its collections grow until it is sealed. */
export interface Registry {
  readonly plugins: readonly Plugin[];
  readonly upgrades: readonly Upgrade[];
  /** By event name as Bitrix24 sends it. */
  readonly handlers: ReadonlyMap<string, readonly EventHandler[]>;
  /** @throws {TypeError} if the value is not a plugin, or the registry is sealed */
  readonly addPlugin: (plugin: Plugin) => void;
  /**
   * @throws {TypeError} if a name is not in upper case or probably a misspelled one of the app, an option or the handler is
   * invalid, or the registry is sealed
   */
  readonly addHandler: (events: string | readonly string[], handle: AnyHandler, options?: HandlerOptions) => void;
  /** @throws {TypeError} if the id is taken, or the range without an id, the definition is invalid, or the registry is sealed */
  readonly addUpgrade: (...definition: Parameters<typeof defineUpgrade>) => void;
  /** Refuses all further registrations. */
  readonly seal: () => void;
}

/** Returns an empty registry. */
export function createRegistry(): Registry {
  const plugins: Plugin[] = [];
  const upgrades: Upgrade[] = [];
  const handlers = new Map<string, EventHandler[]>();
  let isSealed = false;

  function assertOpen(what: string): void {
    if (isSealed) throw new TypeError(`cannot add ${what}: the app has started`);
  }

  return {
    plugins,
    upgrades,
    handlers,
    addPlugin: (plugin) => {
      if (typeof plugin !== "object" || plugin === null) {
        const seen = plugin === null ? "null" : `a ${typeof plugin}`;
        throw new TypeError(
          `cannot add ${seen} as a plugin, wanted the result of its function, such as applicationToken()`,
        );
      }
      if (typeof plugin.name !== "string") {
        throw new TypeError("cannot add a plugin without a name, wanted one that is unique within the app");
      }
      assertOpen(`plugin "${plugin.name}"`);
      checkPlugin(plugin);
      plugins.push(plugin);
    },
    addHandler: (events, handle, options = {}) => {
      checkOptions("cannot add a handler", { events }, { events: option.required(eventsRule) });
      const names = [events].flat();
      if (typeof handle !== "function") {
        throw new TypeError(
          `cannot add a handler of ${names.join(", ")} that is ${typeof handle}, wanted a function: ` +
            "app.on(events, handler, options)",
        );
      }
      checkOptions(`cannot add a handler of ${names.join(", ")}`, options, HANDLER_RULES);
      const { timeoutMs = HANDLER_TIMEOUT_MS } = options;
      names.forEach(assertEventName);
      for (const event of names) {
        assertOpen(`a handler of ${event}`);
        handlers.set(event, [...(handlers.get(event) ?? []), { handle, timeoutMs }]);
      }
    },
    addUpgrade: (...definition) => {
      const upgrade = defineUpgrade(...definition);
      assertOpen(`upgrade "${upgrade.id}"`);
      if (upgrades.some(({ id }) => id === upgrade.id)) {
        throw new TypeError(
          `cannot add upgrade "${upgrade.id}": another upgrade has this id; set the id of one of them`,
        );
      }
      const same = upgrades.find(({ meaning, hasOwnId }) => meaning === upgrade.meaning && !hasOwnId);
      if (same !== undefined && !upgrade.hasOwnId) {
        throw new TypeError(
          `cannot add upgrade "${upgrade.id}": the range of upgrade "${same.id}" means the same; set the id of one of them`,
        );
      }
      upgrades.push(upgrade);
    },
    seal: () => {
      isSealed = true;
    },
  };
}
