/** A server that logs the effects of steps. As an external service can, it refuses holders with an outdated fencing token. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Part } from "./_upgrades.ts";

/** The start of an effect of a step or page. Times are in milliseconds since 1970. */
export interface Begin extends Part {
  readonly kind: "begin";
  /** Unique. */
  readonly id: string;
  readonly process: string;
  readonly memberId: string;
  readonly generation: number;
  readonly idempotencyKey: string;
  readonly fencingToken: number;
  readonly attempt: number;
  readonly at: number;
}

/** The end of an effect. `isComplete`: it was not interrupted. */
export interface End {
  readonly kind: "end";
  readonly id: string;
  readonly isComplete: boolean;
  readonly at: number;
}

/** A handler of an event without a version ran. */
export interface Handled {
  readonly kind: "handled";
  readonly process: string;
  readonly memberId: string;
  readonly deal: string;
  /** In milliseconds since 1970. */
  readonly at: number;
}

/** One effect. */
export interface Effect extends Begin {
  /** Refused, because of an effect with a higher fencing token. */
  readonly isRefused: boolean;
  end?: Omit<End, "kind" | "id">;
}

/** The log. */
export interface EffectsLog {
  readonly url: string;
  /** Effects in the order of their reports. */
  readonly effects: readonly Effect[];
  /** Reports of handlers, by `memberId` and deal. */
  readonly handled: ReadonlyMap<string, readonly Handled[]>;
  readonly close: () => Promise<void>;
}

/** Starts the server. */
export async function startEffectsLog(): Promise<EffectsLog> {
  const effects: Effect[] = [];
  const byId = new Map<string, Effect>();
  /** Ends that were reported before their start: an aborted request may be read after the next one. */
  const early = new Map<string, Effect["end"]>();
  const handled = new Map<string, Handled[]>();
  const highestTokens = new Map<string, number>();
  /** Returns whether the effect is accepted. */
  const record = (report: Begin | End | Handled): boolean => {
    if (report.kind === "handled") {
      const key = `${report.memberId} ${report.deal}`;
      handled.set(key, [...handled.get(key) ?? [], report]);
      return true;
    }
    if (report.kind === "end") {
      const { id, isComplete, at } = report;
      const effect = byId.get(id);
      if (effect === undefined) early.set(id, { isComplete, at });
      else effect.end = { isComplete, at };
      return true;
    }
    const { id, memberId, fencingToken } = report;
    const highest = highestTokens.get(memberId) ?? 0;
    const end = early.get(id);
    const effect: Effect = { ...report, isRefused: fencingToken < highest, ...(end === undefined ? {} : { end }) };
    effects.push(effect);
    byId.set(id, effect);
    highestTokens.set(memberId, Math.max(highest, fencingToken));
    return !effect.isRefused;
  };
  const server = createServer((request, response) => {
    let text = "";
    request.setEncoding("utf8");
    request.on("data", (chunk: string) => text += chunk);
    request.on("end", () => {
      response.statusCode = record(JSON.parse(text)) ? 200 : 409;
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    effects,
    handled,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
