/** Tickets, by which an opened page asks for its state. They are stored as digests. */
import type { AppRuntime } from "../plugin/runtime.ts";
import { ticketKey } from "../portal/keys.ts";
import type { Secret } from "../secret.ts";
import type { Entry } from "../storage/storage.ts";

/** The facts that a ticket stands for. */
export interface TicketFacts {
  readonly memberId: string;
  readonly isAdmin: boolean;
  readonly isInstalled: boolean;
  readonly language?: string;
}

/** The value stored under the digest of a ticket. */
interface Ticket extends TicketFacts {
  /** In milliseconds since 1970. */
  readonly issuedAt: number;
  /** In milliseconds since 1970. */
  readonly expiresAt: number;
}

/** Issues and finds tickets. */
export interface Tickets {
  /** Returns a ticket. Openings with one access token share one in this process: they cannot fill the storage. */
  readonly issue: (facts: TicketFacts, accessToken: Secret) => Promise<string>;
  /** Returns what a ticket stands for, and extends it; `undefined` if it is unknown or has expired. */
  readonly find: (ticket: string) => Promise<TicketFacts | undefined>;
}

/** TTL of tickets. A page that goes on asking keeps its ticket for a day. */
const TICKET_MS = 60 * 60 * 1000;
const MAX_TICKET_MS = 24 * TICKET_MS;

/** Maximum number of tickets that are remembered. */
const MAX_ISSUED = 10_000;

/** Returns the tickets of an app. */
export function createTickets({ storage, clock, digest, random }: AppRuntime): Tickets {
  const issued = new Map<string, { readonly ticket: string; readonly until: number }>();

  /** An upgrade may take longer than a ticket is valid. */
  async function extend({ key, value, version }: Entry<Ticket>): Promise<void> {
    const now = clock();
    const isYoung = value.expiresAt - now > TICKET_MS / 2;
    if (isYoung || now - value.issuedAt > MAX_TICKET_MS) return;
    await storage.put(key, { ...value, expiresAt: now + TICKET_MS }, { ifVersion: version, ttlMs: TICKET_MS });
  }

  return {
    issue: async (facts, accessToken) => {
      const { memberId, isAdmin, isInstalled, language = "" } = facts;
      const key = await digest(JSON.stringify([
        ...[memberId, isAdmin, isInstalled, language.slice(0, 2).toLowerCase()],
        accessToken.reveal(),
      ]));
      const now = clock();
      const known = issued.get(key);
      const ticket = known !== undefined && known.until > now ? known.ticket : random();
      if (issued.size >= MAX_ISSUED) issued.clear();
      const value: Ticket = { ...facts, issuedAt: now, expiresAt: now + TICKET_MS };
      issued.set(key, { ticket, until: value.expiresAt });
      await storage.put(ticketKey(await digest(ticket)), value, { ttlMs: TICKET_MS });
      return ticket;
    },
    find: async (ticket) => {
      const entry = await storage.get<Ticket>(ticketKey(await digest(ticket)));
      if (entry === null) return undefined;
      await extend(entry);
      const { issuedAt: _i, expiresAt: _e, ...facts } = entry.value;
      return facts;
    },
  };
}
