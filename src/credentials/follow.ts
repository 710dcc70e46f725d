/** Follows a portal to its new address. */
import { abortable } from "../async/abortable.ts";
import { coalesce } from "../async/coalesce.ts";
import { isCloudHost, portalAddress } from "../bitrix24/hosts.ts";
import { AddressError } from "../errors.ts";
import { withAddress } from "../portal/identity.ts";
import { storedRecord } from "../portal/record_access.ts";
import type { PortalCredentials } from "./contract.ts";
import type { CallRecovery } from "./portal_call.ts";
import type { CredentialsSettings } from "./settings.ts";
import type { TokenVerifier } from "./verify_tokens.ts";

/**
 * Returns the function that follows portals. A host of the cloud or of `extraPortalHosts` is accepted, any other only if
 * an OAuth host says that the portal is there.
 */
export function createFollow(settings: CredentialsSettings, verifier: TokenVerifier): CallRecovery["follow"] {
  const { storage, log, extraPortalHosts } = settings;
  /** Changes of addresses that are under way in this process. */
  const running = new Map<string, Promise<void>>();

  async function moveTo({ href, host, hostname }: URL, memberId: string, from: PortalCredentials): Promise<void> {
    const access = storedRecord(storage, memberId);
    const record = await access.load();
    if (record.clientEndpoint === href) return;
    if (!isCloudHost(hostname) && !extraPortalHosts.includes(host)) {
      const tokens = record.tokens?.find(({ accessToken }) => from.accessToken.equals(accessToken));
      const info = tokens === undefined ? undefined : await verifier.appInfo(access, tokens);
      if (info?.clientEndpoint !== href) {
        throw new AddressError(`cannot follow portal ${memberId} to ${host}: no OAuth host says that it is there`);
      }
    }
    log.info("portal moved", { event: "portal.moved", memberId, host });
    await access.change((record) => ({
      // An address that was stored meanwhile is newer.
      record: record.clientEndpoint === from.clientEndpoint ? withAddress(record, href) : record,
    }));
  }

  return async (memberId, credentials, endpoint, { signal }) => {
    const address = portalAddress(endpoint, { hosts: extraPortalHosts });
    const work = coalesce(running, `${memberId} ${address.href}`, () => moveTo(address, memberId, credentials));
    await abortable(work, signal);
    return { ...credentials, clientEndpoint: address.href };
  };
}
