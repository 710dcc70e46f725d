/** Shared by the tests of adoption: an old program that has the tokens of its portals. */
import assert from "node:assert/strict";
import {
  type AdoptionLine,
  type App,
  type AppOptions,
  createApp,
  memoryStorage,
  type PortalToAdopt,
  type Storage,
} from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { type FakeBitrix24, fakeBitrix24, type FakePortal, type FakeTokens } from "@b24/onappupdate/testing";
import { CLIENT_ID, recordingLogger } from "./app.ts";
import { CLIENT_SECRET, NOW } from "./fake.ts";
import { OPERATOR } from "./operator.ts";
import type { VirtualTime } from "./time.ts";

/** A portal of the old program, and what that program has stored of it. */
export interface OldPortal {
  readonly portal: FakePortal;
  readonly tokens: FakeTokens;
  /** A line about it. */
  readonly row: PortalToAdopt;
}

export interface OldProgram {
  readonly bitrix24: FakeBitrix24;
  /** Returns a portal with version `version` of the app, which is also in its line. */
  readonly add: (version: number, options?: { readonly clientId?: string }) => OldPortal;
  /** Returns an app that adopts. */
  readonly app: (options?: Partial<AppOptions>) => App;
  /** Log lines of all apps. */
  readonly lines: string[];
  /** Returns which tokens of portals the old program can still use, as pairs of access and refresh token. */
  readonly working: (portals: readonly OldPortal[]) => Promise<readonly (readonly [boolean, boolean])[]>;
  now: number;
}

/** Returns an old program without portals. */
export function oldProgram(): OldProgram {
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, clock: () => made.now });
  const { logger, lines } = recordingLogger();
  let count = 0;
  const post = async (path: string, fields: Readonly<Record<string, string>>): Promise<boolean> => {
    const body = new URLSearchParams(fields);
    const answer = await (await bitrix24.fetch(`https://oauth.bitrix24.tech${path}`, { method: "POST", body })).json();
    return answer.error === undefined;
  };
  const made: OldProgram = {
    bitrix24,
    lines,
    now: NOW,
    add: (version, options = {}) => {
      const n = ++count;
      const memberId = (n * 7919).toString(16).padStart(32, "a");
      const portal = bitrix24.portal({ memberId, domain: `p${n}.bitrix24.de`, ...options });
      portal.install(version);
      const tokens = portal.tokens();
      return { portal, tokens, row: { memberId, version: String(version), ...tokens } };
    },
    app: (options) =>
      createApp({
        ...{
          storage: memoryStorage(),
          clientId: CLIENT_ID,
          clientSecret: CLIENT_SECRET,
          fetch: bitrix24.fetch,
          logger,
        },
        ...{ clock: () => made.now, checks: false, tickEveryMs: false, acknowledge: "handled" },
        ...options,
      }).use(applicationToken()),
    working: async (portals) =>
      await Promise.all(portals.map(async ({ tokens: { accessToken, refreshToken } }) => {
        const isAccepted = await post("/rest/app.info", { auth: accessToken });
        const keys = { client_id: CLIENT_ID, client_secret: CLIENT_SECRET };
        const fields = { grant_type: "refresh_token", refresh_token: refreshToken, ...keys };
        return [isAccepted, await post("/oauth/token/", fields)] as const;
      })),
  };
  return made;
}

/** Adopts lines and returns what `onLine` has received, in the order of the lines. */
export async function adopted(
  app: App,
  portals: Parameters<App["admin"]["adopt"]>[0],
  options: Partial<Parameters<App["admin"]["adopt"]>[1]> = {},
): Promise<readonly AdoptionLine[]> {
  const lines: AdoptionLine[] = [];
  await app.admin.adopt(portals, {
    ...OPERATOR,
    perMinute: 1_000_000,
    onLine: (line) => void lines.push(line),
    ...options,
  });
  return lines.toSorted((a, b) => a.line - b.line);
}

/** Returns outcome and reason of each line. */
export function briefly(
  lines: Awaited<ReturnType<typeof adopted>>,
): readonly (readonly [string, string | undefined])[] {
  return lines.map(({ outcome, reason }) => [outcome, reason]);
}

/** Returns all entries of a storage whose keys begin otherwise than with `except`. */
export async function entriesOf(storage: Storage, except: readonly string[] = []): Promise<readonly unknown[]> {
  const entries: unknown[] = [];
  for await (const { key, value } of storage.list([])) if (!except.includes(key[0]!)) entries.push([key, value]);
  return entries;
}

/** Asserts that no token of the fake, and none of `secrets`, is in what an operator or a log reader sees. */
export function assertNoTokens(seen: unknown, secrets: readonly string[] = []): void {
  const text = JSON.stringify(seen);
  assert.doesNotMatch(text, /acce55|fe5fe5/);
  for (const secret of secrets) assert.ok(!text.includes(secret), secret);
}

/** Lets time pass until `work` settles. */
export async function elapsing<T>(time: VirtualTime, work: Promise<T>): Promise<T> {
  let isSettled = false;
  const settle = (): void => void (isSettled = true);
  work.then(settle, settle);
  while (!isSettled) await time.elapse(1000);
  return await work;
}
