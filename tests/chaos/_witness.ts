/** Stands outside, and hears of all that steps do. It does what an outside can do: it refuses whoever comes too late. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Part } from "./_upgrades.ts";

/** A step, or a page of one, begins to do something outside. Times are in milliseconds since 1970. */
export interface Begin extends Part {
  readonly kind: "begin";
  /** Unlike that of any other effect. */
  readonly id: string;
  readonly process: string;
  readonly memberId: string;
  readonly generation: number;
  readonly idempotencyKey: string;
  readonly fence: number;
  readonly attempt: number;
  readonly at: number;
}

/** It has ended; `isWhole`: nothing interrupted it. */
export interface End {
  readonly kind: "end";
  readonly id: string;
  readonly isWhole: boolean;
  readonly at: number;
}

/** The handler of an event that is about no version. */
export interface Handled {
  readonly kind: "handled";
  readonly memberId: string;
  readonly deal: string;
}

/** All that a step did once. */
export interface Effect extends Begin {
  /** It was not let, for somebody with a higher fence had been there. */
  readonly isRefused: boolean;
  end?: Omit<End, "kind" | "id">;
}

/** What is heard. */
export interface Witness {
  readonly url: string;
  /** In the order in which they were heard of. */
  readonly effects: readonly Effect[];
  /** `memberId` and deal of each event that was handled. */
  readonly handled: ReadonlySet<string>;
  readonly close: () => Promise<void>;
}

/** Listens. */
export async function startWitness(): Promise<Witness> {
  const effects: Effect[] = [];
  const byId = new Map<string, Effect>();
  /** Of effects whose beginning is still to come: a request that is cut off may be read after the next one. */
  const early = new Map<string, Effect["end"]>();
  const handled = new Set<string>();
  const fences = new Map<string, number>();
  /** Whether it is let. */
  const hear = (report: Begin | End | Handled): boolean => {
    if (report.kind === "handled") {
      handled.add(`${report.memberId} ${report.deal}`);
      return true;
    }
    if (report.kind === "end") {
      const { id, isWhole, at } = report;
      const effect = byId.get(id);
      if (effect === undefined) early.set(id, { isWhole, at });
      else effect.end = { isWhole, at };
      return true;
    }
    const { id, memberId, fence } = report;
    const highest = fences.get(memberId) ?? 0;
    const end = early.get(id);
    const effect: Effect = { ...report, isRefused: fence < highest, ...(end === undefined ? {} : { end }) };
    effects.push(effect);
    byId.set(id, effect);
    fences.set(memberId, Math.max(highest, fence));
    return !effect.isRefused;
  };
  const server = createServer((request, response) => {
    let text = "";
    request.setEncoding("utf8");
    request.on("data", (piece: string) => text += piece);
    request.on("end", () => {
      response.statusCode = hear(JSON.parse(text)) ? 200 : 409;
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
