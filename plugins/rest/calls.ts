/** One call: as many requests as it takes until the portal has done it, or has refused for good. */
import { type B24Error, type PluginHost, type PortalCredentials, RetryAfterError } from "../../mod.ts";
import { AddressError } from "../../errors.ts";
import type { Answer } from "./answers.ts";
import { meaningOf } from "./codes.ts";
import type { B24Timer, Lanes } from "./pace.ts";
import { cleaner } from "./redaction.ts";
import { send } from "./request.ts";
import { within } from "./within.ts";

/** A call of a portal. */
export interface Call {
  readonly memberId: string;
  readonly method: string;
  readonly params: object;
  /** Whether it may be done twice. */
  readonly repeatable: boolean;
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal;
}

/** As whom a portal is called: `tried` may not, and `now` may, or is to be asked; absent: as whoever is best. */
export interface Identity {
  readonly tried: PortalCredentials[];
  now?: PortalCredentials | undefined;
}

/** Calls portals. */
export interface Calls {
  readonly ask: (call: Call, identity?: Identity) => Promise<Answer>;
  /** Takes another user after the present one, who may not; `false`: all were tried. */
  readonly another: (memberId: string, identity: Identity, signal: AbortSignal) => Promise<boolean>;
}

/** How long and how often calls are tried: see `RestOptions`. */
export interface CallSettings {
  readonly timer: B24Timer;
  readonly timeoutMs: number;
  readonly answerBytes: number;
  readonly attempts: number;
  readonly longestWaitMs: number;
}

/** How often a call follows its portal, and comes back to one that has too much to do. */
const MOVES = 2;
const LIMITED = 6;
const BLOCKED = 3;
/** Bitrix24 counts the time of methods in windows of this length, in milliseconds. */
const WINDOW_MS = 10 * 60 * 1000;

/** Milliseconds, twice as long each time, less up to a half by chance: processes must not come back together. */
function backOff(attempt: number): number {
  return 1000 * 2 ** (attempt - 1) * (1 - Math.random() / 2);
}

/** Calls portals in `lanes`, with what `host` knows of them. */
export function createCalls(host: PluginHost, lanes: Lanes, settings: CallSettings): Calls {
  const { credentials, log } = host;
  const { timer, answerBytes, attempts, longestWaitMs } = settings;
  const pause = (ms: number, signal: AbortSignal): Promise<void> =>
    within([signal], undefined, (signal) => timer.sleep(ms, signal));

  async function moved(
    memberId: string,
    from: PortalCredentials,
    location: string,
    signal: AbortSignal,
  ): Promise<PortalCredentials> {
    const to = URL.canParse(location, from.clientEndpoint) ? new URL(location, from.clientEndpoint) : undefined;
    const token = from.accessToken.reveal().toLowerCase();
    // Whoever has our token may have put it in there, and what is refused is quoted.
    if (to === undefined || to.username !== "" || to.password !== "" || to.host.includes(token)) {
      throw new AddressError(`cannot follow portal ${memberId}: it redirects to what is no address of a portal`);
    }
    return await credentials.moved(memberId, from, `${to.protocol}//${to.host}/rest/`, { signal });
  }

  async function remember(memberId: string, error: B24Error): Promise<void> {
    try {
      await credentials.refused(memberId, error);
    } catch (failure) {
      log.warn("what a portal refused could not be stored", { memberId, error: failure });
    }
  }

  /** Milliseconds until a blocked method is free, which is in `resetAt` seconds since 1970. */
  function blockedMs(resetAt: number | undefined): number {
    const untilMs = resetAt === undefined ? WINDOW_MS / 10 : resetAt * 1000 - host.clock();
    return Math.min(Math.max(untilMs, 1000), WINDOW_MS) * (1 + Math.random() / 10);
  }

  async function another(memberId: string, identity: Identity, signal: AbortSignal): Promise<boolean> {
    if (identity.now !== undefined) identity.tried.push(identity.now);
    identity.now = await credentials.another(memberId, identity.tried, { signal });
    return identity.now !== undefined;
  }

  async function ask(call: Call, identity: Identity = { tried: [] }): Promise<Answer> {
    const { memberId, method, params, repeatable, timeoutMs = settings.timeoutMs, signal } = call;
    const secrets = new Set<string>();
    const clean = cleaner(secrets);
    let [moves, attempt, limited, blocked, isRenewed] = [0, 1, 0, 0, false];
    while (true) {
      const [ended, by] = await lanes.run(memberId, signal, async (fill) => {
        // Not before its turn: by then, the call before it may have renewed the token.
        const by = identity.now ?? await credentials.get(memberId, { signal });
        secrets.add(by.accessToken.reveal());
        const ended = await send(host.portalFetch, { method, params, by, timeoutMs, answerBytes, clean, signal });
        if ("error" in ended && meaningOf(ended.error) === "limited") fill(backOff(++limited));
        return [ended, by] as const;
      });
      identity.now = by;
      if ("result" in ended) return ended;
      if ("location" in ended) {
        if (moves++ === MOVES) {
          throw new AddressError(`cannot follow portal ${memberId}: it has redirected more than ${MOVES} times`);
        }
        identity.now = await moved(memberId, by, ended.location, signal);
        continue;
      }
      const { error, resetAt } = ended;
      switch (meaningOf(error)) {
        case "spent":
          if (isRenewed) throw error;
          isRenewed = true;
          identity.now = await credentials.refresh(memberId, by, { signal });
          break;
        case "denied":
          if (!await another(memberId, identity, signal)) throw error;
          isRenewed = false;
          break;
        case "limited":
          if (limited === LIMITED) throw error;
          break;
        case "blocked": {
          const waitMs = blockedMs(resetAt);
          if (waitMs > longestWaitMs || ++blocked > BLOCKED) {
            const message = `${method} has used up its time on portal ${memberId}`;
            throw new RetryAfterError(Math.ceil(waitMs), message, { cause: error });
          }
          await pause(waitMs, signal);
          break;
        }
        case "unclear":
          if (!repeatable || attempt >= attempts) throw error;
          log.info("a call is repeated", { memberId, method, attempt, error: error.message });
          await pause(backOff(attempt++), signal);
          break;
        case "closed":
          await remember(memberId, error as B24Error);
          throw error;
        default:
          throw error;
      }
    }
  }

  return { ask, another };
}
