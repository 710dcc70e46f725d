/** Adoption of the portals that another program of the vendor has: many lines, a few at a time. */
import { abortable } from "../../async/abortable.ts";
import { createBackoff } from "../../async/backoff.ts";
import { createInFlight } from "../../async/in_flight.ts";
import { createKeyedMutex, createMutex } from "../../async/keyed_mutex.ts";
import { createPace } from "../../async/pace.ts";
import { checkOptions, option, type OptionRules } from "../../check_options.ts";
import { UnreachableError } from "../../errors.ts";
import type { AdoptionLine, AdoptionReport, AdoptOptions, PortalSource } from "../../plugin/adoption.ts";
import { requestsFor } from "../../verify/budget.ts";
import { checkLine } from "./adopt_line.ts";
import { adoptPortal, type AdoptPortalParts, type PortalOutcome } from "./adopt_portal.ts";
import { isSource, readLines, type SourceLine } from "./adopt_source.ts";
import { createTally } from "./adoption_tally.ts";
import { ATTRIBUTION_RULES } from "./attribution.ts";
import type { Audited } from "./audit.ts";

/** Dependencies of {@linkcode createAdopt}. */
export interface AdoptParts extends AdoptPortalParts {
  readonly audited: Audited;
  readonly oauthHosts: readonly string[];
  /** Whether the app has a `clientId`. */
  readonly hasClientId: boolean;
}

/** Adopts portals. */
export interface Adopt {
  /** See `Admin.adopt`. */
  readonly adopt: (portals: PortalSource, options: AdoptOptions) => Promise<AdoptionReport>;
  /** Begins no further line: adoptions end with an error after the lines under way. */
  readonly stop: () => void;
  /** Resolves when no adoption is under way. */
  readonly idle: () => Promise<void>;
}

const OPTION_RULES: OptionRules<AdoptOptions> = {
  ...ATTRIBUTION_RULES,
  dryRun: option.flag(),
  refresh: option.flag(),
  perMinute: option.number({ min: 1 }),
  onLine: option.function(),
  signal: option.signal(),
};

/** Maximum number of lines under way. */
const MAX_IN_FLIGHT = 8;

/** Maximum number of calls for one line that no OAuth host answers. */
const MAX_CALLS = 5;

/** Delays (ms) while no OAuth host answers. */
const DELAYS = { initialMs: 1000, maxMs: 30_000 };

/** Number of lines in a row about which no OAuth host answers: then the adoption ends. */
const MAX_GIVEN_UP = 8;

/** Number of portals that are remembered to find further lines of them. */
const MAX_REMEMBERED = 100_000;

/** Returns the function that adopts portals. */
export function createAdopt(parts: AdoptParts): Adopt {
  const { audited, runtime } = parts;
  const { track, idle } = createInFlight();
  const stopping = new AbortController();

  return {
    adopt: async (portals, options) => {
      checkOptions("cannot adopt portals", options, OPTION_RULES);
      const { by, reason, dryRun = false, refresh = false } = options;
      const entry = { action: "adopt", by, reason, details: { dryRun, refresh } } as const;
      return await track(audited(entry, async () => {
        assertPossible(parts, portals, options);
        const signals = [stopping.signal, runtime.signal, ...(options.signal ? [options.signal] : [])];
        const report = await adoptAll(parts, portals, options, signals);
        const { problems: _, ...totals } = report;
        runtime.log.info("portals adopted", { event: "portals.adopted", dryRun, refresh, ...totals });
        return report;
      }));
    },
    stop: () => stopping.abort(new DOMException("the app is closing", "AbortError")),
    idle,
  };
}

/** @throws {TypeError} if the source is not one, or the app lacks what the adoption needs */
function assertPossible(
  { runtime, hasClientId }: AdoptParts,
  portals: PortalSource,
  { refresh = false, dryRun = false }: AdoptOptions,
): void {
  const refused = (why: string): TypeError => new TypeError(`cannot adopt portals ${why}`);
  if (!isSource(portals)) throw refused("of this source, wanted JSON lines, or an iterable of portals");
  if (!hasClientId) throw refused("without clientId: tokens of other apps could not be told; pass it to createApp()");
  if (refresh && !dryRun && !runtime.canRefresh) {
    throw refused("with refresh: true, but without clientSecret; pass it to createApp()");
  }
}

async function adoptAll(
  parts: AdoptParts,
  portals: PortalSource,
  options: AdoptOptions,
  signals: readonly AbortSignal[],
): Promise<AdoptionReport> {
  const { onLine } = options;
  const outage = new AbortController();
  const signal = AbortSignal.any([...signals, outage.signal]);
  const lines = readLines(portals);
  const reading = createMutex();
  const adoptLine = createAdoptLine(parts, options, signal, (error) => outage.abort(error));
  const tally = createTally();
  let failure: { readonly error: unknown } | undefined;
  let isOver = false;

  /** Adopts one line after the other, until there is none, or another one has failed. */
  async function work(): Promise<void> {
    while (!isOver) {
      const next = await reading(async () => isOver ? undefined : await abortable(lines.next(), signal));
      if (next === undefined || next.done) return;
      const line = await adoptLine(next.value);
      tally.add(line);
      await onLine?.(line);
    }
  }

  async function workSafely(): Promise<void> {
    try {
      await work();
    } catch (error) {
      failure ??= { error };
      isOver = true;
    }
  }

  await Promise.all(Array.from({ length: MAX_IN_FLIGHT }, workSafely));
  // A source that hangs would not end.
  lines.return(undefined).catch(() => {});
  if (failure !== undefined) throw failure.error;
  return tally.report();
}

/** Returns the function that adopts one line. `end` ends the adoption. */
function createAdoptLine(
  parts: AdoptParts,
  { dryRun = false, refresh = false, perMinute = 600 }: AdoptOptions,
  signal: AbortSignal,
  end: (error: UnreachableError) => void,
): (line: SourceLine) => Promise<AdoptionLine> {
  const { log } = parts.runtime;
  const call = createCall(parts, perMinute, signal, end);
  const mutex = createKeyedMutex();
  /** The line of each portal that is adopted or known. */
  const adopted = new Map<string, number>();

  return async (source) => {
    signal.throwIfAborted();
    const { line } = source;
    const offered = checkLine(source);
    if ("problem" in offered) return { line, outcome: "not_adopted", reason: "invalid", message: offered.problem };
    const { memberId } = offered;
    const outcome = await mutex(memberId, async (): Promise<PortalOutcome> => {
      const first = adopted.get(memberId);
      if (first !== undefined) {
        return { memberId, outcome: "not_adopted", reason: "twice", message: `line ${first} has this portal` };
      }
      const outcome = await adoptPortal(parts, offered, { dryRun, refresh, signal, call });
      if (outcome.outcome === "not_adopted") return outcome;
      if (adopted.size >= MAX_REMEMBERED) adopted.delete(adopted.keys().next().value!);
      adopted.set(memberId, line);
      return outcome;
    });
    if (outcome.outcome === "adopted" && !dryRun) {
      const { version, target } = outcome;
      log.info("portal adopted", { event: "portal.adopted", memberId, version, target });
    }
    return { line, ...outcome };
  };
}

/**
 * Returns the function that calls OAuth hosts: paced, and again while none answers. `end` is called if that lasts for several
 * lines.
 */
function createCall(
  { runtime: { time }, oauthHosts }: AdoptParts,
  perMinute: number,
  signal: AbortSignal,
  end: (error: UnreachableError) => void,
): <T>(server: string | undefined, run: () => Promise<T>) => Promise<T> {
  const pace = createPace(time, perMinute);
  const isFailure = (error: unknown): error is UnreachableError => error instanceof UnreachableError;
  const backoff = createBackoff(time, { ...DELAYS, isFailure, signal });
  /** Lines in a row that were given up. */
  let givenUp = 0;
  return async (server, run) => {
    for (let attempt = 1;; attempt++) {
      await pace(requestsFor(server, oauthHosts), signal);
      try {
        const result = await backoff(run);
        givenUp = 0;
        return result;
      } catch (error) {
        if (!isFailure(error)) {
          givenUp = 0;
          throw error;
        }
        if (attempt < MAX_CALLS) continue;
        if (++givenUp === MAX_GIVEN_UP) {
          end(new UnreachableError("cannot adopt further portals: no OAuth host answers", { cause: error }));
        }
        throw error;
      }
    }
  };
}
