/** Storages that lack the encryption key of some entries. */
import { encrypted, type Storage } from "@b24/onappupdate";
import type { Key } from "../../src/storage/storage.ts";
import { NEW, old } from "./keys.ts";

/** Encrypts the entries under `keys`, and returns the storage of a process that does not have their encryption key. */
export async function withoutKeyOf(storage: Storage, keys: readonly Key[]): Promise<Storage> {
  const written = encrypted(storage, { ...old, acceptPlain: true });
  for (const key of keys) await written.put(key, (await storage.get(key))?.value ?? {});
  return encrypted(storage, { keys: { "2027": NEW }, current: "2027", acceptPlain: true });
}
