/** A fake of the vendor's service. It stores its answers by idempotency key, and repeats them for repeated calls. */

interface Pipeline {
  readonly memberId: string;
  readonly deals: number[];
}

/** The fields of request bodies. Each request has some of them. */
interface RequestBody {
  readonly memberId: string;
  readonly after: number;
  readonly limit: number;
  readonly pipeline: number | null;
  readonly text: string;
}

export interface DealsService {
  readonly fetch: (request: Request) => Promise<Response>;
  /** Pipelines by id. */
  readonly pipelines: ReadonlyMap<number, Pipeline>;
  readonly mails: readonly string[];
  /** The current pipeline of each portal. */
  readonly current: ReadonlyMap<string, number | null>;
}

/** Creates a service with `deals` deals of each portal. It answers the third request with 429. */
export function dealsService(deals: number): DealsService {
  const answers = new Map<string, string>();
  const pipelines = new Map<number, Pipeline>();
  const current = new Map<string, number | null>();
  const mails: string[] = [];
  let created = 0;
  let requests = 0;

  function answer(method: string, [resource, id, subresource]: readonly string[], body: RequestBody): object {
    const { memberId, after, limit } = body;
    if (method === "POST" && resource === "pipelines" && subresource === undefined) {
      pipelines.set(++created, { memberId, deals: [] });
      return { id: created };
    }
    if (method === "POST" && subresource === "deals") {
      const last = Math.min(after + limit, deals);
      for (let deal = after; deal < last; deal++) pipelines.get(Number(id))!.deals.push(deal);
      return { copied: last - after, last: last < deals ? last : null, total: deals };
    }
    if (method === "POST" && resource === "mails") return { count: mails.push(`${memberId}: ${body.text}`) };
    if (method === "DELETE") return { deleted: pipelines.delete(Number(id)) };
    const previous = current.get(id!) ?? null;
    current.set(id!, body.pipeline);
    return { previous };
  }

  return {
    ...{ pipelines, current, mails },
    fetch: async (request) => {
      const key = request.headers.get("idempotency-key") ?? "";
      const stored = answers.get(key);
      if (stored !== undefined) return new Response(stored);
      if (++requests === 3) return new Response("", { status: 429, headers: { "retry-after": "30" } });
      const path = new URL(request.url).pathname.split("/").slice(1);
      const text = JSON.stringify(answer(request.method, path, await request.json() as RequestBody));
      if (key !== "") answers.set(key, text);
      return new Response(text);
    },
  };
}
