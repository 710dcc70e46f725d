/** A stand-in for the service of a vendor: it remembers what it answered to which idempotency key. */

interface Pipeline {
  readonly memberId: string;
  readonly deals: number[];
}

/** What requests bring, each a part of it. */
interface Asked {
  readonly memberId: string;
  readonly after: number;
  readonly limit: number;
  readonly pipeline: number | null;
  readonly text: string;
}

export interface DealsService {
  readonly fetch: (request: Request) => Promise<Response>;
  /** What it has in the end. */
  readonly pipelines: ReadonlyMap<number, Pipeline>;
  readonly mails: readonly string[];
  /** By portal. */
  readonly current: ReadonlyMap<string, number | null>;
}

/** It has this many deals of each portal, and is busy once. */
export function dealsService(deals: number): DealsService {
  const answers = new Map<string, string>();
  const pipelines = new Map<number, Pipeline>();
  const current = new Map<string, number | null>();
  const mails: string[] = [];
  let created = 0;
  let requests = 0;

  function answer(method: string, [what, id, more]: readonly string[], asked: Asked): object {
    const { memberId, after, limit } = asked;
    if (method === "POST" && what === "pipelines" && more === undefined) {
      pipelines.set(++created, { memberId, deals: [] });
      return { id: created };
    }
    if (method === "POST" && more === "deals") {
      const last = Math.min(after + limit, deals);
      for (let deal = after; deal < last; deal++) pipelines.get(Number(id))!.deals.push(deal);
      return { copied: last - after, last: last < deals ? last : null, total: deals };
    }
    if (method === "POST" && what === "mails") return { count: mails.push(`${memberId}: ${asked.text}`) };
    if (method === "DELETE") return { deleted: pipelines.delete(Number(id)) };
    const previous = current.get(id!) ?? null;
    current.set(id!, asked.pipeline);
    return { previous };
  }

  return {
    ...{ pipelines, current, mails },
    fetch: async (request) => {
      const key = request.headers.get("idempotency-key") ?? "";
      const before = answers.get(key);
      if (before !== undefined) return new Response(before);
      if (++requests === 3) return new Response("", { status: 429, headers: { "retry-after": "30" } });
      const path = new URL(request.url).pathname.split("/").slice(1);
      const text = JSON.stringify(answer(request.method, path, await request.json() as Asked));
      if (key !== "") answers.set(key, text);
      return new Response(text);
    },
  };
}
