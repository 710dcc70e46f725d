/** Figures of the whole app, which every process reports: read at most once a minute, and kept for the exporter. */
import type { Attributes } from "@opentelemetry/api";
import type { PluginHost, PortalCount, StuckGroup } from "../../mod.ts";
import { attributesOf } from "./attributes.ts";

/** A value of a gauge. */
export interface Figure {
  readonly value: number;
  readonly attributes: Attributes;
}

/** The figures that are read from the storage, by gauge. */
export interface Figures {
  readonly portals: readonly Figure[];
  readonly blocked: readonly Figure[];
  readonly outbox: readonly Figure[];
}

/** Minimum time (ms) between two reads. */
const READ_EVERY_MS = 60_000;

/** Number of versions that are named; all others are `other`. */
const MAX_VERSIONS = 20;

/** Messages of the outbox are counted up to this number. */
const MAX_MESSAGES = 1000;

/** The maximum of causes that `admin.stuck` returns. */
const MAX_CAUSES = 100;

/** Reads figures, and keeps the last ones. */
export interface FigureReader {
  /** Reads them if the last time is long enough ago. Never rejects. */
  readonly refresh: () => Promise<void>;
  /** Returns the last ones; `undefined` before the first time. */
  readonly last: () => Figures | undefined;
}

/** Returns a reader of the figures of an app. */
export function createFigureReader({ admin, clock, log }: PluginHost): FigureReader {
  let readAt = -Infinity;
  let last: Figures | undefined;
  return {
    refresh: async () => {
      const now = clock();
      // A clock that was put back must not keep the figures as they are for as long.
      if (Math.abs(now - readAt) < READ_EVERY_MS) return;
      readAt = now;
      try {
        const [counts, stuck, waiting, dead] = await Promise.all([
          admin.counts(),
          admin.stuck({ limit: MAX_CAUSES }),
          admin.outbox.list({ state: "waiting", limit: MAX_MESSAGES }),
          admin.outbox.list({ state: "dead", limit: MAX_MESSAGES }),
        ]);
        last = {
          portals: withZeros(portalFigures(counts), last?.portals),
          blocked: withZeros(blockedFigures(counts, stuck), last?.blocked),
          outbox: [["waiting", waiting] as const, ["dead", dead] as const].map(([state, { items }]) => ({
            ...{ value: items.length, attributes: { "b24.outbox.state": state } },
          })),
        };
      } catch (err) {
        log.warn("figures not read", { event: "telemetry.figures_failed", err });
      }
    },
    last: () => last,
  };
}

/** Returns the figures, and 0 for what no longer has one: the SDK of Node repeats the last value of what a gauge leaves out. */
function withZeros(figures: readonly Figure[], earlier: readonly Figure[] = []): readonly Figure[] {
  const present = new Set(figures.map(({ attributes }) => JSON.stringify(attributes)));
  const ended = earlier.filter(({ attributes }) => !present.has(JSON.stringify(attributes)));
  return [...figures, ...ended.map(({ attributes }) => ({ value: 0, attributes }))];
}

/** Returns the numbers of portals by version and state. */
export function portalFigures(counts: readonly PortalCount[]): readonly Figure[] {
  const byVersion = new Map<string | undefined, number>();
  for (const { version, count } of counts) byVersion.set(version, (byVersion.get(version) ?? 0) + count);
  const frequent = new Set(
    [...byVersion].filter(([version]) => version !== undefined).sort(([, a], [, b]) => b - a).slice(0, MAX_VERSIONS)
      .map(([version]) => version),
  );
  const nameOf = (version: string | undefined): string =>
    version === undefined ? "unknown" : frequent.has(version) ? version : "other";
  return summed(counts, ({ version, status }) => ({ "b24.version": nameOf(version), "b24.state": status }));
}

/** Returns the numbers of blocked portals by what they wait for. Those of causes that are not among the largest are `other`. */
export function blockedFigures(counts: readonly PortalCount[], stuck: readonly StuckGroup[]): readonly Figure[] {
  const blocked = stuck.filter(({ blockedOn }) => blockedOn !== undefined);
  const sum = (groups: readonly { readonly count: number }[]): number =>
    groups.reduce((sum, { count }) => sum + count, 0);
  const others = sum(counts.filter(({ status }) => status === "blocked")) - sum(blocked);
  return [
    ...summed(blocked, ({ blockedOn }) => ({ "b24.blocked_on": blockedOn })),
    ...(others > 0 ? [{ value: others, attributes: { "b24.blocked_on": "other" } }] : []),
  ];
}

/** Returns the sums of counts with equal attributes. */
function summed<T extends { readonly count: number }>(
  counts: readonly T[],
  attributesFor: (one: T) => Parameters<typeof attributesOf>[0],
): readonly Figure[] {
  const sums = new Map<string, { value: number; readonly attributes: Attributes }>();
  for (const one of counts) {
    const attributes = attributesOf(attributesFor(one));
    const key = JSON.stringify(attributes);
    const sum = sums.get(key) ?? { value: 0, attributes };
    sums.set(key, sum);
    sum.value += one.count;
  }
  return [...sums.values()];
}
