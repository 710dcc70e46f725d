/** Sessions of signed-in operators, in the storage: a log-out ends one in all processes. */
import { createHash, randomBytes } from "node:crypto";
import type { Storage } from "../../mod.ts";

/** Maximum age of a session. */
const MAX_AGE_MS = 12 * 3_600_000;
/** A session ends if nobody has used it for this long. */
const MAX_IDLE_MS = 3_600_000;
/** Uses within this time are stored as one. */
const TOUCH_MS = 60_000;

/** Difference (ms) of the clocks of two processes. A later session is of a clock that was put back: it would last too long. */
const MAX_CLOCK_DIFFERENCE_MS = 5 * 60_000;

/** A session as it is stored under `["session", <digest of its token>]`. */
interface StoredSession {
  readonly name: string;
  /** Digest of the user's configuration: another password or role ends the session. */
  readonly stamp: string;
  readonly createdAt: number;
  readonly seenAt: number;
}

/** A session that has not ended. */
export type Session = Pick<StoredSession, "name" | "stamp">;

/** Sessions. Tokens are stored as digests only. All members reject with a `StorageError` if the storage fails. */
export interface Sessions {
  /** Begins a session with a fresh token, which it returns. */
  readonly begin: (session: Session) => Promise<string>;
  /** Returns a session that has not ended. `isUse`: it is used, which delays its end. */
  readonly find: (token: string, isUse: boolean) => Promise<Session | undefined>;
  readonly end: (token: string) => Promise<void>;
}

/** Parts of {@linkcode createSessions}. */
export interface SessionsParts {
  readonly storage: () => Storage;
  readonly clock: () => number;
}

/** Returns the sessions of a console. */
export function createSessions({ storage, clock }: SessionsParts): Sessions {
  const keyOf = (token: string): readonly ["session", string] => [
    "session",
    createHash("sha256").update(token).digest("hex"),
  ];
  const isFuture = ({ seenAt }: StoredSession): boolean => seenAt > clock() + MAX_CLOCK_DIFFERENCE_MS;
  const ttlOf = ({ createdAt, seenAt }: StoredSession): number =>
    Math.min(createdAt + MAX_AGE_MS, seenAt + MAX_IDLE_MS) - clock();
  return {
    begin: async ({ name, stamp }) => {
      const token = randomBytes(32).toString("base64url");
      const session: StoredSession = { name, stamp, createdAt: clock(), seenAt: clock() };
      await storage().put(keyOf(token), session, { ttlMs: ttlOf(session) });
      return token;
    },
    find: async (token, isUse) => {
      if (!TOKEN.test(token)) return undefined;
      const entry = await storage().get<StoredSession>(keyOf(token));
      if (entry === null || ttlOf(entry.value) <= 0 || isFuture(entry.value)) return undefined;
      if (isUse && clock() - entry.value.seenAt >= TOUCH_MS) {
        const session = { ...entry.value, seenAt: clock() };
        // Without the condition, it would come back after a log-out.
        await storage().put(keyOf(token), session, { ttlMs: ttlOf(session), ifVersion: entry.version });
      }
      return entry.value;
    },
    end: async (token) => {
      if (TOKEN.test(token)) await storage().delete(keyOf(token));
    },
  };
}

const TOKEN = /^[\w-]{43}$/;
