/**
 * An upgrade in earnest: version 3 moves what a portal has in the vendor's own service into a pipeline of its own.
 * `crash_everywhere.ts` ends it everywhere and looks whether it comes to the same end.
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
  /** Asks the service, which does what it was asked with one key only once, and answers a repetition as the first. */
  async function ask<T>(call: string, { idempotencyKey, signal }: StepScope, body: object = {}): Promise<T> {
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
    if (status === 422) throw new NonRetriableError(`the service refuses ${call}`); // asking again would not help
    if (!response.ok) throw new Error(`the service answers ${status} to ${call}`);
    return await response.json();
  }

  return createApp(options)
    .use(applicationToken())
    .upgrade(">=2 <3", async ({ memberId, step, pages, sleep, progress }) => {
      const { id } = await step(
        "create the pipeline",
        (scope) => ask<{ id: number }>("POST /pipelines", scope, { memberId }),
        { undo: async ({ id }, scope) => void await ask(`DELETE /pipelines/${id}`, scope), timeoutMs: 20_000 },
      );
      await sleep("until all servers know it", 5 * 60_000);
      await pages("copy the deals", 0, async (after, scope) => {
        const page = { memberId, after, limit: 50 };
        const { copied, last, total } = await ask<Copied>(`POST /pipelines/${id}/deals`, scope, page);
        return { next: last, done: copied, total };
      });
      await progress(1, 2, "copied; switching over");
      // Its result is what `undo` needs: what was there before.
      await step(
        "switch over",
        (scope) => ask<{ previous: number | null }>(`PUT /portals/${memberId}`, scope, { pipeline: id }),
        {
          undo: async ({ previous }, scope) =>
            void await ask(`PUT /portals/${memberId}`, scope, { pipeline: previous }),
        },
      );
      await step("tell the administrator", (scope) => ask("POST /mails", scope, { memberId, text: "It is there" }));
    }, { id: "own-pipeline", retry: { maxAttempts: 20 } });
}

interface Copied {
  readonly copied: number;
  readonly last: number | null;
  readonly total: number;
}
