/**
 * A realistic upgrade: version 3 moves each portal's deals in the vendor's service to a pipeline of its own, with pages, a
 * sleep, a busy service and a rollback. `08_crash_everywhere.ts` tests it.
 */
import {
  type App,
  type AppOptions,
  createApp,
  NonRetriableError,
  RetryAfterError,
  type StepScope,
} from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";

const SERVICE = "https://deals.example";

export function buildApp(options: AppOptions): App {
  /** Calls the service, which executes each key once, and answers repeated calls like the first. */
  async function callService<T>(call: string, { idempotencyKey, signal }: StepScope, body: object = {}): Promise<T> {
    const [method, path] = call.split(" ") as [string, string];
    const response = await (options.fetch ?? fetch)(SERVICE + path, {
      method,
      headers: { "content-type": "application/json", "idempotency-key": idempotencyKey },
      body: JSON.stringify(body),
      signal,
    });
    const { status, headers } = response;
    if (status === 429) {
      throw new RetryAfterError(1000 * Number(headers.get("retry-after") ?? 60), "the service is busy");
    }
    if (status === 422) throw new NonRetriableError(`the service refused ${call}`); // a retry would not help
    if (!response.ok) throw new Error(`the service answered ${call} with ${status}`);
    return await response.json();
  }

  return createApp(options)
    .use(applicationToken())
    .upgrade(">=2 <3", async ({ memberId, step, pages, sleep, progress }) => {
      const { id } = await step(
        "create the pipeline",
        (scope) => callService<{ id: number }>("POST /pipelines", scope, { memberId }),
        { undo: async ({ id }, scope) => void await callService(`DELETE /pipelines/${id}`, scope), timeoutMs: 20_000 },
      );
      await sleep("wait until all servers have it", 5 * 60_000);
      await pages("copy the deals", 0, async (after, scope) => {
        const page = { memberId, after, limit: 50 };
        const { copied, last, total } = await callService<Copied>(`POST /pipelines/${id}/deals`, scope, page);
        return { next: last, done: copied, total };
      });
      await progress(1, 2, "copied; switching over");
      // The result is for `undo`: the previous pipeline.
      await step(
        "switch over",
        (scope) => callService<{ previous: number | null }>(`PUT /portals/${memberId}`, scope, { pipeline: id }),
        {
          undo: async ({ previous }, scope) =>
            void await callService(`PUT /portals/${memberId}`, scope, { pipeline: previous }),
        },
      );
      await step(
        "notify the administrator",
        (scope) => callService("POST /mails", scope, { memberId, text: "Your pipeline is ready" }),
      );
    }, { id: "own-pipeline", retry: { maxAttempts: 20 } });
}

interface Copied {
  readonly copied: number;
  readonly last: number | null;
  readonly total: number;
}
