/**
 * The stored messages of the outbox. A message is one entry, and its place in the schedule another one, which the message names:
 * the process that delivers a message moves it in the schedule first, by compare-and-set, so that no other finds it meanwhile.
 *
 * Each function is one ordered write, the new place first. A crash in the middle leaves a place that no message names.
 */
import { defined } from "../defined.ts";
import { FormatError } from "../errors.ts";
import { deadLetterKey, OUTBOX_DUE, outboxDueKey, outboxMessageKey } from "../portal/keys.ts";
import { entryId, entryTime } from "../portal/schedule.ts";
import { listEntries } from "../storage/list_keys.ts";
import type { Entry, Key, Storage, WriteOperation } from "../storage/storage.ts";
import { writeInOrder } from "../storage/write.ts";

/** A message as it is stored, in the outbox or as a dead letter. */
export interface StoredMessage {
  readonly format: typeof MESSAGE_FORMAT;
  readonly message: unknown;
  /** Name of the receiver, for operators. */
  readonly channel?: string;
  /** In milliseconds since 1970. */
  readonly putAt: number;
  /** When it is dropped, or its dead letter, in milliseconds since 1970. */
  readonly expiresAt: number;
  /** Number of attempts, one that is under way included; without those that do not count. */
  readonly attempts: number;
  readonly error?: string;
  /** Its place in the schedule; absent if it is dead. */
  readonly due?: string;
  /** When it became a dead letter, in milliseconds since 1970. */
  readonly deadAt?: number;
}

/** Raised if older code would misread a message. */
export const MESSAGE_FORMAT = 1;

/** What a plugin has passed. */
export type MessageContent = Pick<StoredMessage, "message" | "channel">;

/** The name of a message. */
export interface MessageName {
  readonly plugin: string;
  readonly id: string;
}

/** A place in the schedule, as it is stored. */
type Place = Pick<StoredMessage, "channel">;

/** A message that is due. */
export interface DueMessage extends MessageName, Place {
  readonly due: string;
}

/** A message that this process delivers. */
export interface TakenMessage extends MessageName {
  readonly entry: Entry<StoredMessage>;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** Milliseconds that messages and dead letters are kept. */
export const KEPT_MS = 7 * DAY_MS;
const DEAD_KEPT_MS = 30 * DAY_MS;

/** Age (ms) from which on a place in the schedule that no message names is deleted: its message may be about to be stored. */
const ORPHANED_MS = 60 * 60 * 1000;

/** The parts of an app that the functions use. */
export interface MessageOptions {
  readonly storage: Storage;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** Returns a fresh, unguessable string. */
  readonly random: () => string;
}

/**
 * Stores a message that is due at `at`, in milliseconds since 1970, and deletes the dead letter with its name. Resolves to
 * whether no other message with it waits.
 */
export async function putMessage(
  { storage, clock, random }: MessageOptions,
  { plugin, id }: MessageName,
  content: MessageContent,
  at: number,
): Promise<boolean> {
  const due = entryId(at, random());
  const putAt = clock();
  const expiresAt = Math.max(putAt, at) + KEPT_MS;
  const value: StoredMessage = { format: MESSAGE_FORMAT, ...content, putAt, expiresAt, attempts: 0, due };
  const ttlMs = ttlOf(value, putAt);
  const { ok } = await writeInOrder(storage, [
    { put: outboxDueKey(due, plugin, id), value: placeOf(content), ttlMs },
    { put: outboxMessageKey(plugin, id), value, ifVersion: null, ttlMs },
    { delete: deadLetterKey(plugin, id) },
  ]);
  if (!ok) await storage.delete(outboxDueKey(due, plugin, id));
  return ok;
}

/**
 * Returns a stored message.
 *
 * @throws {FormatError} if newer code wrote it
 */
export function readMessage({ key, value }: Entry<StoredMessage>): StoredMessage {
  if (value.format === MESSAGE_FORMAT) return value;
  const { plugin, id } = nameOf(key);
  throw new FormatError(`message ${plugin}/${id}`, value.format, MESSAGE_FORMAT);
}

/** Lists the messages that are due at `now`, the earliest first. */
export async function* listDueMessages(storage: Storage, now: number): AsyncGenerator<DueMessage> {
  for await (const entry of listEntries<Place>(storage, OUTBOX_DUE)) {
    const [, , due, plugin, id] = entry.key as readonly [string, string, string, string, string];
    if (entryTime(due) > now) return;
    yield { due, plugin, id, ...(entry.version === undefined ? {} : placeOf(entry.value)) };
  }
}

function placeOf({ channel }: Place): Place {
  return defined({ channel });
}

/**
 * Takes a message until `until`, in milliseconds since 1970, and counts an attempt. `undefined` if it is no longer due at this
 * place, or another process has taken it.
 */
export async function takeMessage(
  options: MessageOptions,
  { plugin, id, due }: DueMessage,
  until: number,
): Promise<TakenMessage | undefined> {
  const { storage, clock } = options;
  const key = outboxMessageKey(plugin, id);
  const entry = await storage.get<StoredMessage>(key);
  if (entry === null || readMessage(entry).due !== due) {
    if (entryTime(due) <= clock() - ORPHANED_MS) await storage.delete(outboxDueKey(due, plugin, id));
    return undefined;
  }
  return await moveMessage(options, { plugin, id, entry }, until, { attempts: entry.value.attempts + 1 });
}

/** Changes a message that this process has, and its place in the schedule. `undefined` if another process has taken it. */
export async function moveMessage(
  { storage, clock, random }: MessageOptions,
  { plugin, id, entry }: TakenMessage,
  at: number,
  change: Partial<Pick<StoredMessage, "attempts" | "error">>,
): Promise<TakenMessage | undefined> {
  const due = entryId(at, random());
  const value: StoredMessage = { ...entry.value, ...change, due };
  const { key, version } = entry;
  const ttlMs = ttlOf(value, clock());
  const result = await writeInOrder(storage, [
    { put: outboxDueKey(due, plugin, id), value: placeOf(value), ttlMs },
    { put: key, value, ifVersion: version, ttlMs },
    { delete: outboxDueKey(entry.value.due!, plugin, id) },
  ]);
  if (result.ok) return { plugin, id, entry: { key, value, version: result.versions[1]! } };
  await storage.delete(outboxDueKey(due, plugin, id));
  return undefined;
}

/** Deletes a message that this process has. Resolves to whether no other process has taken it. */
export async function deleteMessage(storage: Storage, taken: TakenMessage): Promise<boolean> {
  return (await writeInOrder(storage, removal(taken))).ok;
}

/** Makes a message that this process has a dead letter. Resolves to whether no other process has taken it. */
export async function buryMessage(
  storage: Storage,
  taken: TakenMessage,
  { error, deadAt }: { readonly error: string; readonly deadAt: number },
): Promise<boolean> {
  const { plugin, id, entry: { key: messageKey, version, value: { due: _, ...message } } } = taken;
  const value: StoredMessage = { ...message, error, deadAt, expiresAt: deadAt + DEAD_KEPT_MS };
  const key = deadLetterKey(plugin, id);
  // In this order: another process stores its letter before it deletes the message, and the letter must not be replaced.
  const ifVersion = (await storage.get(key))?.version ?? null;
  if ((await storage.get(messageKey))?.version !== version) return false;
  const letter: WriteOperation = { put: key, value, ifVersion, ttlMs: DEAD_KEPT_MS };
  if ((await writeInOrder(storage, [letter, ...removal(taken)])).ok) return true;
  // Another process has the message, or an operator has erased what it says: this letter may be stored, and says it still.
  const left = await storage.get<StoredMessage>(key);
  const isOwn = left?.value.deadAt === deadAt && left.value.attempts === value.attempts;
  if (isOwn) await storage.delete(key, { ifVersion: left.version });
  return false;
}

/** Deletes a message or a dead letter, also if another process has it. Resolves to whether it was still the same. */
export async function deleteStored(storage: Storage, { key, value, version }: Entry<StoredMessage>): Promise<boolean> {
  if (value.due === undefined) return (await storage.delete(key, { ifVersion: version })).ok;
  return await deleteMessage(storage, { ...nameOf(key), entry: { key, value, version } });
}

/** Replaces a message or a dead letter, also if another process has it. Resolves to whether it was still the same. */
export async function replaceStored(
  storage: Storage,
  { key, version }: Entry<StoredMessage>,
  value: StoredMessage,
  now: number,
): Promise<boolean> {
  const ttlMs = value.due === undefined ? Math.max(0, value.expiresAt - now) : ttlOf(value, now);
  return (await storage.put(key, value, { ifVersion: version, ttlMs })).ok;
}

/** Returns the name of the message or dead letter under a key. */
export function nameOf(key: Key): MessageName {
  const [, , plugin, id] = key as readonly [string, string, string, string];
  return { plugin, id };
}

/** Returns the TTL of a message: a day more than it is kept, in case that no process has its plugin. */
function ttlOf({ expiresAt }: StoredMessage, now: number): number {
  return Math.max(0, expiresAt - now) + DAY_MS;
}

function removal({ plugin, id, entry: { key, value, version } }: TakenMessage): readonly WriteOperation[] {
  return [{ delete: key, ifVersion: version }, { delete: outboxDueKey(value.due!, plugin, id) }];
}
