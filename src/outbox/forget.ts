/** Erases a portal from the outbox: messages and dead letters that name it are changed by their plugin, or deleted. */
import { defined } from "../defined.ts";
import type { ForgottenPortal } from "../plugin/forgotten_portal.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { DEAD_LETTERS, OUTBOX_MESSAGES } from "../portal/keys.ts";
import type { Entry, Key } from "../storage/storage.ts";
import { deleteStored, MESSAGE_FORMAT, nameOf, replaceStored, type StoredMessage } from "./messages.ts";

/** Erases the portal. `onDeleted` is called for each message or dead letter that was deleted. */
export async function forgetMessages(
  runtime: AppRuntime,
  portal: ForgottenPortal,
  onDeleted: (prefix: Key, plugin: string) => void,
): Promise<void> {
  // A message becomes a dead letter, and the other way round, while this looks elsewhere.
  for (const prefix of [DEAD_LETTERS, OUTBOX_MESSAGES, DEAD_LETTERS]) {
    for await (const listed of runtime.storage.list<StoredMessage>(prefix)) {
      let entry: Entry<StoredMessage> | null = listed;
      while (entry !== null && namesPortal(entry, portal)) {
        const isDeleted = await eraseFrom(runtime, entry, portal);
        if (isDeleted) onDeleted(prefix, nameOf(entry.key).plugin);
        if (isDeleted !== undefined) break;
        // Another process has changed it.
        entry = await runtime.storage.get<StoredMessage>(entry.key);
      }
    }
  }
}

function namesPortal({ key, value }: Entry<StoredMessage>, { without }: ForgottenPortal): boolean {
  const text = JSON.stringify([key.slice(2), value]);
  return without(text) !== text;
}

/** Resolves to whether the message was deleted; `undefined` if another process has changed it. */
async function eraseFrom(
  { storage, clock, plugins }: AppRuntime,
  entry: Entry<StoredMessage>,
  portal: ForgottenPortal,
): Promise<boolean | undefined> {
  const { key, value } = entry;
  const handler = plugins.find(({ name }) => name === nameOf(key).plugin)?.outbox;
  // Its key names the portal, or no code here can read it.
  const isWhole = value.format !== MESSAGE_FORMAT || portal.without(nameOf(key).id) !== nameOf(key).id;
  const message = isWhole ? undefined : await handler?.forget?.(value.message, portal);
  if (message === undefined) return await deleteStored(storage, entry) ? true : undefined;
  const error = value.error === undefined ? undefined : portal.without(value.error);
  return await replaceStored(storage, entry, { ...value, message, ...defined({ error }) }, clock()) ? false : undefined;
}
