/** The token pairs of the portal: none is lost or goes back to an older one, and none of an earlier installation is used. */
import { openRecord } from "../../src/portal/credentials_record.ts";
import type { PortalRecord } from "../../src/portal/record.ts";
import type { StoredCredentials } from "../../src/portal/stored_credentials.ts";
import type { StoredTokens } from "../../src/portal/tokens.ts";
import { MEMBER_ID } from "../support/app.ts";
import type { FakeOAuthHost } from "../support/fake_oauth_host.ts";
import type { EventName } from "./_events.ts";
import { Violation } from "./_history.ts";
import { doneEvents, holdsPairs, valueOf } from "./_layout.ts";
import type { AppliedWrite, Entries } from "./_storage.ts";

type Pair = ReturnType<FakeOAuthHost["issueTokens"]>;

/** Events of the second installation. The pairs of all others are of the first one. */
const LATER: readonly EventName[] = ["reinstallation", "update 3", "deal"];

export class Pairs {
  readonly #entries: Entries;
  /** The event from which each access token comes, also by refreshes; and by refresh token. */
  readonly #events = new Map<string, EventName>();
  /** Refresh tokens that the host has accepted: they are dead. */
  readonly #spent = new Set<string>();
  #before: PortalRecord | undefined;

  constructor(entries: Entries) {
    this.#entries = entries;
    this.#before = this.#opened();
  }

  /** Called with the pair in an event. */
  sent(event: EventName, { access, refresh }: Pair): void {
    this.#events.set(access, event);
    this.#events.set(refresh, event);
  }

  /** Passes a request to the host, and follows the pair that it refreshes. */
  async fetch(host: FakeOAuthHost, ...request: Parameters<typeof fetch>): Promise<Response> {
    const number = host.asked.length;
    const response = await host.fetch(...request);
    const { kind, token } = host.asked[number] ?? {};
    if (kind === "token" && response.ok) {
      const { access_token: access, refresh_token: refresh } = await response.clone().json();
      this.#spent.add(token!);
      this.sent(this.#events.get(token!)!, { access, refresh });
    }
    return response;
  }

  /** Called after each write. */
  checkWrite({ writer, before, after }: AppliedWrite): void {
    if (!holdsPairs(after ?? before!)) return;
    const [was, is] = [this.#before, this.#opened()];
    this.#before = is;
    if (is === undefined) return;
    const isRemoved = is.status === "uninstalled";
    if (isRemoved && is.tokens !== undefined) throw new Violation(`${writer} put a pair back`);
    const generation = this.#stored()?.generation ?? Infinity;
    // A new installation puts its pairs before its record.
    if (isRemoved && generation <= is.generation && doneEvents(this.#entries, MEMBER_ID).has("removal")) {
      throw new Violation("the removal is handled, and pairs are left");
    }
    for (const { accessToken } of is.generation > 1 ? is.tokens ?? [] : []) {
      const event = this.#events.get(accessToken);
      if (event !== undefined && !LATER.includes(event)) {
        throw new Violation(`${writer} believes the pair of ${event} in installation ${is.generation}`);
      }
    }
    if (was === undefined || was.generation !== is.generation || isRemoved) return;
    for (const pair of was.tokens ?? []) {
      if (pair.isVerified && !this.#spent.has(pair.refreshToken!) && !isKept(pair, is)) {
        throw new Violation(`${writer} lost ${pair.accessToken}`);
      }
    }
  }

  /** Returns the keys under which pairs of the portal are stored, although it is removed. */
  left(): readonly string[] {
    if (this.#opened()?.status !== "uninstalled") return [];
    const left = this.#entries.list().filter((entry) => holdsPairs(entry) && /"(access|refresh)-/.test(entry.json));
    return left.map(({ key }) => key.join("/"));
  }

  #stored(): StoredCredentials | undefined {
    const credentials = this.#entries.get(["credentials", MEMBER_ID]);
    return credentials && valueOf<StoredCredentials>(credentials);
  }

  #opened(): PortalRecord | undefined {
    const record = this.#entries.get(["portal", MEMBER_ID]);
    if (record === undefined) return undefined;
    const value = this.#stored();
    return openRecord(valueOf<PortalRecord>(record), value ? { key: ["credentials"], value, version: "" } : null);
  }
}

/** Returns whether a record has a pair, or a newer one of its user. */
function isKept({ accessToken, owner, userId, ts }: StoredTokens, { tokens = [] }: PortalRecord): boolean {
  return tokens.some((pair) =>
    pair.accessToken === accessToken ||
    (pair.isVerified === true && pair.owner === owner && pair.userId === userId && pair.ts >= ts)
  );
}
