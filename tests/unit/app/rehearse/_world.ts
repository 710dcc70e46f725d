/** A portal on version 2 of a fake Bitrix24, and an app whose storage lists its writes. */
import assert from "node:assert/strict";
import { type App, type AppOptions, createApp, type Logger, memoryStorage, type Storage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { type HasB24, rest } from "@b24/onappupdate/rest";
import { type FakeBitrix24, fakeBitrix24, type FakeCall, type FakePortal } from "@b24/onappupdate/testing";
import { backgroundWork, CLIENT_ID, MEMBER_ID, post, recorder, recordingLogger } from "../../../support/app.ts";
import { CLIENT_SECRET } from "../../../support/fake.ts";
import { withoutWrite } from "../../../support/without_write.ts";

export interface World {
  readonly bitrix24: FakeBitrix24;
  readonly portal: FakePortal;
  readonly storage: Storage;
  readonly app: App<HasB24>;
  /** Keys that were written since the last call, but for totals. */
  readonly written: () => readonly string[];
  /** Calls of the portal since the last call. */
  readonly calls: () => readonly FakeCall[];
  /** Requests to other hosts than those of Bitrix24. */
  readonly others: string[];
  readonly lines: string[];
  /** Names of the observers that were called. */
  readonly names: () => string[];
  readonly logger: Logger;
  readonly send: (body: string) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** `add` adds upgrades and plugins. The portal is installed, on version 2. */
export async function world(
  add: (app: App<HasB24>) => unknown,
  options: Partial<AppOptions> = {},
  restOptions: Parameters<typeof rest>[0] = {},
): Promise<World> {
  const { logger, lines } = recordingLogger();
  const { plugin, names } = recorder();
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET });
  const portal = bitrix24.portal({ memberId: MEMBER_ID });
  const others: string[] = [];
  const keys: string[] = [];
  const inner = withoutWrite(memoryStorage());
  const storage: Storage = {
    ...inner,
    put: (key, ...rest) => {
      keys.push(key.join("/"));
      return inner.put(key, ...rest);
    },
    delete: (key, ...rest) => {
      keys.push(key.join("/"));
      return inner.delete(key, ...rest);
    },
  };
  const app = createApp({
    ...{ storage, logger, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET },
    ...{ acknowledge: "handled", checks: false, tickEveryMs: false },
    fetch: async (input, init) => {
      const request = new Request(input, init);
      if (!/bitrix/.test(new URL(request.url).host)) {
        others.push(`${request.method} ${request.url}`);
        return Response.json({});
      }
      return await bitrix24.fetch(request);
    },
    ...options,
  }).use(applicationToken()).use(plugin).use(rest({ rate: { burst: 1000, perSecond: 1000 }, ...restOptions }));
  add(app);
  const { platform, settled } = backgroundWork();
  const send: World["send"] = async (body) => {
    assert.equal((await app.fetch(post(body), platform)).status, 200);
    await settled();
  };
  await send(portal.install(2));
  let callsBefore = portal.calls().length;
  keys.length = 0;
  return {
    ...{ bitrix24, portal, storage, app, others, lines, names, logger, send },
    // Totals are added within a second.
    written: () => keys.splice(0).filter((key) => !key.startsWith("total/")),
    calls: () => {
      const calls = portal.calls().slice(callsBefore);
      callsBefore += calls.length;
      return calls;
    },
    close: app.close,
  };
}

/** Numbers of calls by method, of those that the portal has answered and that are not batches. */
export function countsOf(calls: readonly FakeCall[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { method, at, error } of calls) {
    if (at !== "portal" || method === "batch" || error !== undefined) continue;
    counts[method] = (counts[method] ?? 0) + 1;
  }
  return counts;
}
