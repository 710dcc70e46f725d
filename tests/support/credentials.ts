/** Reads portals with their token pairs, which have a key of their own. */
import type { Storage } from "@b24/onappupdate";
import { openRecord } from "../../src/portal/credentials_record.ts";
import { credentialsKey, portalKey } from "../../src/portal/keys.ts";
import type { PortalRecord } from "../../src/portal/record.ts";
import type { StoredCredentials } from "../../src/portal/stored_credentials.ts";

/** Returns what is stored of a portal's credentials. */
export async function credentialsOf(
  storage: Pick<Storage, "get">,
  memberId: string,
): Promise<StoredCredentials | undefined> {
  return (await storage.get<StoredCredentials>(credentialsKey(memberId)))?.value;
}

/** Returns the record of a portal with all its token pairs; `undefined` if it is not stored. */
export async function openedRecord(
  storage: Pick<Storage, "get">,
  memberId: string,
): Promise<PortalRecord | undefined> {
  const record = (await storage.get<PortalRecord>(portalKey(memberId)))?.value;
  return record && openRecord(record, await storage.get<StoredCredentials>(credentialsKey(memberId)));
}
