/** The policy by which waiting events are verified. A plugin of phase `verify` brings it. */
import { option, type OptionRules } from "../check_options.ts";
import { defined } from "../defined.ts";
import { bytesOf, isIn, rangeOf } from "../net/ip_range.ts";
import { DEFAULT_BOUNDS, type UnverifiedBounds } from "../portal/unverified_bounds.ts";

/** Limits of the verification of stored events, in one process. Events with the stored `application_token` need no budget. */
export interface VerificationBudget {
  /**
   * Verifications in a minute, for all portals together. Half of them are reserved for stored portals. Each OAuth host
   * that is asked counts. Minimum: 4.
   *
   * @default 600
   */
  readonly perMinute: number;
  /**
   * Verifications in a minute for one `member_id`. The refresh of an expired token pair is another one. Minimum: 2.
   *
   * @default 6
   */
  readonly perPortal: number;
}

/** The policy by which waiting events are verified. */
export interface VerificationPolicy {
  /** Limits of the questions to Bitrix24 about waiting events. */
  readonly budget?: Partial<VerificationBudget>;
  /** Limits of the number of waiting events. */
  readonly bounds?: Partial<UnverifiedBounds>;
  /**
   * Addresses that Bitrix24 sends events from: IPv4 and IPv6 addresses, and ranges such as `"192.0.2.0/24"`. Events from
   * them are verified first, and are not displaced by events from other addresses. They are verified like all others: an
   * address proves nothing. Needs `clientAddress` in `createApp` behind a proxy.
   *
   * @default []
   */
  readonly trustedAddresses?: readonly string[];
}

/**
 * The rules of a {@linkcode VerificationPolicy}, for {@linkcode checkOptions} in a plugin whose options contain one. The app
 * checks the policy itself when the plugin is added.
 */
export const verificationRules: OptionRules<VerificationPolicy> = {
  budget: option.object<VerificationBudget>({
    perMinute: option.number({ min: 4 }),
    perPortal: option.number({ min: 2 }),
  }),
  bounds: option.object<UnverifiedBounds>({
    maxEvents: option.number({ min: 1, isWhole: true }),
    maxCharacters: option.number({ min: 1024 }),
    maxUnknownCharacters: option.number({ min: 1024 }),
  }),
  trustedAddresses: option.list(
    'IP addresses and ranges such as "192.0.2.0/24"',
    option.value(
      'an IP address or a range such as "192.0.2.0/24"',
      (text) => typeof text === "string" && rangeOf(text) !== undefined,
    ),
  ),
};

/** A policy with all defaults. */
export interface VerificationSettings {
  readonly budget: VerificationBudget;
  readonly bounds: UnverifiedBounds;
  /** Returns whether a client has one of the trusted addresses. */
  readonly isTrusted: (clientAddress: string | undefined) => boolean;
}

/** Returns a policy with all defaults. */
export function verificationSettings(
  { budget = {}, bounds = {}, trustedAddresses = [] }: VerificationPolicy = {},
): VerificationSettings {
  const ranges = trustedAddresses.map((text) => rangeOf(text)!);
  return {
    budget: { perMinute: 600, perPortal: 6, ...defined(budget) },
    bounds: { ...DEFAULT_BOUNDS, ...defined(bounds) },
    isTrusted: (clientAddress) => {
      const bytes = clientAddress === undefined ? undefined : bytesOf(clientAddress);
      return bytes !== undefined && ranges.some((range) => isIn(bytes, range));
    },
  };
}
