/** Checks passwords by their scrypt hashes. */
import { Buffer } from "node:buffer";
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { ApiError } from "../operator_api/api_error.ts";

/** A hash as `onappupdate password` prints it: other parameters would make some guesses cheaper than others. */
export const PASSWORD_HASH = /^\$scrypt\$ln=15,r=8,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/;

const COST = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 2 ** 20 } as const;
const HASH_BYTES = 32;

/** Each guess takes 32 MiB of memory. */
const MAX_AT_A_TIME = 2;
const MAX_WAITING = 20;
/** Guesses of one client that run or wait, so that one client does not take all places. */
const MAX_OF_CLIENT = 4;

/** Checks guesses, a few at a time. */
export interface PasswordChecker {
  /**
   * Returns whether a password has this hash. Without a hash, it takes the same time. `client` is who guesses, if it is known.
   *
   * @throws {ApiError} 429, if too many guesses wait
   */
  readonly isRight: (password: string, hash: string | undefined, client: string | undefined) => Promise<boolean>;
}

/** Derives a key from a password: scrypt, but for tests of the queue. */
export type Derive = (password: string, salt: Uint8Array) => Promise<Uint8Array>;

/** Returns a checker with a queue of its own. */
export function createPasswordChecker(derive: Derive = scryptKey): PasswordChecker {
  const noHash = `$scrypt$ln=15,r=8,p=1$${base64(randomBytes(16))}$${base64(randomBytes(HASH_BYTES))}`;
  const waiting: (() => void)[] = [];
  const ofClient = new Map<string, number>();
  let running = 0;

  async function enter(): Promise<void> {
    if (running >= MAX_AT_A_TIME) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
  }
  function leave(): void {
    const next = waiting.shift();
    if (next === undefined) running--;
    else next();
  }

  return {
    isRight: async (password, hash, client) => {
      const own = client === undefined ? 0 : ofClient.get(client) ?? 0;
      if (waiting.length >= MAX_WAITING || own >= MAX_OF_CLIENT) throw tooMany(5);
      if (client !== undefined) ofClient.set(client, own + 1);
      try {
        await enter();
        try {
          return await verify(derive, password, hash ?? noHash) && hash !== undefined;
        } finally {
          leave();
        }
      } finally {
        if (client !== undefined) {
          const rest = ofClient.get(client)! - 1;
          if (rest === 0) ofClient.delete(client);
          else ofClient.set(client, rest);
        }
      }
    },
  };
}

/** Returns the refusal of a guess that came too early. */
export function tooMany(seconds: number): ApiError {
  const message = `too many attempts to sign in: try again in ${seconds} seconds`;
  return new ApiError(429, { code: "too_many", message }, { "retry-after": String(seconds) });
}

async function verify(derive: Derive, password: string, hash: string): Promise<boolean> {
  const [salt, expected] = hash.split("$").slice(3).map((part) => Buffer.from(part, "base64"));
  // As `onappupdate password` does it: keyboards differ in how they compose letters.
  const key = await derive(password.normalize("NFC"), salt!);
  return timingSafeEqual(key, expected!);
}

function scryptKey(text: string, salt: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) =>
    scrypt(text, salt, HASH_BYTES, COST, (error, key) => error === null ? resolve(key) : reject(error))
  );
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64").replace(/=+$/, "");
}
