/** A plugin with an outbox in a random life: what it puts is delivered. */
import assert from "node:assert/strict";
import { type App, NonRetriableError, type Plugin, type PluginHost } from "@b24/onappupdate";

export interface Outbox {
  /** Returns the plugin of a process. `mayFail` throws if a delivery fails. */
  readonly plugin: (isAlive: () => boolean, mayFail: () => void) => Plugin;
  /** A process was killed, or the storage fails: deliveries may be repeated. */
  readonly mayRepeat: () => void;
  /** The app does nothing for longer than messages are kept. */
  readonly expire: () => void;
  /** Asserts that nothing was lost, and nothing repeated without a cause. */
  readonly assertAll: (app: App) => Promise<void>;
}

/** Name of the plugin that has the messages. */
export const NAME = "messages";
/** Id of a message that newer code has stored. */
export const NEWER_MESSAGE_ID = "newer";

export function createOutbox(): Outbox {
  const stored = new Set<string>();
  const delivered = new Map<string, number>();
  let isRepeatable = false;
  return {
    mayRepeat: () => void (isRepeatable = true),
    expire: () => {
      for (const id of stored) if (!delivered.has(id)) stored.delete(id);
    },
    plugin: (isAlive, mayFail) => {
      let host: PluginHost;
      const put = async (id: string): Promise<void> => {
        const outcome = await host.outbox.put({ id }, { id, channel: "chat" });
        if (outcome !== "dropped") stored.add(id);
      };
      return {
        name: NAME,
        setup: (given) => void (host = given),
        observe: {
          portalUpgraded: ({ id }) => put(id),
          portalParked: ({ id }) => put(id),
          portalRemoved: ({ id }) => put(id),
        },
        outbox: {
          retry: { maxAttempts: 20, initialDelayMs: 1000, maxDelayMs: 60_000 },
          deliver: (message, { id }) => {
            if (!isAlive()) throw new NonRetriableError("the process was killed");
            assert.deepEqual(message, { id });
            mayFail();
            delivered.set(id, (delivered.get(id) ?? 0) + 1);
          },
        },
      };
    },
    assertAll: async ({ admin }) => {
      for (const state of ["waiting", "dead"] as const) {
        const { items } = await admin.outbox.list({ state });
        // This code must not touch that one.
        const own = items.filter(({ id }) => id !== NEWER_MESSAGE_ID);
        assert.deepEqual(own, [], `${state} messages of the outbox`);
      }
      const lost = [...stored].filter((id) => !delivered.has(id));
      assert.deepEqual(lost, [], "messages of the outbox are lost");
      const twice = [...delivered].filter(([, count]) => count > 1).map(([id]) => id);
      assert(isRepeatable || twice.length === 0, `delivered twice: ${twice.join()}`);
    },
  };
}
