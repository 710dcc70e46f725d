/** Writes notifications to the console. */
import { checkOptions, type OptionRules } from "../../../mod.ts";
import type { Channel } from "../channel.ts";
import { NAME_RULE } from "../options.ts";
import { renderText } from "../render.ts";

/** Options of {@linkcode consoleChannel}. */
export interface ConsoleChannelOptions {
  /**
   * The name of the channel.
   *
   * @default "console"
   */
  readonly name?: string;
}

const RULES: OptionRules<ConsoleChannelOptions> = { name: NAME_RULE };

/**
 * Returns a channel that writes notifications to the console as text, with the id in the last line: `info` by `console.info`,
 * `warning` by `console.warn`, `critical` by `console.error`, and what is resolved by `console.info`. Control characters are
 * replaced, so that a name cannot move the cursor of a terminal.
 *
 * @throws {TypeError} if an option is unknown or invalid
 *
 * @example
 * ```ts
 * import { consoleChannel } from "@b24/onappupdate/notifications";
 *
 * await consoleChannel().send({
 *   kind: "rollout_finished",
 *   status: "firing",
 *   severity: "info",
 *   title: "the rollout of 3.0.0 is finished",
 *   lines: [],
 *   portals: { shown: [], total: 0 },
 * }, { id: "n-1", signal: AbortSignal.timeout(1000) });
 * ```
 */
export function consoleChannel(options: ConsoleChannelOptions = {}): Channel {
  checkOptions("cannot write notifications to the console", options, RULES);
  const { name = "console" } = options;
  return {
    name,
    send: async (message, { signal, id }) => {
      signal.throwIfAborted();
      const text = renderText(message, { id });
      const level = message.status === "resolved" ? "info" : METHODS[message.severity];
      // deno-lint-ignore no-console -- this is what the channel is for
      console[level](text);
      await Promise.resolve();
    },
  };
}

const METHODS = { info: "info", warning: "warn", critical: "error" } as const;
